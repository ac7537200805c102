"""One API server a session, one client and one namespace a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.inventory import MARK_LABEL
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from k8s_bridge.store import DEFAULT_NAMESPACE
from tests.support.devkube import DevkubeUnavailableError, kubeconfig


@pytest.fixture(scope="session")
def kube() -> Iterator[Path]:
    try:
        with kubeconfig() as path:
            yield path
    except DevkubeUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def client(kube: Path) -> Iterator[KubernetesClient]:
    found = KubernetesClient(connect(str(kube), os.environ))
    yield found
    for item in found.list(found.kind_of("v1", "ConfigMap"), DEFAULT_NAMESPACE, label=f"{MARK_LABEL}=true")[
        0
    ]:
        found.delete(key_of({**item, "apiVersion": "v1", "kind": "ConfigMap"}), uid_of(item))
    found.close()


@pytest.fixture
def namespace(client: KubernetesClient) -> Iterator[str]:
    """Give a name that no namespace has; a namespace of that name is deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    key = ObjectKey("v1", "Namespace", "", name)
    live = client.get(key)
    if live is not None:
        client.delete(key, uid_of(live))
