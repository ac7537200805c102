"""Waiting for a definition, and finding out what is served, over a wire that is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from k8s_bridge.client import VANISHING_POLLS_MAX, KubernetesClient
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


class Discovery:
    """Serves groups with versions; a version that is None is named and not there."""

    def __init__(self, groups: dict[str, dict[str, list[str] | None]]) -> None:
        self.groups = groups
        self.asked = 0

    def ask(self, method: str, path: str, **options: Any) -> tuple[int, JsonObject]:
        del method, options
        if path == "/apis":
            self.asked += 1
            named = [
                {"name": name, "preferredVersion": found[0], "versions": found}
                for name, versions in self.groups.items()
                if (found := [{"groupVersion": f"{name}/{version}"} for version in versions])
            ]
            return 200, {"groups": named}
        _, root, *name = path.split("/")
        kinds = ["ConfigMap"] if root == "api" else self.groups.get(name[0], {}).get(name[1])
        if kinds is None:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="404", status=404)
        return 200, {"resources": [_resource(kind, kind.lower(), namespaced=True) for kind in kinds]}


def _listed(wire: Discovery, sleep: Callable[[float], None] = lambda _: None) -> list[str]:
    client = KubernetesClient(cast("Connection", wire), sleep)
    return [f"{kind.api_version} {kind.kind}" for kind in client.namespaced_kinds()]


@pytest.mark.requires("bridge.container-kept")
def test_kinds_outside_a_groups_preferred_version_are_listed_too_and_each_once() -> None:
    istio: dict[str, list[str] | None] = {"v1": ["Gateway"], "v1alpha3": ["EnvoyFilter", "Gateway"]}
    wire = Discovery({"istio.test": istio, "shop.test": {"v1": ["Gateway"]}})
    assert _listed(wire) == [
        "v1 ConfigMap",
        "istio.test/v1 Gateway",
        "istio.test/v1alpha3 EnvoyFilter",
        "shop.test/v1 Gateway",
    ]


@pytest.mark.requires("bridge.container-kept")
def test_a_kind_that_came_since_is_listed() -> None:
    wire = Discovery({"shop.test": {"v1": ["Gateway"]}})
    client = KubernetesClient(cast("Connection", wire))
    assert client.kind_of("shop.test/v1", "Gateway")
    wire.groups["shop.test"]["v1"] = ["Gateway", "Widget"]
    assert "Widget" in {kind.kind for kind in client.namespaced_kinds()}


@pytest.mark.requires("bridge.container-kept")
def test_a_version_that_is_named_and_not_there_is_waited_for_until_it_is_named_no_more() -> None:
    wire = Discovery({"shop.test": {"v1": None}})
    with pytest.raises(EnvironmentFault):
        _listed(wire)
    assert wire.asked == VANISHING_POLLS_MAX + 1
    assert _listed(wire, lambda _: wire.groups.clear()) == ["v1 ConfigMap"]
    late = Discovery({"shop.test": {"v1": None}})
    assert "shop.test/v1 Widget" in _listed(late, lambda _: late.groups["shop.test"].update(v1=["Widget"]))
