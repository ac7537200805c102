"""The bridge's loop and what the ledger wants of one cluster: wishes, deletions, freezes, replicas."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.objects import ObjectKey
from ledger import autoscale, records, statekeys
from ledger.autoscale import ObjectScale, ScaleRecord
from ledger.bodies import freeze_body, release_body
from ledger.errors import Code
from ledger.records import DesiredState
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import ALICE, CAROL, Ledger, a_release, envelope
from tests.support.manifests import deployment, namespace_object

GREETING = ObjectKey("v1", "ConfigMap", "guestbook", "greeting")
DESIRED = statekeys.desired("east", "guestbook")


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace_object("guestbook"))
    return found


@pytest.fixture
def bridge(cluster: FakeCluster, tmp_path: Path) -> Bridge:
    ledger = Ledger()
    ledger.commit()
    return Bridge(ledger, cluster, tmp_path)


def _text(cluster: FakeCluster) -> str | None:
    live = cluster.objects.get(GREETING.identity)
    return None if live is None else str(live["data"]["text"])


@pytest.mark.requires("bridge.desired-alone")
def test_what_the_cluster_shall_have_is_applied_whatever_is_newest(
    bridge: Bridge, cluster: FakeCluster
) -> None:
    bridge.ledger.release("one")
    first = bridge.ledger.values[bridge.ledger.height][DESIRED]
    bridge.ledger.release("two")
    second = bridge.ledger.values[bridge.ledger.height][DESIRED]
    bridge.ledger.edit(bridge.ledger.height, {DESIRED: first})
    bridge.ledger.commit()
    bridge.turn()
    assert _text(cluster) == "one"
    bridge.ledger.edit(bridge.ledger.height, {DESIRED: second})
    bridge.ledger.commit()
    assert bridge.turn()["releases"]["guestbook"]["revision"] == 2
    assert _text(cluster) == "two"


@pytest.mark.requires("bridge.desired-alone")
def test_a_release_that_has_not_reached_the_cluster_is_waited_for(
    bridge: Bridge, cluster: FakeCluster
) -> None:
    bridge.ledger.release("one")
    bridge.ledger.edit(bridge.ledger.height, {DESIRED: None})
    bridge.ledger.commit()
    account = bridge.turn()
    assert (account["releases"], account["refused"]) == ({}, {})
    assert _text(cluster) is None


@pytest.mark.requires("bridge.desired-alone")
def test_a_rollback_by_the_machine_is_applied_and_reported(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.report(1)
    bridge.ledger.release("two")
    bridge.ledger.commit()
    bridge.turn()
    assert _text(cluster) == "two"
    bridge.ledger.report(2, outcome="failed", health="failed")
    bridge.ledger.commit()
    assert bridge.turn()["releases"]["guestbook"]["revision"] == 3
    assert _text(cluster) == "one"
    assert bridge.reporter().send(bridge.offered.findings[-1])


@pytest.mark.requires("bridge.desired-alone")
def test_what_verified_once_is_not_fetched_again(bridge: Bridge) -> None:
    bridge.ledger.release("one")
    counts = []
    for _ in range(2):
        bridge.ledger.commit()
        bridge.node.asked.clear()
        bridge.turn()
        counts.append(bridge.node.asked.count("abci_query"))
    assert counts[1] < counts[0] / 2


def _freeze(bridge: Bridge, **scope: Any) -> None:
    codes = [r.code for r in bridge.ledger.commit(envelope(ALICE, freeze_body("stop", **scope)))]
    assert codes == [0]


@pytest.mark.requires("bridge.frozen-held")
@pytest.mark.parametrize(
    "scope", [{"releases": ("guestbook",)}, {"clusters": ("east",)}, {"namespaces": ("guest*",)}, {}]
)
def test_a_frozen_release_is_held_until_it_is_not(
    bridge: Bridge, cluster: FakeCluster, scope: dict[str, tuple[str, ...]]
) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    _freeze(bridge, **scope)
    bridge.ledger.commit()
    cluster.remove(GREETING)
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
    account = bridge.turn()
    assert account["refused"]["guestbook"]["code"] == Code.FROZEN
    assert (account["hold"], account["verdict"]["code"]) == (None, 0)
    assert _text(cluster) is None
    bridge.ledger.configure(remove=(("Freeze", "stop"),))
    bridge.ledger.commit()
    assert bridge.turn()["refused"] == {}
    assert _text(cluster) == "one"


@pytest.mark.requires("bridge.frozen-held")
@pytest.mark.parametrize(
    "scope", [{"releases": ("other",)}, {"clusters": ("west",)}, {"namespaces": ("guest",)}]
)
def test_a_freeze_of_something_else_holds_nothing(
    bridge: Bridge, cluster: FakeCluster, scope: dict[str, tuple[str, ...]]
) -> None:
    _freeze(bridge, **scope)
    bridge.ledger.release("one")
    bridge.ledger.commit()
    assert bridge.turn()["refused"] == {}
    assert _text(cluster) == "one"


@pytest.mark.requires("bridge.frozen-held")
def test_a_release_deleted_under_a_freeze_stays_until_it_ends(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    bridge.ledger.delete(prune=True)
    _freeze(bridge)
    bridge.ledger.commit()
    assert bridge.turn()["refused"]["guestbook"]["code"] == Code.FROZEN
    assert _text(cluster) == "one"


@pytest.mark.requires("bridge.deleted")
@pytest.mark.parametrize(("prune", "left"), [(True, None), (False, "one")])
def test_a_deleted_release_leaves_and_is_reported_gone(
    bridge: Bridge, cluster: FakeCluster, prune: bool, left: str | None
) -> None:
    reporter = bridge.reporter()
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    assert reporter.send(bridge.offered.findings[-1])
    bridge.ledger.delete(prune=prune)
    bridge.ledger.commit()
    account = bridge.turn()["releases"]["guestbook"]
    assert (account["wantedState"], account["outcome"]) == ("deleted", "applied")
    assert _text(cluster) == left
    (inventory,) = [o for key, o in cluster.objects.items() if key[3] == "conclave-inventory-guestbook"]
    assert inventory["data"]["objects"] == "{}"
    gone = bridge.offered.findings[-1]
    assert reporter.send(gone)
    assert not reporter.send(gone)
    bridge.ledger.commit()
    assert bridge.turn()["releases"] == {}
    assert release_reader.releases(bridge.reader("auditor.json").at(), "east").value == ()
    bridge.ledger.release("again")
    bridge.ledger.commit()
    bridge.turn()
    assert _text(cluster) == "again"


@pytest.mark.requires("bridge.deleted")
def test_a_deletion_is_reported_though_the_last_report_said_the_same(
    bridge: Bridge, cluster: FakeCluster
) -> None:
    bridge.ledger.release("one")
    bridge.ledger.report(1, health="unknown")
    bridge.ledger.delete(prune=True)
    bridge.ledger.commit()
    bridge.turn()
    gone = bridge.offered.findings[-1]
    assert (gone.changes.outcome.value, gone.status.value) == ("applied", "unknown")
    assert bridge.reporter().send(gone)


@pytest.mark.requires("bridge.deleted")
def test_a_forged_deletion_removes_nothing(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    before = copy.deepcopy(cluster.objects)
    wanted = records.read_desired(bridge.ledger.values[bridge.ledger.height][DESIRED])
    forged = dataclasses.replace(wanted, state=DesiredState.DELETED, prune=True)
    bridge.ledger.edit(bridge.ledger.height, {DESIRED: records.write(forged)})
    bridge.ledger.commit()
    assert bridge.turn()["refused"]["guestbook"]["code"] == Code.LEDGER_RECORD_INVALID
    assert cluster.objects == before


@pytest.mark.requires("bridge.replicas")
def test_replicas_follow_what_the_machine_decided(bridge: Bridge, cluster: FakeCluster) -> None:
    web = "apps/v1/Deployment/guestbook/web"
    made = a_release()
    made["spec"]["manifests"] = [deployment("web", "guestbook", replicas=9)]
    rule = {"object": web, "minReplicas": 1, "maxReplicas": 5, "initialReplicas": 2}
    made["spec"]["autoscale"] = [{**rule, "metrics": [{"name": "load", "target": 10}]}]
    bridge.ledger.approve(envelope(ALICE, release_body(made)), (ALICE, CAROL))
    found = []
    for decided in (None, 4, 7, 3):
        height = bridge.ledger.height
        time = records.read_desired(bridge.ledger.values[height][DESIRED]).time
        if decided is not None:
            scale = ScaleRecord((ObjectScale(web, decided, time + 1),))
            bridge.ledger.edit(height, {statekeys.scale("east", "guestbook"): autoscale.write(scale)})
        bridge.ledger.commit()
        account = bridge.turn()
        live = cluster.objects["apps", "Deployment", "guestbook", "web"]
        found.append((live["spec"]["replicas"], account["refused"].get("guestbook", {}).get("code", 0)))
    assert found == [(2, 0), (4, 0), (4, Code.LEDGER_RECORD_INVALID), (3, 0)]
