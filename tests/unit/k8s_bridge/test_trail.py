"""What the bridge says of every write: before the first one, and afterwards."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from k8s_bridge import trail
from k8s_bridge.objects import key_of
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.store import InventoryStore
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.bridge import Unwatched
from tests.support.fake_cluster import Crash, FakeCluster
from tests.support.manifests import config_map, namespace_object
from tests.support.verified import CHAIN_ID, release

SHOP = [namespace_object(), config_map("one"), config_map("two")]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def reconciler(cluster: FakeCluster) -> Reconciler:
    return Reconciler(cluster, InventoryStore(cluster, CHAIN_ID), Unwatched(), lambda: 0)


def _said(caplog: pytest.LogCaptureFixture, name: str) -> list[JsonObject]:
    records: list[Any] = [record for record in caplog.records if record.getMessage() == name]
    return [record.fields for record in records]


def _brief(said: list[JsonObject]) -> list[tuple[str, str]]:
    return [(s.get("action") or s["outcome"], s["object"].rpartition("/")[2]) for s in said]


@pytest.mark.requires("bridge.trail")
def test_each_step_that_writes_is_said_before_and_after(
    reconciler: Reconciler, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    reconciler.reconcile(release(SHOP))
    assert _brief(_said(caplog, trail.PLANNED)) == [("create", name) for name in ("shop", "one", "two")]
    assert _brief(_said(caplog, trail.DONE)) == [("created", name) for name in ("shop", "one", "two")]
    caplog.clear()
    reconciler.reconcile(release(SHOP))
    assert caplog.records == []
    uid = cluster.objects[key_of(SHOP[2]).identity]["metadata"]["uid"]
    reconciler.reconcile(release([SHOP[0], config_map("one", text="new")], revision=2))
    planned = _said(caplog, trail.PLANNED)
    assert _brief(planned) == [("configure", "one"), ("delete", "two")]
    assert planned[1] == {
        "plan": 3, "release": "guestbook", "revision": 2, "action": "delete",
        "object": str(key_of(SHOP[2])), "uid": uid, "version": "", "takeover": False,
    }  # fmt: skip
    assert _said(caplog, trail.DONE)[1] == {
        "plan": 3, "object": str(key_of(SHOP[2])), "outcome": "deleted", "code": 0,
    }  # fmt: skip


@pytest.mark.requires("bridge.trail")
def test_what_was_planned_is_said_though_the_process_dies_at_the_first_write(
    reconciler: Reconciler, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    cluster.crash_before_write = 0
    with pytest.raises(Crash):
        reconciler.reconcile(release(SHOP))
    assert len(_said(caplog, trail.PLANNED)) == len(SHOP)
    assert _said(caplog, trail.DONE) == []


@pytest.mark.requires("bridge.trail")
def test_what_is_put_back_without_a_look_is_said_with_its_version(
    reconciler: Reconciler, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    reconciler.reconcile(release(SHOP))
    caplog.clear()
    live = cluster.objects[key_of(SHOP[1]).identity]
    live["data"] = {"key": "theirs"}
    reconciler.repair(release(SHOP), {key_of(SHOP[1]): live["metadata"]})
    (planned,), (done,) = _said(caplog, trail.PLANNED), _said(caplog, trail.DONE)
    assert (planned["action"], planned["version"]) == ("configure", live["metadata"]["resourceVersion"])
    assert done["outcome"] == "configured"


@pytest.mark.requires("bridge.trail")
def test_a_write_that_fails_is_said_with_its_code(
    reconciler: Reconciler, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    reconciler.reconcile(release(SHOP))
    trouble = EnvironmentFault(Code.KUBERNETES_REFUSED, got="500", status=500)
    cluster.faults[key_of(SHOP[1]).identity] = trouble
    del cluster.objects[key_of(SHOP[1]).identity]
    caplog.clear()
    reconciler.reconcile(release(SHOP))
    (said,) = _said(caplog, trail.DONE)
    assert (said["outcome"], said["code"]) == ("failed", Code.KUBERNETES_REFUSED)
