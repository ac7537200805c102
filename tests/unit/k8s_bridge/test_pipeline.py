"""Stories of one release on an API server in memory."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest

from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.compare import same
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.plan import Action
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject
from tests.support.fake_cluster import Crash, FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import make_plan, outcomes, reconcile
from tests.support.verified import deleted, release

SHOP = [namespace_object(), config_map("settings"), service("web"), deployment("web")]
BARE: JsonObject = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "web", "namespace": "shop"},
}
INVENTORY = ObjectKey("v1", "ConfigMap", "conclave-system", "conclave-inventory-guestbook")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.mark.requires("bridge.signed-is-applied")
def test_what_is_signed_is_exactly_what_is_applied(cluster: FakeCluster) -> None:
    manifests = copy.deepcopy(SHOP)
    reconcile(cluster, release(manifests))
    assert manifests == SHOP
    for manifest in SHOP:
        live = cluster.objects[key_of(manifest).identity]
        assert (
            live["metadata"].keys() - {"uid", "resourceVersion", "managedFields"}
            == manifest["metadata"].keys()
        )
        assert {**live, "metadata": None} == {**manifest, "metadata": None}


@pytest.mark.requires("bridge.no-op-writes-nothing")
def test_a_second_run_writes_nothing(cluster: FakeCluster) -> None:
    assert set(outcomes(reconcile(cluster, release(SHOP))).values()) == {"created"}
    cluster.writes.clear()
    changes = reconcile(cluster, release(SHOP))
    assert set(outcomes(changes).values()) == {"unchanged"}
    assert changes.outcome is ReleaseOutcome.APPLIED
    assert cluster.writes == []


@pytest.mark.requires("bridge.upgrade")
def test_an_upgrade_patches_prunes_and_leaves_the_rest(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    before = copy.deepcopy(cluster.objects)
    upgraded = [namespace_object(), config_map("settings", key="new"), deployment("web")]
    assert outcomes(reconcile(cluster, release(upgraded, revision=2))) == {
        "Namespace/shop": "unchanged",
        "ConfigMap/settings": "configured",
        "Deployment/web": "unchanged",
        "Service/web": "deleted",
    }
    web = key_of(deployment("web")).identity
    assert cluster.objects[web] == before[web]


@pytest.mark.requires("bridge.drift-undone")
def test_a_hand_edit_and_a_deletion_are_undone(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    edited = copy.deepcopy(cluster.objects[key_of(SHOP[1]).identity])
    edited["data"]["key"] = "by hand"
    cluster.put(edited)
    cluster.remove(key_of(SHOP[2]))
    found = outcomes(reconcile(cluster, release(SHOP)))
    assert found["ConfigMap/settings"] == "configured"
    assert found["Service/web"] == "created"
    assert cluster.objects[key_of(SHOP[1]).identity]["data"] == {"key": "value"}


@pytest.mark.requires("bridge.foreign-untouched")
def test_a_foreign_object_of_the_same_name_is_a_conflict(cluster: FakeCluster) -> None:
    cluster.put(namespace_object())
    foreign = copy.deepcopy(cluster.put(config_map("settings", key="theirs")))
    changes = reconcile(cluster, release(SHOP))
    assert outcomes(changes)["ConfigMap/settings"] == "conflict"
    assert [r.code for r in changes.results if r.key.name == "settings"] == [Code.OBJECT_NOT_OWNED]
    assert changes.outcome is ReleaseOutcome.PARTIAL
    assert cluster.objects[key_of(foreign).identity] == foreign


@pytest.mark.requires("bridge.foreign-untouched")
def test_a_recreated_object_of_the_same_name_is_not_pruned(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    cluster.remove(key_of(SHOP[2]))
    cluster.put(SHOP[2])
    rest = [SHOP[0], SHOP[1], SHOP[3]]
    changes = reconcile(cluster, release(rest, revision=2))
    assert outcomes(changes)["Service/web"] == "skipped"
    assert key_of(SHOP[2]).identity in cluster.objects


@pytest.mark.requires("bridge.foreign-untouched")
def test_a_record_that_was_tampered_with_deletes_no_foreign_object(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    foreign = cluster.put(config_map("theirs"))
    data = cluster.objects[INVENTORY.identity]["data"]
    entries = {**json.loads(data["objects"]), "v1/ConfigMap/shop/theirs": [foreign["metadata"]["uid"], True]}
    data["objects"] = json.dumps(entries)
    assert outcomes(reconcile(cluster, release(SHOP, revision=2)))["ConfigMap/theirs"] == "skipped"
    assert cluster.objects[key_of(foreign).identity] == foreign


@pytest.mark.requires("bridge.namespace-kept")
def test_an_adopted_namespace_is_never_pruned(cluster: FakeCluster) -> None:
    labelled = namespace_object()
    labelled["metadata"]["labels"] = {"team": "shop"}
    cluster.put(namespace_object())
    cluster.put(namespace_object("other"))
    assert (
        outcomes(reconcile(cluster, release([labelled, config_map("settings")])))["Namespace/shop"]
        == "configured"
    )
    reconcile(cluster, release([config_map("settings", "other")], revision=2))
    assert key_of(SHOP[0]).identity in cluster.objects
    assert key_of(SHOP[1]).identity not in cluster.objects


@pytest.mark.requires("bridge.namespace-kept")
def test_a_namespace_that_holds_a_wanted_or_foreign_object_is_kept(cluster: FakeCluster) -> None:
    other = config_map("elsewhere", "other")
    cluster.put(namespace_object("other"))
    reconcile(cluster, release([*SHOP, other]))
    reconcile(cluster, release([config_map("settings"), other], revision=2))
    assert key_of(SHOP[0]).identity in cluster.objects
    foreign = cluster.put(config_map("theirs"))
    reconcile(cluster, release([other], revision=3))
    assert key_of(foreign).identity in cluster.objects
    cluster.remove(key_of(foreign))
    reconcile(cluster, release([other], revision=4))
    assert key_of(SHOP[0]).identity not in cluster.objects


@pytest.mark.requires("bridge.namespace-kept")
def test_endpoints_go_with_the_service_of_their_name_and_hold_no_namespace(cluster: FakeCluster) -> None:
    other = config_map("elsewhere", "other")
    cluster.put(namespace_object("other"))
    reconcile(cluster, release([*SHOP, other]))
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "shop"}}
    theirs = cluster.put({**endpoints, "metadata": {"name": "theirs", "namespace": "shop"}})
    cluster.put(endpoints)
    reconcile(cluster, release([other], revision=2))
    assert key_of(SHOP[0]).identity in cluster.objects
    cluster.remove(key_of(theirs))
    reconcile(cluster, release([*SHOP, other], revision=3))
    reconcile(cluster, release([other], revision=4))
    assert key_of(SHOP[0]).identity not in cluster.objects


@pytest.mark.requires("bridge.definition-first")
def test_a_definition_and_its_objects_go_in_one_release(cluster: FakeCluster) -> None:
    wanted = [widget("one"), definition(), namespace_object()]
    found = outcomes(reconcile(cluster, release(wanted)))
    assert set(found.values()) == {"created"}
    reconcile(cluster, release([namespace_object(), config_map("settings")], revision=2))
    assert key_of(wanted[0]).identity not in cluster.objects
    assert [w for w in cluster.writes if w.startswith("delete")] == [
        "delete shop.test/v1/Widget/shop/one",
        "delete apiextensions.k8s.io/v1/CustomResourceDefinition/-/widgets.shop.test",
    ]


@pytest.mark.requires("bridge.kind-unknown")
def test_an_unknown_kind_fails_alone(cluster: FakeCluster) -> None:
    changes = reconcile(cluster, release([*SHOP, widget("one")]))
    assert outcomes(changes)["Widget/one"] == "failed"
    assert [r.code for r in changes.results if r.key.kind == "Widget"] == [Code.OBJECT_KIND_UNKNOWN]
    assert outcomes(changes)["Deployment/web"] == "created"


@pytest.mark.requires("bridge.failure-deletes-nothing")
def test_a_failed_apply_holds_every_delete(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    fault = EnvironmentFault(Code.KUBERNETES_REFUSED, got="422", status=422)
    cluster.faults[key_of(deployment("web-v2")).identity] = fault
    renamed = [namespace_object(), config_map("settings"), service("web"), deployment("web-v2")]
    changes = reconcile(cluster, release(renamed, revision=2))
    assert outcomes(changes)["Deployment/web-v2"] == "failed"
    assert outcomes(changes)["Deployment/web"] == "skipped"
    assert key_of(deployment("web")).identity in cluster.objects
    cluster.faults.clear()
    assert outcomes(reconcile(cluster, release(renamed, revision=2)))["Deployment/web"] == "deleted"


@pytest.mark.requires("bridge.failure-deletes-nothing")
def test_a_plan_with_a_conflict_deletes_nothing(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    cluster.put(config_map("theirs"))
    steps = make_plan(cluster, release([SHOP[0], config_map("theirs")], revision=2)).steps
    assert Action.CONFLICT in {step.action for step in steps}
    assert Action.DELETE not in {step.action for step in steps}


@pytest.mark.requires("bridge.no-op-writes-nothing")
def test_a_lost_or_left_field_is_a_difference_though_the_content_is_the_same() -> None:
    def owning(fields: object) -> JsonObject:
        entry = {"manager": "conclave", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
        return {"metadata": {"managedFields": [entry]}, "data": {"a": "b"}}

    both = owning({"f:data": {"f:a": {}, "f:c": {}}})
    assert same(both, both)
    assert not same(both, owning({"f:data": {"f:a": {}}}))
    assert not same({**both, "metadata": {}}, both)


@pytest.mark.requires("bridge.failure-deletes-nothing")
def test_a_failed_delete_stays_in_the_inventory(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    web = key_of(SHOP[2]).identity
    cluster.faults[web] = EnvironmentFault(Code.KUBERNETES_REFUSED, got="403", status=403)
    rest = [SHOP[0], SHOP[1], SHOP[3]]
    assert outcomes(reconcile(cluster, release(rest, revision=2)))["Service/web"] == "failed"
    cluster.faults.clear()
    assert outcomes(reconcile(cluster, release(rest, revision=2)))["Service/web"] == "deleted"


@pytest.mark.requires("bridge.crash-never-orphans")
@pytest.mark.parametrize("survived", range(10))
def test_a_crash_anywhere_leaves_nothing_orphaned(cluster: FakeCluster, survived: int) -> None:
    cluster.crash_before_write = survived
    with contextlib.suppress(Crash):
        reconcile(cluster, release([*SHOP, BARE]))
    cluster.crash_before_write = None
    # The next thing the restarted bridge sees is another revision, without most of the first one's objects.
    reconcile(cluster, release([SHOP[0], SHOP[1]], revision=2))
    assert cluster.content().keys() == {key_of(SHOP[0]).identity, key_of(SHOP[1]).identity}


@pytest.mark.requires("bridge.inventory-unreadable")
@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"x":["u",true]}', '{"v1/ConfigMap/a/b":["u"]}', "[" * 100_000]
)
def test_an_unreadable_inventory_prunes_and_overwrites_nothing(cluster: FakeCluster, text: str) -> None:
    reconcile(cluster, release(SHOP))
    cluster.objects[INVENTORY.identity]["data"]["objects"] = text
    kept = copy.deepcopy(cluster.objects[INVENTORY.identity])
    changes = reconcile(
        cluster, release([SHOP[0], config_map("settings", key="new"), config_map("more")], revision=2)
    )
    assert outcomes(changes)["ConfigMap/settings"] == "configured"
    assert outcomes(changes)["ConfigMap/more"] == "skipped"
    assert [r.code for r in changes.results if r.key.name == "more"] == [Code.INVENTORY_UNREADABLE]
    assert cluster.objects[INVENTORY.identity] == kept
    assert key_of(SHOP[3]).identity in cluster.objects


@pytest.mark.requires("bridge.inventory-unreadable")
def test_the_inventory_of_another_ledger_is_not_read(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    annotations = cluster.objects[INVENTORY.identity]["metadata"]["annotations"]
    annotations["conclave.internal/chain-id"] = "another"
    assert make_plan(cluster, release(SHOP)).inventory is None
    changes = reconcile(cluster, release([config_map("settings", key="mine")], name="rival"))
    assert [r.code for r in changes.results] == [Code.OBJECT_CLAIMED]


@pytest.mark.requires("bridge.inventory-round-trip")
def test_an_inventory_too_large_for_a_config_map_is_refused_at_once(
    cluster: FakeCluster,
) -> None:
    many = [config_map(f"{'x' * 240}{index:05}") for index in range(4000)]
    with pytest.raises(Refused) as caught:
        reconcile(cluster, release([namespace_object(), *many]))
    assert caught.value.code is Code.LIMIT_EXCEEDED
    assert cluster.writes == []


@pytest.mark.requires("bridge.forward-only")
def test_an_older_revision_than_recorded_is_refused(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP, revision=2))
    with pytest.raises(Refused) as caught:
        reconcile(cluster, release(SHOP[:2], revision=1))
    assert caught.value.code is Code.STALE


@pytest.mark.requires("bridge.claimed")
def test_an_object_of_another_release_is_a_conflict(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    changes = reconcile(cluster, release([config_map("settings", key="mine")], name="rival"))
    assert [r.code for r in changes.results] == [Code.OBJECT_CLAIMED]
    assert cluster.objects[key_of(SHOP[1]).identity]["data"] == {"key": "value"}


@pytest.mark.requires("bridge.upgrade")
def test_a_changed_api_version_is_the_same_object(cluster: FakeCluster) -> None:
    beta = definition()
    beta["spec"]["versions"].append({**beta["spec"]["versions"][0], "name": "v2", "storage": False})
    reconcile(cluster, release([namespace_object(), beta, widget("one")]))
    moved = {**widget("one"), "apiVersion": "shop.test/v2"}
    reconcile(cluster, release([namespace_object(), beta, moved], revision=2))
    assert key_of(moved).identity in cluster.objects
    assert not [w for w in cluster.writes if w.startswith("delete")]


@pytest.mark.requires("bridge.terminating")
def test_an_object_being_deleted_is_waited_for(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    cluster.objects[key_of(SHOP[2]).identity]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    changes = reconcile(cluster, release(SHOP))
    assert [r.code for r in changes.results if r.key.kind == "Service"] == [Code.OBJECT_TERMINATING]
    cluster.remove(key_of(SHOP[2]))
    assert outcomes(reconcile(cluster, release(SHOP)))["Service/web"] == "created"


@pytest.mark.requires("bridge.deleted")
def test_a_deleted_release_takes_all_that_is_its_own(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    foreign = cluster.put(config_map("theirs"))
    changes = reconcile(cluster, deleted(SHOP))
    assert outcomes(changes)["Deployment/web"] == "deleted"
    assert outcomes(changes)["Namespace/shop"] == "skipped"
    assert changes.outcome is ReleaseOutcome.APPLIED
    assert cluster.content().keys() == {key_of(foreign).identity, key_of(SHOP[0]).identity}


@pytest.mark.requires("bridge.deleted")
def test_a_deleted_release_that_keeps_its_objects_is_only_forgotten(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    before = cluster.content()
    cluster.writes.clear()
    changes = reconcile(cluster, deleted(SHOP, prune=False))
    assert changes.outcome is ReleaseOutcome.APPLIED
    assert cluster.content() == before
    assert cluster.writes == [f"apply {INVENTORY}"]
    assert json.loads(cluster.objects[INVENTORY.identity]["data"]["objects"]) == {}
    assert reconcile(cluster, deleted(SHOP, prune=False)).outcome is ReleaseOutcome.APPLIED


@pytest.mark.requires("bridge.deleted")
def test_a_delete_that_failed_is_not_reported_gone(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    cluster.faults[key_of(SHOP[2]).identity] = EnvironmentFault(
        Code.KUBERNETES_REFUSED, got="403", status=403
    )
    assert reconcile(cluster, deleted(SHOP)).outcome is ReleaseOutcome.PARTIAL
    cluster.faults.clear()
    assert reconcile(cluster, deleted(SHOP)).outcome is ReleaseOutcome.APPLIED
    assert key_of(SHOP[2]).identity not in cluster.objects


@pytest.mark.requires("bridge.deleted")
def test_a_deleted_release_whose_objects_are_not_known_is_not_reported_gone(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    cluster.objects[INVENTORY.identity]["data"]["objects"] = "{"
    for prune in (True, False):
        with pytest.raises(Refused) as caught:
            reconcile(cluster, deleted(SHOP, prune=prune))
        assert caught.value.code is Code.INVENTORY_UNREADABLE
    assert key_of(SHOP[3]).identity in cluster.objects
