"""The bridge's loop over a real ledger in memory: proposals, approvals, proofs, lies."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.objects import ObjectKey
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.report import Finding
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.state_file import StateFile
from ledger import statekeys
from ledger.errors import Code, EnvironmentFault
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import ALICE, CAROL, Ledger
from tests.support.manifests import namespace_object

GREETING = ObjectKey("v1", "ConfigMap", "guestbook", "greeting")


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace_object("guestbook"))
    return found


@pytest.fixture
def bridge(cluster: FakeCluster, tmp_path: Path) -> Bridge:
    ledger = Ledger()
    ledger.commit()
    ledger.commit()
    return Bridge(ledger, cluster, tmp_path)


def _text(cluster: FakeCluster) -> str | None:
    live = cluster.objects.get(GREETING.identity)
    return None if live is None else str(live["data"]["text"])


@pytest.mark.requires("bridge.applies-only-final")
def test_nothing_is_applied_before_the_last_approval(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("hello", approvers=(ALICE,))
    bridge.ledger.commit()
    assert bridge.turn()["releases"] == {}
    assert _text(cluster) is None


@pytest.mark.requires("bridge.applies-only-final")
def test_a_final_release_is_applied_upgraded_and_rolled_back(bridge: Bridge, cluster: FakeCluster) -> None:
    changes: list[tuple[Callable[[], str], str]] = [
        (lambda: bridge.ledger.release("one"), "one"),
        (lambda: bridge.ledger.release("two"), "two"),
        (lambda: bridge.ledger.roll_back(1), "one"),
    ]
    for change, expected in changes:
        change()
        bridge.ledger.commit()
        account = bridge.turn()
        assert account["verdict"] == {"code": 0, "name": "OK"}
        assert _text(cluster) == expected
    assert account["releases"]["guestbook"]["revision"] == 3
    assert account["releases"]["guestbook"]["outcome"] == "applied"


@pytest.mark.requires("bridge.drift-undone")
def test_drift_is_repaired_and_rests_between_repairs(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("hello")
    bridge.ledger.commit()
    bridge.turn()
    repaired = 0
    for _ in range(40):
        edited = copy.deepcopy(cluster.objects[GREETING.identity])
        edited["data"]["text"] = "by hand"
        cluster.put(edited)
        bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
        bridge.turn(0.05)
        repaired += _text(cluster) == "hello"
    assert 2 <= repaired < 10


@pytest.mark.requires("bridge.resync")
def test_what_no_watch_saw_is_found_in_time(cluster: FakeCluster, tmp_path: Path) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path, Periods(resync_s=30, staleness_s=3600))
    bridge.ledger.release("hello")
    bridge.ledger.commit()
    bridge.turn()
    cluster.remove(GREETING)
    bridge.turn(29)
    assert _text(cluster) is None
    bridge.turn(2)
    assert _text(cluster) == "hello"


def _flip(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


LIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "app hash": (
        "light_block",
        lambda block: dataclasses.replace(
            block,
            signed_header=dataclasses.replace(
                block.signed_header,
                header=dataclasses.replace(
                    block.signed_header.header, app_hash=_flip(block.signed_header.header.app_hash)
                ),
            ),
        ),
    ),
    "signatures": (
        "light_block",
        lambda block: dataclasses.replace(
            block,
            signed_header=dataclasses.replace(
                block.signed_header,
                commit=dataclasses.replace(block.signed_header.commit, signatures=()),
            ),
        ),
    ),
    "value": ("abci_query", lambda answer: dataclasses.replace(answer, value=_flip(answer.value or b"x"))),
    "proof": ("abci_query", lambda answer: dataclasses.replace(answer, proof=None)),
}


@pytest.mark.requires("bridge.lying-node")
@pytest.mark.parametrize("lie", LIES)
def test_a_lying_node_moves_nothing(bridge: Bridge, cluster: FakeCluster, lie: str) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    before = copy.deepcopy(cluster.objects)
    method, change = LIES[lie]
    bridge.node.lies[method] = change
    bridge.ledger.release("two")
    bridge.ledger.commit()
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
    account = bridge.turn()
    assert cluster.objects == before
    assert 500 <= account["hold"]["code"] < 600
    bridge.node.lies.clear()
    assert bridge.turn(30)["hold"] is None
    assert _text(cluster) == "two"


@pytest.mark.requires("bridge.lying-node")
def test_a_release_whose_approvals_do_not_verify_is_held_alone(bridge: Bridge, cluster: FakeCluster) -> None:
    identifier = bridge.ledger.release("one")
    # Two thirds of the validators could write a record; they cannot sign for an operator.
    height = bridge.ledger.height
    key = statekeys.proposal(identifier)
    forged = bridge.ledger.values[height][key].replace(CAROL.did.encode(), ALICE.did.encode())
    bridge.ledger.edit(height, {key: forged})
    bridge.ledger.commit()
    account = bridge.turn()
    assert account["hold"] is None
    assert 500 <= account["refused"]["guestbook"]["code"] < 600
    assert _text(cluster) is None


@pytest.mark.requires("bridge.lying-node")
def test_a_release_that_no_longer_verifies_is_let_alone(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    identifier = bridge.ledger.release("two")
    height = bridge.ledger.height
    key = statekeys.proposal(identifier)
    forged = bridge.ledger.values[height][key].replace(CAROL.did.encode(), ALICE.did.encode())
    bridge.ledger.edit(height, {key: forged})
    bridge.ledger.commit()
    cluster.remove(GREETING)
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
    account = bridge.turn()
    assert account["hold"] is None
    assert 500 <= account["refused"]["guestbook"]["code"] < 600
    assert _text(cluster) is None


@pytest.mark.requires("bridge.applies-only-final")
def test_a_release_that_leaves_the_list_is_kept_and_let_alone(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    bridge.ledger.edit(bridge.ledger.height, {statekeys.cluster_releases("east"): None})
    bridge.ledger.commit()
    cluster.writes.clear()
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
    assert bridge.turn()["releases"] == {}
    assert (_text(cluster), cluster.writes) == ("one", [])


@pytest.mark.requires("bridge.stale-holds")
def test_a_stale_ledger_holds_what_runs(bridge: Bridge, cluster: FakeCluster) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    cluster.remove(GREETING)
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
    account = bridge.turn(61)
    assert account["hold"]["code"] == Code.STALE
    assert _text(cluster) is None
    for _ in range(70):
        bridge.ledger.commit()
    assert bridge.turn()["hold"] is None
    assert _text(cluster) == "one"


@pytest.mark.requires("bridge.outage")
def test_an_api_server_that_comes_back_is_caught_up_with(
    bridge: Bridge, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="refused")

    bridge.ledger.release("one")
    bridge.ledger.commit()
    with monkeypatch.context() as outage:
        outage.setattr(cluster, "get", down)
        account = bridge.turn()
    assert account["releases"]["guestbook"]["fault"]["code"] == Code.KUBERNETES_UNREACHABLE
    assert account["verdict"]["code"] == 0
    assert bridge.turn()["releases"]["guestbook"]["fault"] is None
    assert _text(cluster) == "one"


@pytest.mark.requires("bridge.one-writer")
def test_a_bridge_that_lost_the_lease_tells_nothing_and_looks_anew_once_it_has_it(
    bridge: Bridge, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms: list[str | None] = ["u/1"]
    forgotten: list[None] = []
    monkeypatch.setattr(Reconciler, "term", lambda _: terms[-1])
    monkeypatch.setattr(bridge.offered, "forget", lambda: forgotten.append(None))
    reporter = bridge.reporter(may_tell=lambda: terms[-1] is not None)
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    finding = bridge.offered.findings[-1]
    terms.append(None)
    bridge.ledger.release("two")
    bridge.ledger.commit()
    account = bridge.turn()
    assert (_text(cluster), account["releases"]["guestbook"]["wantedRevision"]) == ("one", 2)
    assert forgotten
    assert not reporter.send(finding)
    assert len(bridge.offered.findings) == 1
    cluster.remove(GREETING)
    terms.append("u/3")
    bridge.turn()
    assert _text(cluster) == "two"
    assert reporter.send(bridge.offered.findings[-1])


@pytest.mark.requires("bridge.reports")
def test_findings_are_reported_once_signed_and_in_sequence(bridge: Bridge, cluster: FakeCluster) -> None:
    reporter = bridge.reporter()
    for text, sequence in (("one", 1), ("two", 2)):
        bridge.ledger.release(text)
        bridge.ledger.commit()
        bridge.turn()
        finding = bridge.offered.findings[-1]
        assert reporter.send(finding)
        view = bridge.reader("auditor.json").at()
        record = release_reader.report(view, "east", "guestbook").value
        assert record is not None
        assert (record.revision, record.sequence) == (sequence, sequence)
        assert (record.outcome, record.health) == ("applied", "current")
        assert record.objects[0]["object"] == str(GREETING)
        assert not reporter.send(finding)
    bridge.turn()
    assert len(bridge.offered.findings) == 2


@pytest.mark.requires("bridge.reports")
def test_the_reporter_sends_the_newest_finding_only(bridge: Bridge) -> None:
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    finding = bridge.offered.findings[-1]
    reporter = bridge.reporter()
    sent: list[Any] = []
    done = threading.Event()

    def send(found: Finding) -> bool:
        sent.append(found)
        done.set()
        return True

    reporter.send = send  # type: ignore[method-assign,assignment]
    reporter.offer(dataclasses.replace(finding, health={}))
    reporter.offer(finding)
    reporter.start()
    assert done.wait(60)
    reporter.stop()
    assert sent == [finding]


@pytest.mark.requires("bridge.status-file")
def test_the_account_names_what_is_wrong(bridge: Bridge, cluster: FakeCluster) -> None:
    cluster.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting", "namespace": "guestbook"}}
    )
    bridge.ledger.release("one")
    bridge.ledger.commit()
    account = bridge.turn()
    (wrong,) = account["releases"]["guestbook"]["objects"]
    assert wrong["code"] == Code.OBJECT_NOT_OWNED
    state = StateFile(bridge.home, lambda: 7)
    state.write(account)
    assert json.loads(state.path.read_text()) == {**account, "writtenNs": 7}


@pytest.mark.requires("bridge.idle-outage-told")
def test_an_idle_bridge_says_that_its_cluster_is_not_reached(
    bridge: Bridge, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bridge.turn()["kubernetes"] == {"code": 0, "name": "OK"}

    def down(*_: object, **__: object) -> object:
        raise EnvironmentFault(Code.KUBERNETES_UNREACHABLE, todo="see")

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "list", down)
        account = bridge.turn(Periods().reach_s)
        assert account["kubernetes"]["code"] == Code.KUBERNETES_UNREACHABLE
        assert account["hold"] is None
        bridge.ledger.release("hello")
        bridge.ledger.commit()
        assert bridge.turn()["releases"]["guestbook"]["fault"]["code"] == Code.KUBERNETES_UNREACHABLE
    bridge.turn(1.0)
    account = bridge.turn(0.01)
    assert account["kubernetes"]["code"] == 0
    assert _text(cluster) == "hello"


@pytest.mark.requires("bridge.doorbell")
def test_a_bridge_that_listens_asks_when_it_is_rung_and_else_seldom(
    bridge: Bridge, cluster: FakeCluster
) -> None:
    bridge.bell.listening = lambda: True
    bridge.turn()
    bridge.ledger.release("one")
    bridge.ledger.commit()
    asked = len(bridge.node.asked)
    bridge.turn(Periods().listen_s / 2)
    assert len(bridge.node.asked) == asked
    bridge.bell.block()
    bridge.turn(0.1)
    assert _text(cluster) == "one"
    bridge.ledger.release("two")
    bridge.ledger.commit()
    bridge.turn(Periods().listen_s + 0.1)
    assert _text(cluster) == "two"


@pytest.mark.requires("bridge.doorbell")
def test_a_bell_that_never_rests_makes_a_bridge_look_half_of_the_time(bridge: Bridge) -> None:
    bridge.turn()
    look = bridge.source.look

    def slow() -> Wanted | None:
        found = look()
        bridge.clock.advance(2.0)
        return found

    bridge.source.look = slow  # type: ignore[method-assign]
    bridge.bell.block()
    bridge.turn(0.1)
    asked = bridge.node.asked.count("status")
    for seconds, more in ((1.0, 0), (0.9, 0), (0.2, 1)):
        bridge.bell.block()
        bridge.turn(seconds)
        assert bridge.node.asked.count("status") == asked + more
