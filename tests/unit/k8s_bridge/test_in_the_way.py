"""What others added makes no valid object with our manifest: it is taken over and goes."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from k8s_bridge.cluster import Applied
from k8s_bridge.objects import key_of
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.store import InventoryStore
from ledger.errors import Code
from ledger.types import JsonObject
from tests.support.bridge import Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, namespace_object
from tests.support.verified import CHAIN_ID, release, verified

ONE = config_map("one")
WANTED = release([namespace_object(), ONE])


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.invalid = lambda result: len(result.get("data", {}).keys() & {"key", "theirs"}) == 2
    return found


@pytest.fixture
def reconciler(cluster: FakeCluster) -> Reconciler:
    found = Reconciler(cluster, InventoryStore(cluster, CHAIN_ID), Unwatched(), lambda: 0)
    found.reconcile(WANTED)
    return found


def _live(cluster: FakeCluster) -> JsonObject:
    return cluster.objects[key_of(ONE).identity]


def _code(standing: Standing) -> dict[str, Code]:
    return {result.key.name: result.code for result in standing.finding.changes.results if result.code}


@pytest.mark.requires("bridge.foreign-in-the-way")
@pytest.mark.parametrize("record", ["kept", "emptied", "another's"])
def test_a_field_of_others_that_ours_does_not_go_with_is_removed(
    reconciler: Reconciler, cluster: FakeCluster, record: str
) -> None:
    cluster.put({**copy.deepcopy(ONE), "data": {"theirs": "x"}})
    if record == "emptied":
        _live(cluster)["metadata"]["managedFields"] = []
    elif record == "another's":
        entry = {"manager": "x", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}
        _live(cluster)["metadata"]["managedFields"] = [entry]
    standing = reconciler.reconcile(WANTED)
    assert _code(standing) == {}
    assert _live(cluster)["data"] == ONE["data"]


@pytest.mark.requires("bridge.foreign-in-the-way", "bridge.immutable")
def test_what_cannot_be_changed_is_said_as_such_once_nothing_of_others_is_in_the_way(
    reconciler: Reconciler, cluster: FakeCluster
) -> None:
    cluster.put({**copy.deepcopy(ONE), "data": {"key": "value", "more": "x"}})
    cluster.immutable["ConfigMap"] = ("data", "key")
    changed = release([namespace_object(), config_map("one", key="new")], revision=2)
    first = reconciler.reconcile(changed)
    assert _code(first) == {"one": Code.KUBERNETES_REFUSED}
    assert not first.lasting
    again = reconciler.reconcile(changed)
    assert _code(again) == {"one": Code.OBJECT_IMMUTABLE}
    allowed = verified(dataclasses.replace(changed.value, recreate=(str(key_of(ONE)),)))
    assert _code(reconciler.reconcile(allowed)) == {}
    assert _live(cluster)["data"] == {"key": "new"}


@pytest.mark.requires("bridge.foreign-in-the-way", "bridge.lasting-refusal")
def test_a_manifest_that_is_refused_by_itself_is_given_up_as_before(
    reconciler: Reconciler, cluster: FakeCluster
) -> None:
    wrong = release([namespace_object(), config_map("one", key="a", theirs="b")], revision=2)
    standing = reconciler.reconcile(wrong)
    assert _code(standing) == {"one": Code.KUBERNETES_REFUSED}
    assert standing.lasting
    assert _live(cluster)["data"] == ONE["data"]


class Quick(FakeCluster):
    """Somebody adds a field between the look at an object and its apply, once."""

    hasty = False

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        if self.hasty and not dry_run and manifest["metadata"]["name"] == "one":
            self.hasty = False
            live = self.objects[key_of(ONE).identity]
            self.put({**copy.deepcopy(live), "data": {**live["data"], "theirs": "x"}})
        return super().apply(manifest, dry_run=dry_run)


@pytest.mark.requires("bridge.foreign-slips-in")
def test_what_slips_in_between_look_and_apply_is_taken_back_at_once() -> None:
    cluster = Quick()
    reconciler = Reconciler(cluster, InventoryStore(cluster, CHAIN_ID), Unwatched(), lambda: 0)
    reconciler.reconcile(WANTED)
    cluster.hasty = True
    changed = release([namespace_object(), config_map("one", key="new")], revision=2)
    standing = reconciler.reconcile(changed)
    assert not cluster.hasty
    assert _live(cluster)["data"] == {"key": "new"}
    assert {r.key.name: r.outcome for r in standing.finding.changes.results}["one"] == "configured"


@pytest.mark.requires("bridge.foreign-slips-in")
def test_what_admission_adds_to_an_apply_costs_one_more_look_and_no_write() -> None:
    cluster = FakeCluster()
    cluster.admitted = {"admission": "was here"}
    reconciler = Reconciler(cluster, InventoryStore(cluster, CHAIN_ID), Unwatched(), lambda: 0)
    reconciler.reconcile(WANTED)
    cluster.writes.clear()
    reconciler.reconcile(release([namespace_object(), config_map("one", key="new")], revision=2))
    assert [write for write in cluster.writes if write.endswith("/one")] == [f"apply {key_of(ONE)}"]
