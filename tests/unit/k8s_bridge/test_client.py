"""Waiting for a definition, over a wire that is written down."""

from __future__ import annotations

from typing import Any, cast

import pytest

from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection
from k8s_bridge.objects import key_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.manifests import definition

WIDGETS = definition()
LIVE = {**WIDGETS, "status": {"conditions": [{"type": "Established", "status": "True"}]}}
ROOT = "/apis/apiextensions.k8s.io/v1"


def _resource(kind: str, name: str, *, namespaced: bool) -> JsonObject:
    return {"kind": kind, "name": name, "namespaced": namespaced, "verbs": ["list"]}


class Wire:
    """Serves one definition, whose collection answers with ``refusals`` first."""

    def __init__(self, refusals: list[int]) -> None:
        self.refusals = refusals
        self.lists = 0

    def ask(self, method: str, path: str, **options: Any) -> tuple[int, JsonObject]:
        del method, options
        if path == ROOT:
            crds = _resource("CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
            return 200, {"resources": [crds]}
        if path == "/apis/shop.test/v1":
            return 200, {"resources": [_resource("Widget", "widgets", namespaced=True)]}
        if path.startswith(ROOT):
            return 200, LIVE
        assert path == "/apis/shop.test/v1/widgets"
        self.lists += 1
        if self.refusals:
            status = self.refusals.pop(0)
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got=str(status), status=status)
        return 200, {"items": []}


def _wait(wire: Wire) -> list[float]:
    slept: list[float] = []
    client = KubernetesClient(cast("Connection", wire), slept.append, lambda: sum(slept))
    client.wait_established(key_of(WIDGETS), 5)
    return slept


@pytest.mark.requires("bridge.definition-first")
@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_definition_that_is_established_but_does_not_serve_is_waited_for(status: int) -> None:
    wire = Wire([status, status])
    assert len(_wait(wire)) == 2
    assert wire.lists == 3


@pytest.mark.requires("bridge.definition-first")
def test_a_bridge_that_may_not_list_does_not_wait_for_it() -> None:
    assert _wait(Wire([403])) == []


@pytest.mark.requires("bridge.definition-first")
def test_a_definition_that_never_serves_is_waited_for_a_bounded_time() -> None:
    with pytest.raises(EnvironmentFault) as caught:
        _wait(Wire([503] * 1000))
    assert caught.value.code is Code.TIMEOUT
