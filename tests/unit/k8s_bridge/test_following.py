"""How old what is applied may be: between two releases of one turn, and by which clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from consensus.verified import Verified
from k8s_bridge.changeset import ChangeSet
from k8s_bridge.contests import Contests
from k8s_bridge.following import Clocks, Following
from k8s_bridge.loop import Loop
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.report import Finding
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.release import ReleaseRevision
from tests.support.bridge import Clock, Impatient, Offered, Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map
from tests.support.verified import release, verified

NAMES = [f"r{number}" for number in range(6)]
APPLY_S = 30.0


class _Slow(Reconciler):
    """Takes half a minute a release."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(FakeCluster(), None, Unwatched(), lambda: clock.wall_ns)  # type: ignore[arg-type]
        self.contests = Contests(lambda: clock.monotonic_s)
        self._slow_clock = clock
        self.begun: list[tuple[str, float]] = []

    def reach(self) -> None:
        """Reached."""

    def admission_changed(self, scopes: frozenset[str] = frozenset()) -> bool:
        return False

    def reconcile(self, wanted: Verified[ReleaseRevision]) -> Standing:
        self.begun.append((wanted.value.name, self._slow_clock.monotonic_s))
        self._slow_clock.advance(APPLY_S)
        return Standing(Finding(ChangeSet("c", wanted.value.name, 1, ()), {}), None, written=False)


class _Ledger:
    """Answers as it is told to."""

    def __init__(self, answer: Callable[[int], Wanted | None]) -> None:
        self.answer, self.looks = answer, 0

    def look(self) -> Wanted | None:
        self.looks += 1
        return self.answer(self.looks)


def _wanted(clock: Clock, frozen: str | None = None) -> Wanted:
    found = release([config_map("a")]).value
    releases = {n: verified(dataclasses.replace(found, name=n)) for n in NAMES if n != frozen}
    refused = {frozen: Refused(Code.FROZEN, got="freeze")} if frozen else {}
    return Wanted(5, clock.wall_ns, releases, refused)


def _turned(answer: Callable[[Clock, int], Wanted | None]) -> tuple[_Slow, Loop, Clock]:
    clock = Clock(10**18)
    reconciler, ledger = _Slow(clock), _Ledger(lambda looks: answer(clock, looks))
    clocks = Clocks(lambda: clock.wall_ns, lambda: clock.monotonic_s)
    loop = Loop(ledger, reconciler, Offered(), Impatient(), Periods(), clocks)
    loop.step()
    return reconciler, loop, clock


@pytest.mark.requires("bridge.looks-between")
def test_a_ledger_that_goes_silent_within_a_turn_stops_it_at_the_limit() -> None:
    reconciler, loop, clock = _turned(lambda clock, looks: _wanted(clock) if looks == 1 else None)
    hold = loop.hold()
    assert [began - 1000.0 for _, began in reconciler.begun] == [0.0, 30.0, 60.0]
    assert hold is not None
    assert hold.code is Code.STALE
    assert clock.monotonic_s == 1000.0 + 3 * APPLY_S


@pytest.mark.requires("bridge.looks-between")
def test_a_ledger_that_goes_on_lets_the_turn_go_on() -> None:
    reconciler, _, _ = _turned(lambda clock, looks: _wanted(clock))
    assert [name for name, _ in reconciler.begun] == NAMES


@pytest.mark.requires("bridge.looks-between")
def test_a_freeze_made_while_one_release_is_applied_keeps_the_next_ones() -> None:
    reconciler, _, _ = _turned(lambda clock, looks: _wanted(clock, "r3" if looks > 2 else None))
    assert [name for name, _ in reconciler.begun] == [name for name in NAMES if name != "r3"]


def _following(clock: Clock) -> Following:
    def answer(looks: int) -> Wanted | None:
        if looks > 1:
            raise EnvironmentFault(Code.RPC_UNREACHABLE, got="nobody")
        return _wanted(clock)

    clocks = Clocks(lambda: clock.wall_ns, lambda: clock.monotonic_s)
    found = Following(_Ledger(answer), Periods(), clocks, Impatient())
    assert found.look_if_due() is not None
    return found


@pytest.mark.requires("bridge.stale-clock")
@pytest.mark.parametrize("set_back_s", [0, 3600])
def test_a_clock_that_is_set_back_makes_no_header_younger(set_back_s: int) -> None:
    clock = Clock(10**18)
    following = _following(clock)
    clock.wall_ns -= set_back_s * 10**9
    clock.advance(60)
    following.look_if_due()
    assert following.hold() is None
    clock.advance(1)
    hold = following.hold()
    assert hold is not None
    assert (hold.code, hold.got) == (Code.STALE, "a header 61 s old")


@pytest.mark.requires("bridge.stale-clock")
def test_a_header_that_was_old_when_it_was_verified_stays_as_old() -> None:
    clock = Clock(10**18)
    wanted = dataclasses.replace(_wanted(clock), time_ns=clock.wall_ns - 50 * 10**9)
    clocks = Clocks(lambda: clock.wall_ns, lambda: clock.monotonic_s)
    following = Following(_Ledger(lambda looks: wanted), Periods(), clocks, Impatient())
    following.look_if_due()
    clock.wall_ns -= 3600 * 10**9
    clock.advance(10)
    assert following.hold() is None
    clock.advance(1)
    assert following.hold() is not None
