"""What is in a namespace or definition that leaves its release, and does not go with it."""

from __future__ import annotations

import copy

import pytest

from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.tenants import Held, tenants_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import outcomes, reconcile
from tests.support.verified import release

STAY = config_map("stay")
INSIDE = config_map("a", "extra")
FIRST = [STAY, namespace_object("extra"), INSIDE]
EXTRA = namespace_object("extra")


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace_object("shop"))
    return found


def _replaced(cluster: FakeCluster, manifest: JsonObject) -> JsonObject:
    """Delete an object and make another of its name, as somebody else."""
    cluster.remove(key_of(manifest))
    return copy.deepcopy(cluster.put(manifest, "operator"))


def _owned(name: str, *owners: str) -> JsonObject:
    """Give an object in the namespace that leaves, whose owners have these UIDs."""
    made = config_map(name, "extra")
    references = [{"apiVersion": "x.test/v1", "kind": "Any", "name": "any", "uid": uid} for uid in owners]
    made["metadata"]["ownerReferences"] = references
    return made


def _is_there(cluster: FakeCluster, manifest: JsonObject) -> bool:
    return key_of(manifest).identity in cluster.objects


@pytest.mark.requires("bridge.container-kept", "bridge.foreign-untouched")
def test_what_took_the_name_of_ours_holds_its_namespace(cluster: FakeCluster) -> None:
    reconcile(cluster, release(FIRST))
    theirs = _replaced(cluster, config_map("a", "extra", mine="important"))
    changes = reconcile(cluster, release([STAY], revision=2))
    assert outcomes(changes)["Namespace/extra"] == "skipped"
    assert "v1/ConfigMap/extra/a" in changes.results[-1].reason
    assert cluster.objects[key_of(theirs).identity] == theirs
    cluster.remove(key_of(theirs))
    assert outcomes(reconcile(cluster, release([STAY], revision=2)))["Namespace/extra"] == "deleted"


@pytest.mark.requires("bridge.container-kept", "bridge.foreign-untouched")
def test_what_took_the_name_of_ours_holds_its_definition(cluster: FakeCluster) -> None:
    reconcile(cluster, release([STAY, definition(), widget("one")]))
    theirs = _replaced(cluster, widget("one", size=9))
    reconcile(cluster, release([STAY], revision=2))
    assert _is_there(cluster, definition())
    assert cluster.objects[key_of(theirs).identity] == theirs


@pytest.mark.requires("bridge.container-kept")
def test_what_is_recorded_and_not_applied_by_us_holds_its_namespace(cluster: FakeCluster) -> None:
    reconcile(cluster, release(FIRST))
    entry = {"manager": "op", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {}}}
    cluster.objects[key_of(INSIDE).identity]["metadata"]["managedFields"] = [entry]
    reconcile(cluster, release([STAY], revision=2))
    assert _is_there(cluster, EXTRA)
    assert _is_there(cluster, INSIDE)


@pytest.mark.requires("bridge.container-kept")
def test_what_is_replaced_after_the_look_holds_its_namespace(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile(cluster, release(FIRST))
    delete = cluster.delete

    def first_replaced(key: ObjectKey, uid: str) -> None:
        if key == key_of(INSIDE):
            _replaced(cluster, INSIDE)
        delete(key, uid)

    monkeypatch.setattr(cluster, "delete", first_replaced)
    changes = reconcile(cluster, release([STAY], revision=2))
    assert outcomes(changes) == {
        "ConfigMap/stay": "unchanged",
        "ConfigMap/a": "skipped",
        "Namespace/extra": "skipped",
    }
    assert _is_there(cluster, INSIDE)


@pytest.mark.requires("bridge.container-kept")
def test_a_delete_that_is_refused_holds_the_namespaces_and_nothing_else(cluster: FakeCluster) -> None:
    reconcile(cluster, release([*FIRST, config_map("b", "extra")]))
    cluster.faults[key_of(config_map("b", "extra")).identity] = EnvironmentFault(
        Code.KUBERNETES_REFUSED, got="403", status=403
    )
    changes = reconcile(cluster, release([STAY], revision=2))
    assert outcomes(changes) == {
        "ConfigMap/stay": "unchanged",
        "ConfigMap/a": "deleted",
        "ConfigMap/b": "failed",
        "Namespace/extra": "skipped",
    }
    assert changes.outcome is ReleaseOutcome.PARTIAL
    cluster.faults.clear()
    assert outcomes(reconcile(cluster, release([STAY], revision=2)))["Namespace/extra"] == "deleted"


@pytest.mark.requires("bridge.container-kept")
@pytest.mark.parametrize("group", ["rent.test", "coordination.k8s.io"])
@pytest.mark.parametrize("kind", ["Lease", "Event", "PodMetrics"])
def test_only_kubernetes_own_passing_kinds_hold_nothing(cluster: FakeCluster, kind: str, group: str) -> None:
    cluster.put(definition(kind, group), "x")
    reconcile(cluster, release([STAY, EXTRA]))
    about = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "flat", "namespace": "extra"}}
    cluster.put({**about, "spec": {"a": 1}}, "x")
    reconcile(cluster, release([STAY], revision=2))
    assert _is_there(cluster, EXTRA) == ((group, kind) != ("coordination.k8s.io", "Lease"))


@pytest.mark.requires("bridge.container-kept")
def test_only_kubernetes_own_objects_of_every_namespace_hold_nothing(cluster: FakeCluster) -> None:
    cluster.put(definition("ConfigMap", "rent.test"), "x")
    reconcile(cluster, release([STAY, EXTRA]))
    cluster.put(config_map("kube-root-ca.crt", "extra"), "kube-controller-manager")
    theirs = {**config_map("kube-root-ca.crt", "extra"), "apiVersion": "rent.test/v1"}
    cluster.put(theirs, "x")
    reconcile(cluster, release([STAY], revision=2))
    assert _is_there(cluster, EXTRA)
    cluster.remove(key_of(theirs))
    reconcile(cluster, release([STAY], revision=2))
    assert not _is_there(cluster, EXTRA)


@pytest.mark.requires("bridge.container-kept")
def test_an_owner_elsewhere_does_not_take_an_object_along(cluster: FakeCluster) -> None:
    reconcile(cluster, release(FIRST))
    theirs = _owned("theirs", "uid-of-a-cluster-scoped-object")
    cluster.put(theirs, "operator")
    reconcile(cluster, release([STAY], revision=2))
    assert _is_there(cluster, EXTRA)
    assert _is_there(cluster, theirs)


@pytest.mark.requires("bridge.container-kept")
def test_what_controllers_made_for_ours_goes_with_it(cluster: FakeCluster) -> None:
    reconcile(cluster, release([*FIRST, deployment("web", "extra"), service("web", "extra")]))
    web = cluster.objects[key_of(deployment("web", "extra")).identity]["metadata"]["uid"]
    replica_set = cluster.put(_owned("set", web), "kube-controller-manager")
    cluster.put(_owned("pod", replica_set["metadata"]["uid"]), "kube-controller-manager")
    both = cluster.put(_owned("shared", web, "uid-of-others"), "kube-controller-manager")
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "extra"}}
    cluster.put(endpoints, "kube-controller-manager")
    changes = reconcile(cluster, release([STAY], revision=2))
    assert changes.results[-1].reason == "it holds objects of others: v1/ConfigMap/extra/shared"
    cluster.remove(key_of(both))
    reconcile(cluster, release([STAY], revision=2))
    # The owner went before: nothing in the cluster says now whose the rest is.
    assert _is_there(cluster, EXTRA)


def _held(name: str, *owners: str, uid: str = "", leaving: bool = False) -> Held:
    return Held(ObjectKey("v1", "ConfigMap", "extra", name), uid or name, owners, leaving=leaving)


@pytest.mark.requires("bridge.container-kept")
@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([_held("ours")], []),
        ([_held("theirs")], ["theirs"]),
        ([_held("theirs", uid="")], ["theirs"]),
        ([_held("pod", "set"), _held("set", "ours"), _held("ours")], []),
        ([_held("pod", "set"), _held("set", "root"), _held("root")], ["root"]),
        ([_held("pod", "ours", "elsewhere")], ["pod"]),
        ([_held("pod", "elsewhere")], ["pod"]),
        ([_held("pod", "pod")], ["pod"]),
        ([_held("a", "b"), _held("b", "a")], ["a", "b"]),
        ([_held("gone", leaving=True), _held("its", "gone")], []),
        ([_held("twice", "ours"), _held("twice", "ours"), _held("pod", "twice", "twice")], []),
    ],
)
def test_what_nobody_is_shown_to_take_along_is_others(held: list[Held], expected: list[str]) -> None:
    assert [found.key.name for found in tenants_of(held, {"ours"})] == expected
    assert {f.key.name for f in tenants_of(held[::-1], {"ours"})} == set(expected)


@pytest.mark.requires("bridge.container-kept")
def test_a_long_chain_of_owners_is_followed_once() -> None:
    chain = [_held(f"o{index}", f"o{index + 1}") for index in range(20_000)]
    assert len(tenants_of(chain, {"o20000"})) == 0
    assert len(tenants_of(chain, {"ours"})) == 20_000


@pytest.mark.requires("bridge.container-kept")
def test_an_object_without_a_uid_is_others() -> None:
    nameless = Held(ObjectKey("v1", "ConfigMap", "extra", "x"), "")
    assert tenants_of([nameless], {""}) == (nameless,)


@pytest.mark.requires("bridge.container-kept")
def test_a_namespace_whose_content_cannot_be_listed_is_kept(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile(cluster, release(FIRST))

    def refused() -> object:
        raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="503", status=503)

    monkeypatch.setattr(cluster, "namespaced_kinds", refused)
    assert reconcile(cluster, release([STAY], revision=2)).results[-1].reason == (
        "what it holds could not be listed"
    )


@pytest.mark.requires("bridge.foreign-untouched")
@pytest.mark.parametrize("kind", ["Namespace", "CustomResourceDefinition", "Widget"])
def test_a_custom_kind_of_a_famous_name_is_no_exception(cluster: FakeCluster, kind: str) -> None:
    cluster.put(definition(kind, "servicebus.test"), "aso")
    theirs: JsonObject = {
        "apiVersion": "servicebus.test/v1",
        "kind": kind,
        "metadata": {"name": "prod", "namespace": "shop"},
        "spec": {"sku": "Premium"},
    }
    before = copy.deepcopy(cluster.put(theirs, "aso"))
    changes = reconcile(cluster, release([STAY, {**theirs, "spec": {"sku": "Basic"}}]))
    assert [r.code for r in changes.results if r.key.name == "prod"] == [Code.OBJECT_NOT_OWNED]
    reconcile(cluster, release([STAY], revision=2))
    assert cluster.objects[key_of(theirs).identity] == before


@pytest.mark.requires("bridge.container-kept", "bridge.foreign-untouched")
def test_what_a_deleted_owner_lets_stay_holds_the_namespace(cluster: FakeCluster) -> None:
    reconcile(cluster, release(FIRST))
    theirs = config_map("theirs", "extra")
    theirs["metadata"] |= {"deletionTimestamp": "2026-11-26T12:00:00Z", "finalizers": ["orphan"]}
    owner = cluster.put(theirs, "operator")["metadata"]["uid"]
    cluster.put(_owned("left", owner), "operator")
    changes = reconcile(cluster, release([STAY], revision=2))
    assert outcomes(changes)["Namespace/extra"] == "skipped"
    assert "v1/ConfigMap/extra/left" in changes.results[-1].reason
