"""What others added makes no valid object with our manifest: it is taken over and goes."""

from __future__ import annotations

import copy
import dataclasses

import pytest

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
