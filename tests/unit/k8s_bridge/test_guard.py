"""What an admission policy that comes or goes makes the bridge do, and what it says of foreign writes."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import pytest

from k8s_bridge.drift import Change, Verdict
from k8s_bridge.guard import POLICY, SETTLE_S, Guard
from k8s_bridge.objects import ObjectKey
from k8s_bridge.settings import Periods
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import namespace_object

GREETING = ObjectKey("v1", "ConfigMap", "guestbook", "greeting")


class Admitting(FakeCluster):
    """A cluster that serves one admission policy, or none, or does not say."""

    policy: JsonObject | None = None
    silent = False

    def get(self, key: ObjectKey) -> JsonObject | None:
        if key != POLICY:
            return super().get(key)
        if self.silent:
            raise EnvironmentFault(Code.KUBERNETES_FORBIDDEN, got="403", status=403)
        return self.policy

    def admit(self, uid: str, generation: int = 1) -> None:
        self.policy = {"metadata": {"uid": uid, "generation": generation}}


@pytest.fixture
def cluster() -> Admitting:
    found = Admitting()
    found.put(namespace_object("guestbook"))
    return found


@pytest.mark.requires("bridge.admission-window")
def test_a_policy_that_came_or_changed_is_told_once(cluster: Admitting) -> None:
    guard = Guard(cluster)
    assert (guard.changed(), guard.present) == (False, False)
    cluster.admit("one")
    assert (guard.changed(), guard.changed(), guard.present) == (True, False, True)
    cluster.admit("one", generation=2)
    assert guard.changed()
    cluster.silent = True
    assert (guard.changed(), guard.present) == (False, True)


@pytest.mark.requires("bridge.admission-window")
def test_a_policy_that_went_is_said_aloud(cluster: Admitting, caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(cluster)
    cluster.admit("one")
    guard.changed()
    cluster.policy = None
    with caplog.at_level(logging.WARNING, "bridge"):
        assert not guard.changed()
    assert [record.getMessage() for record in caplog.records] == ["admission policy gone"]


@pytest.mark.requires("bridge.admission-window")
def test_everything_is_looked_at_again_after_a_policy_came(cluster: Admitting, tmp_path: Path) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path, Periods(resync_s=3000, reach_s=1, staleness_s=3600))
    bridge.ledger.release("hello")
    bridge.ledger.commit()
    bridge.turn()
    cluster.remove(GREETING)
    for _ in range(5):
        bridge.turn(1)
    assert GREETING.identity not in cluster.objects
    cluster.admit("one")
    bridge.turn(1)
    bridge.turn(SETTLE_S)
    assert GREETING.identity in cluster.objects


@pytest.mark.requires("bridge.break-glass-loud")
def test_a_foreign_write_is_told_and_counted_and_our_own_is_not(
    cluster: Admitting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path)
    with caplog.at_level(logging.WARNING, "bridge"):
        for text in ("hello", "again"):
            bridge.ledger.release(text)
            bridge.ledger.commit()
            assert bridge.turn()["releases"]["guestbook"]["undone"] == 0
        assert not caplog.records
        edited = copy.deepcopy(cluster.objects[GREETING.identity])
        edited["data"]["text"] = "by hand"
        cluster.put(edited)
        bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
        assert bridge.turn()["releases"]["guestbook"]["undone"] == 1
    told = [record for record in caplog.records if record.getMessage() == "foreign write undone"]
    assert len(told) == 1
    assert str(GREETING) in str(told[0].__dict__)
