"""What holds a namespace that leaves its release, on a real API server with its controllers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from k8s_bridge.client import KubernetesClient
from k8s_bridge.objects import key_of, uid_of
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, deployment, namespace_object, service
from tests.support.pipeline import reconcile
from tests.support.verified import release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def _make(client: KubernetesClient, manifest: JsonObject) -> JsonObject:
    key = key_of(manifest)
    path = client.kind_of(key.api_version, key.kind).path(key.namespace)
    return client._connection.ask("post", path, body=manifest)[1]


def _custom(kind: str, group: str, version: str) -> JsonObject:
    """Give a definition whose only version is this one."""
    made = definition(kind, group)
    made["spec"]["versions"][0]["name"] = version
    return made


@pytest.mark.requires("bridge.container-kept", "bridge.foreign-untouched")
def test_a_namespace_goes_only_where_all_that_is_in_it_goes_too(
    client: KubernetesClient, namespace: str
) -> None:
    extra, group = f"{namespace}-b", f"{namespace}.test"
    stay = [namespace_object(namespace), config_map("stay", namespace)]
    inside = [config_map("a", extra), service("web", extra), deployment("web", extra)]
    reconcile(client, release([*stay, namespace_object(extra), *inside]))
    definitions = [_custom("Gateway", group, "v1"), _custom("Filter", group, "v1alpha1")]
    for made in definitions:
        _make(client, made)
        client.wait_established(key_of(made), 60)
    # The group prefers v1, in which there is no Filter.
    filtered: dict[str, Any] = {
        "apiVersion": f"{group}/v1alpha1",
        "kind": "Filter",
        "metadata": {"name": "theirs", "namespace": extra},
    }
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "passing", "namespace": extra},
        "spec": {},
    }
    owned = config_map("owned", extra)
    owners = [{"apiVersion": "v1", "kind": "Namespace", "name": namespace}]
    mine = client.get(key_of(stay[0]))
    owned["metadata"]["ownerReferences"] = [{**owners[0], "uid": uid_of(mine)}]
    client.delete(key_of(inside[0]), uid_of(client.get(key_of(inside[0]))))
    theirs = [_make(client, made) for made in (inside[0], filtered, lease, owned)]
    held = reconcile(client, release(stay, revision=2)).results[-1]
    assert held.key == key_of(namespace_object(extra))
    assert {name for name in ("/a", "/theirs", "/owned") if f"{extra}{name}" in held.reason} == {
        "/a",
        "/theirs",
        "/owned",
    }
    assert "more" not in held.reason, "what the controllers made for ours does not count"
    for live in (theirs[0], theirs[1], theirs[3]):
        client.delete(key_of(live), uid_of(live))
    for made in definitions:
        client.delete(key_of(made), uid_of(client.get(key_of(made))))
    # What the controllers made for objects that went before goes a moment after them.
    end = time.monotonic() + 60
    gone = reconcile(client, release(stay, revision=2)).results[-1]
    while gone.outcome.value != "deleted" and time.monotonic() < end:
        time.sleep(0.5)
        gone = reconcile(client, release(stay, revision=2)).results[-1]
    assert (gone.key, gone.outcome.value) == (held.key, "deleted"), gone.reason
