"""The lease: decisions, the fence around writes, the process's name."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from kubernetes.client.configuration import Configuration

from k8s_bridge.bounds import Fence, Timeouts
from k8s_bridge.connection import Connection
from k8s_bridge.deadman import Deadman
from k8s_bridge.holder import Holder
from k8s_bridge.lease import (
    NETWORK_S,
    NEW_S,
    Action,
    Belief,
    Predecessor,
    Record,
    Timing,
    decide,
    looked,
    record_of,
    remaining_s,
    seen,
    spec_of,
    term_of,
    written,
)
from k8s_bridge.lease_keeper import LeaseKeeper
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import JsonObject

TIMING = Timing()
OTHERS = Record("u", "5", "other", 3, 12)
MINE = Record("u", "1", "me", 1, 12)


def _me(**known: Any) -> Belief:
    return Belief("me", TIMING, **known)


@pytest.mark.requires("bridge.one-writer")
def test_anothers_lease_is_taken_when_it_stood_still_by_our_clock() -> None:
    belief = seen(_me(), OTHERS, 100.0)
    belief = seen(belief, OTHERS, 111.9)
    assert decide(belief, 111.9).action is Action.LOOK
    assert decide(belief, 112.0).action is Action.ACQUIRE
    renewed = seen(belief, replace(OTHERS, version="6"), 111.9)
    assert decide(renewed, 123.8).action is Action.LOOK


@pytest.mark.requires("bridge.one-writer")
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"holderIdentity": "a", "leaseDurationSeconds": 12, "leaseTransitions": 1}, ("a", 1, 12)),
        ({"holderIdentity": "a", "leaseDurationSeconds": 9000}, ("a", 0, 60)),
        ({"holderIdentity": "a", "leaseDurationSeconds": True, "leaseTransitions": -1}, ("a", 0, 60)),
        ({"holderIdentity": ["a"]}, ("", 0, 60)),
        (None, ("", 0, 60)),
    ],
)
def test_a_lease_somebody_wrote_wrongly_reads_as_the_careful_value(
    spec: object, expected: tuple[str, int, int]
) -> None:
    record = record_of({"metadata": {"uid": "u", "resourceVersion": "1"}, "spec": spec})
    assert (record.holder, record.transitions, record.duration_s) == expected


@pytest.mark.requires("bridge.one-writer")
def test_a_lease_that_vanished_is_waited_out_unless_nobody_ever_wrote() -> None:
    gone = seen(seen(_me(), OTHERS, 100.0), None, 101.0)
    assert decide(gone, 101.0).action is Action.ACQUIRE
    made = written(gone, MINE, 101.0, 101.1)
    # Nobody else takes it meanwhile; nothing is written before 12 s are over, counted from the answer.
    assert decide(made, 101.0 + TIMING.renew_s).action is Action.RENEW
    made = written(made, replace(MINE, version="2"), 113.0, 113.0)
    assert term_of(made, 113.0) is None
    assert term_of(made, 113.2) == "u/1"
    assert remaining_s(made, 113.0) == 0


@pytest.mark.requires("bridge.one-writer")
@pytest.mark.parametrize(("took_s", "at_once"), [(NEW_S - 0.01, True), (NEW_S + 0.01, False)])
def test_that_nobody_ever_wrote_counts_for_a_moment(took_s: float, at_once: bool) -> None:
    fresh = looked(_me(), None, untouched=True, sent_s=100.0, now_s=100.1)
    made = written(fresh, MINE, 100.1, 100.0 + took_s)
    assert (term_of(made, 101.0) == "u/1") is at_once
    # The answer was lost: a look finds that the lease is ours.
    found = written(seen(fresh, MINE, 100.2), replace(MINE, version="2"), 100.3, 100.3)
    assert (term_of(found, 101.0), remaining_s(found, 112.1)) == (None, 0)
    # What a later look finds is no first look.
    later = looked(fresh, None, untouched=False, sent_s=100.1, now_s=100.1)
    assert term_of(written(later, MINE, 100.1, 100.1), 101.0) is None


@pytest.mark.requires("bridge.one-writer")
def test_a_bridge_held_up_between_its_look_and_its_lease_does_not_write_into_anothers_time() -> None:
    server = Server()
    slow, other = Hands(server, "slow"), Hands(server, "other")
    slow.keeper.turn()
    other.until_held()
    # Deleted by hand; the other one does not know yet, and what it sent may still be on its way.
    server.lease = None
    slow.now_s = other.now_s = 101.0
    over_s = other.keeper.deadline_s() + TIMING.settle_s
    slow.until_held()
    assert slow.now_s > over_s


@pytest.mark.requires("bridge.one-writer", "bridge.takeover")
@pytest.mark.parametrize(("slow_looks", "waits"), [(1, False), (3, True)])
def test_a_slow_first_look_is_made_again_before_the_lease(slow_looks: int, waits: bool) -> None:
    server = Server()
    hands = Hands(server)
    looks: list[int] = []

    def slowly() -> bool:
        looks.append(1)
        hands.now_s += 0.3 if len(looks) <= slow_looks else 0.0
        return True

    server.untouched = slowly  # type: ignore[method-assign]
    assert (hands.until_held() >= TIMING.duration_s) is waits
    assert len(looks) == min(slow_looks + 1, 3)


@pytest.mark.requires("bridge.takeover")
def test_a_dead_predecessor_is_followed_once_what_it_sent_is_over() -> None:
    dead = Predecessor("other", 99.0)
    belief = seen(_me(predecessor=dead), OTHERS, 100.0)
    assert decide(belief, 99.0 + TIMING.settle_s - 0.1).action is Action.LOOK
    assert decide(belief, 99.0 + TIMING.settle_s).action is Action.ACQUIRE
    another = seen(_me(predecessor=replace(dead, holder="third")), OTHERS, 100.0)
    assert decide(another, 111.0).action is Action.LOOK


@pytest.mark.requires("bridge.one-writer")
def test_holding_counts_from_when_the_renewal_was_sent_and_ends_with_the_term() -> None:
    mine = Record("u", "6", "me", 4, 12)
    belief = written(seen(_me(), OTHERS, 100.0), mine, 112.0, 113.5)
    assert belief.held_until_s == 112.0 + TIMING.hold_s
    assert term_of(belief, 112.0 + TIMING.hold_s - 0.1) == "u/4"
    assert term_of(belief, 112.0 + TIMING.hold_s) is None
    assert spec_of(belief)["leaseTransitions"] == 4
    # Nobody saw a renewal that moved no version.
    assert written(belief, mine, 115.0, 115.1).held_until_s == belief.held_until_s
    # Ours again, but not by a write that we know of.
    assert term_of(seen(belief, replace(mine, version="9", transitions=6), 114.0), 114.0) is None
    assert term_of(seen(belief, OTHERS, 114.0), 114.0) is None


@pytest.mark.requires("bridge.lease-bounds")
@pytest.mark.parametrize(("duration_s", "renew_s"), [(5, 0.5), (61, 1.0), (12, 1.6), (12, 0.1)])
def test_settings_past_their_limits_are_refused(duration_s: int, renew_s: float) -> None:
    with pytest.raises(Refused) as caught:
        Timing(duration_s, renew_s)
    assert caught.value.code is Code.FIELD_INVALID


class Server:
    """One lease in memory."""

    def __init__(self) -> None:
        self.lease: Record | None = None
        self.fault: EnvironmentFault | None = None
        self.touched = False

    def read(self) -> Record | None:
        if self.fault is not None:
            raise self.fault
        return self.lease

    def write(self, spec: JsonObject, over: Record | None) -> Record | None:
        if self.fault is not None:
            raise self.fault
        if self.lease != over:
            return None
        version = str(int(over.version) + 1 if over is not None else 1)
        self.lease = record_of({"metadata": {"uid": "u", "resourceVersion": version}, "spec": spec})
        return self.lease

    def untouched(self) -> bool:
        return not self.touched


class Hands:
    """A clock, a kernel's timer, and a keeper that is turned by hand."""

    def __init__(self, server: Server, name: str = "me") -> None:
        self.now_s = 100.0
        self.armed: list[float | None] = []
        self.keeper = LeaseKeeper(server, Belief(name, TIMING), lambda: self.now_s)
        self.fence = Fence(self.keeper, TIMING, cast("Deadman", self))

    def arm(self, at_s: float) -> None:
        self.armed.append(at_s)

    def disarm(self) -> None:
        self.armed.append(None)

    def until_held(self) -> float:
        started_s = self.now_s
        while self.keeper.term() is None:
            pause_s = self.keeper.turn()
            self.now_s += 0.0 if self.keeper.term() is not None else pause_s
            assert self.now_s - started_s < 100
        return self.now_s - started_s

    def write(self) -> Timeouts:
        with self.fence.attempt() as timeouts:
            return timeouts


def _refused(call: Callable[[], object]) -> str:
    with pytest.raises(EnvironmentFault) as caught:
        call()
    assert caught.value.code is Code.LEASE_NOT_HELD
    return caught.value.got


@pytest.mark.requires("bridge.one-writer", "bridge.takeover")
def test_a_keeper_takes_a_free_lease_at_once_keeps_it_and_gives_it_back() -> None:
    server = Server()
    one, two = Hands(server, "one"), Hands(server, "two")
    assert one.until_held() == 0
    for _ in range(50):
        one.now_s += one.keeper.turn()
        two.now_s = one.now_s
        two.keeper.turn()
        assert one.keeper.term() == "u/1"
        assert two.keeper.term() is None
    assert two.keeper.account()["holder"] == "one"
    one.keeper.stop()
    assert one.keeper.term() is None
    assert two.until_held() < 1
    assert two.keeper.term() == "u/2"


@pytest.mark.requires("bridge.takeover", "bridge.one-writer")
def test_the_lease_is_not_given_back_while_a_write_may_still_take_effect() -> None:
    server = Server()
    one, two = Hands(server, "one"), Hands(server, "two")
    one.until_held()
    two.keeper.turn()
    one.fence.pin()
    with pytest.raises(OSError, match="silence"), one.fence.attempt():
        raise OSError("silence")
    one.keeper.stop()
    assert two.until_held() >= TIMING.settle_s


@pytest.mark.requires("bridge.one-writer")
def test_a_cluster_others_wrote_to_is_not_taken_at_once() -> None:
    server = Server()
    server.touched = True
    assert Hands(server).until_held() >= TIMING.duration_s


@pytest.mark.requires("bridge.lease-bounds")
def test_a_write_fits_into_what_is_left_with_the_timer_running() -> None:
    hands = Hands(Server())
    hands.until_held()
    hands.fence.pin()
    for left_s in (TIMING.hold_s, 2.0, 0.3):
        hands.now_s = 100.0 + TIMING.hold_s - left_s
        timeouts = hands.write()
        assert timeouts.server_s is not None
        assert 2 * timeouts.connect_s + timeouts.read_s <= left_s + 1e-9
        assert timeouts.server_s <= TIMING.write_s
        assert hands.armed[-2:] == [100.0 + TIMING.hold_s, None]
    hands.now_s = 100.0 + TIMING.hold_s - 0.2
    hands.armed.clear()
    assert "left" in _refused(hands.write)
    assert hands.armed == []


@pytest.mark.requires("bridge.lease-bounds")
def test_what_is_not_received_is_dropped_by_the_kernel() -> None:
    configuration = Configuration()
    Connection(configuration)
    option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(NETWORK_S * 1000))
    assert {option, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)} <= set(configuration.socket_options or ())


@pytest.mark.requires("bridge.late-writer")
def test_a_plan_of_an_earlier_term_is_not_carried_out_in_a_later_one() -> None:
    server = Server()
    hands, other = Hands(server), Hands(server, "other")
    hands.until_held()
    hands.fence.pin()
    hands.write()
    hands.now_s += TIMING.duration_s
    _refused(hands.write)
    other.keeper.turn()
    other.now_s += TIMING.duration_s
    other.until_held()
    other.keeper.stop()
    hands.keeper.turn()
    hands.until_held()
    assert "planned in u/1" in _refused(hands.write)
    hands.fence.pin()
    hands.write()


@pytest.mark.requires("bridge.one-writer")
def test_an_outage_ends_the_right_to_write_and_names_the_fault() -> None:
    server = Server()
    hands = Hands(server)
    hands.until_held()
    server.fault = EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="nobody")
    while hands.now_s < 100.0 + TIMING.hold_s:
        assert hands.keeper.term() is not None
        hands.now_s += max(hands.keeper.turn(), 0.1)
    assert hands.keeper.term() is None
    assert hands.keeper.account()["error"]["code"] == Code.KUBERNETES_UNREACHABLE
    _refused(hands.fence.pin)
    server.fault = None
    assert hands.until_held() < 1
    assert hands.keeper.term() == "u/1"


@pytest.mark.requires("bridge.takeover")
def test_only_a_process_of_this_boot_that_let_go_of_its_home_is_called_dead(tmp_path: Path) -> None:
    one = Holder(tmp_path)
    assert one.alone
    assert one.predecessor is None
    beside = Holder(tmp_path)
    assert not beside.alone
    assert beside.predecessor is None
    beside.close()
    one.close()
    two = Holder(tmp_path)
    assert (two.alone, two.predecessor) == (True, one.name)
    assert two.name != one.name
    two.close()
    file = tmp_path / "bridge.lock"
    for content in ("", "[1", json.dumps({**json.loads(file.read_text()), "boot": "another"})):
        file.write_text(content)
        found = Holder(tmp_path)
        assert found.predecessor is None
        found.close()
