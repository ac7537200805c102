"""What a bridge does when what it stands on fails: it says so by code, tears nothing down, and catches up."""

from __future__ import annotations

import copy
import errno
import os
from pathlib import Path

import pytest

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome, ReleaseOutcome
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.objects import ObjectKey
from k8s_bridge.state_file import StateFile
from ledger.errors import Code, EnvironmentFault
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import namespace_object

GREETING = ObjectKey("v1", "ConfigMap", "guestbook", "greeting")
OTHER = ObjectKey("v1", "ConfigMap", "guestbook", "other")
TROUBLES = {
    "token expired": (401, "Unauthorized"),
    "etcd slow": (500, "etcdserver: request timed out"),
    "etcd without a leader": (503, "etcdserver: leader changed"),
    "overloaded": (429, "too many requests"),
    "a proxy without a server": (502, "Bad Gateway"),
    "a server too slow for its proxy": (504, "Timeout"),
}


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace_object("guestbook"))
    return found


@pytest.fixture
def bridge(cluster: FakeCluster, tmp_path: Path) -> Bridge:
    """A bridge that has applied its release."""
    found = Bridge(Ledger(), cluster, tmp_path)
    found.ledger.release("one")
    found.ledger.commit()
    found.turn()
    assert _text(cluster) == "one"
    return found


def _text(cluster: FakeCluster) -> object:
    live = cluster.objects.get(GREETING.identity)
    return None if live is None else live["data"]["text"]


def _edit(bridge: Bridge, cluster: FakeCluster) -> None:
    edited = copy.deepcopy(cluster.objects[GREETING.identity])
    edited["data"]["text"] = "by hand"
    cluster.put(edited)
    bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))


def _refused(status: int, message: str) -> EnvironmentFault:
    return EnvironmentFault(
        Code.KUBERNETES_REFUSED, got=f"{status} {message}", status=status, permanent=False
    )


@pytest.mark.requires("bridge.faults")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_api_server_in_trouble_fails_no_release(
    bridge: Bridge, cluster: FakeCluster, trouble: str
) -> None:
    told = len(bridge.offered.findings)
    cluster.faults[GREETING.identity] = _refused(*TROUBLES[trouble])
    _edit(bridge, cluster)
    account = bridge.turn(3.0)
    assert account["releases"]["guestbook"]["fault"]["code"] == Code.KUBERNETES_REFUSED
    assert account["releases"]["guestbook"]["outcome"] == "applied"
    assert len(bridge.offered.findings) == told
    assert not any(write.startswith("delete") for write in cluster.writes)
    cluster.faults.clear()
    for _ in range(8):
        account = bridge.turn(1.0)
    assert (account["releases"]["guestbook"]["fault"], _text(cluster)) == (None, "one")


@pytest.mark.requires("bridge.faults")
@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (Code.KUBERNETES_REFUSED, 401, ReleaseOutcome.PARTIAL),
        (Code.KUBERNETES_REFUSED, 500, ReleaseOutcome.PARTIAL),
        (Code.KUBERNETES_REFUSED, 503, ReleaseOutcome.PARTIAL),
        (Code.OBJECT_TERMINATING, 403, ReleaseOutcome.PARTIAL),
        (Code.KUBERNETES_FORBIDDEN, 403, ReleaseOutcome.FAILED),
        (Code.KUBERNETES_REFUSED, 422, ReleaseOutcome.FAILED),
    ],
)
def test_trouble_in_the_middle_of_an_apply_is_no_failure_of_the_release(
    code: Code, status: int, expected: ReleaseOutcome
) -> None:
    fault = EnvironmentFault(code, got=str(status), status=status, permanent=status == 422)
    results = tuple(
        ObjectResult(key, Outcome.FAILED, wanted=True, code=code, fault=fault) for key in (GREETING, OTHER)
    )
    assert ChangeSet("chain", "guestbook", 1, results).outcome is expected


@pytest.mark.requires("bridge.faults")
def test_without_a_ledger_drift_is_undone_until_what_is_known_is_stale(
    bridge: Bridge, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> object:
        raise EnvironmentFault(Code.RPC_UNREACHABLE, got="refused", todo="see the node")

    with monkeypatch.context() as outage:
        for method in ("status", "light_block", "signed_header", "abci_query"):
            outage.setattr(bridge.node, method, down)
        _edit(bridge, cluster)
        account = bridge.turn(10.0)
        assert (account["verdict"]["code"], account["hold"]) == (Code.RPC_UNREACHABLE, None)
        assert _text(cluster) == "one"
        account = bridge.turn(60.0)
        assert account["hold"]["code"] == Code.STALE
        _edit(bridge, cluster)
        bridge.turn(1.0)
        assert _text(cluster) == "by hand"
    for _ in range(75):
        bridge.ledger.commit()
    for _ in range(6):
        account = bridge.turn(1.0)
    assert (account["verdict"]["code"], account["hold"], _text(cluster)) == (0, None, "one")


@pytest.mark.requires("bridge.faults")
def test_a_full_disk_stops_the_bridge_from_believing_and_not_from_keeping(
    bridge: Bridge, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    state = StateFile(bridge.home, lambda: 7)
    state.write({"before": True})
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        bridge.ledger.release("two")
        bridge.ledger.commit()
        _edit(bridge, cluster)
        account = bridge.turn(3.0)
        assert (account["verdict"]["code"], account["hold"]) == (Code.DISK_FULL, None)
        assert account["verdict"]["todo"]
        assert _text(cluster) == "one"
        disk.setattr(os, "open", full)
        state.write(account)
    assert b"before" in state.path.read_bytes()
    for _ in range(6):
        account = bridge.turn(1.0)
    assert (account["verdict"]["code"], _text(cluster)) == (0, "two")
    state.write(account)
    assert b"before" not in state.path.read_bytes()
