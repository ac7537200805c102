"""What a cluster's own record refuses is no news of the revision: told here, and not to the ledger."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from k8s_bridge import inventory
from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome, ReleaseOutcome
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.store import InventoryStore
from ledger.errors import Code
from ledger.records import MetricRecord
from tests.support.bridge import Bridge, Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import config_map, namespace_object
from tests.support.verified import CHAIN_ID, release

RECORD = ObjectKey("v1", "ConfigMap", "conclave-system", "conclave-inventory-guestbook")
REVISION = "conclave.internal/revision"


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace_object("guestbook"))
    return found


def _applied(cluster: FakeCluster, home: Path) -> Ledger:
    """Have one bridge apply a first revision, and end."""
    home.mkdir()
    ledger = Ledger()
    bridge = Bridge(ledger, cluster, home)
    ledger.release("one")
    ledger.commit()
    bridge.turn()
    assert [f.changes.outcome for f in bridge.offered.findings] == [ReleaseOutcome.APPLIED]
    return ledger


@pytest.mark.requires("bridge.local-trouble")
def test_an_edited_record_is_told_here_and_not_to_the_ledger(
    cluster: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = _applied(cluster, tmp_path / "one")
    cluster.objects[RECORD.identity]["metadata"]["annotations"][REVISION] = "9999999999999999"
    bridge = Bridge(ledger, cluster, tmp_path)
    with caplog.at_level(logging.WARNING, "bridge"):
        for text in ("two", "three"):
            ledger.release(text)
            ledger.commit()
            account = bridge.turn()["releases"]["guestbook"]
            assert account["refusal"]["code"] == Code.STALE
    assert bridge.offered.findings == []
    assert {r.getMessage() for r in caplog.records} == {"release not planned"}
    # Mended, it goes on and tells.
    cluster.objects[RECORD.identity]["metadata"]["annotations"][REVISION] = "1"
    ledger.release("four")
    ledger.commit()
    assert bridge.turn()["releases"]["guestbook"]["refusal"] is None
    assert [f.changes.outcome for f in bridge.offered.findings] == [ReleaseOutcome.APPLIED]


@pytest.mark.requires("bridge.local-trouble")
def test_metrics_do_not_tell_of_it_either(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(_applied(cluster, tmp_path / "one"), cluster, tmp_path)
    cluster.objects[RECORD.identity]["metadata"]["annotations"][REVISION] = "9999999999999999"
    bridge.turn()
    measured = (MetricRecord("apps/v1/Deployment/guestbook/web", "cpu", 1, 1),)
    monkeypatch.setattr(Reconciler, "measure", lambda *_: measured)
    bridge.loop._measure("guestbook", bridge.loop._tracked["guestbook"])
    assert bridge.offered.findings == []


@pytest.mark.requires("bridge.local-trouble")
def test_a_record_without_room_is_local_and_an_invalid_revision_is_not(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler = Reconciler(cluster, InventoryStore(cluster, CHAIN_ID), Unwatched(), lambda: 0)
    monkeypatch.setattr(inventory, "INVENTORY_BYTES_MAX", 10)
    standing = reconciler.reconcile(release([config_map("a", "guestbook")]))
    assert standing.refusal is not None
    assert (standing.refusal.code, standing.local) == (Code.LIMIT_EXCEEDED, True)
    twice = release([config_map("a", "guestbook"), config_map("a", "guestbook")])
    standing = reconciler.reconcile(twice)
    assert standing.refusal is not None
    assert (standing.refusal.code, standing.local) == (Code.OBJECT_DUPLICATE, False)


@pytest.mark.requires("bridge.local-trouble")
def test_objects_that_no_record_can_name_make_no_release_failed() -> None:
    skipped = ObjectResult(key_of(config_map("a")), Outcome.SKIPPED, True, Code.INVENTORY_UNREADABLE)
    assert ChangeSet("c", "r", 1, (skipped,)).outcome is ReleaseOutcome.PARTIAL
    other = dataclasses.replace(skipped, code=Code.OBJECT_KIND_UNKNOWN)
    assert ChangeSet("c", "r", 1, (other,)).outcome is ReleaseOutcome.FAILED
