"""Bridges that pause anywhere, and clocks that show anything: never two writers, and never none for long.

A simulated API server keeps one Lease and takes writes late; every process has its own clock, and stops for
any time at any of its steps. What is checked is what happened at the server, by the server's time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_bridge.lease import (
    NETWORK_S,
    Action,
    Belief,
    Record,
    Timing,
    decide,
    looked,
    may_be_new,
    record_of,
    remaining_s,
    spec_of,
    term_of,
    written,
)

TIMING = Timing()
TICK_S = 0.25
TICKS, STEPS = 200, 4
UNAVAILABLE_S = TIMING.duration_s + 2 * TIMING.renew_s
"""How long nobody may be writing at most, while somebody could."""


@dataclass
class Server:
    """The Lease of one cluster, and the moments until which writes of each bridge may take effect."""

    now_s: float = 0.0
    lease: Record | None = None
    serial: int = 0
    effects: dict[str, float] = field(default_factory=dict)

    def take(self, who: str) -> None:
        """Take a write, which may have its effect late: never in another's time."""
        others = [last_s for other, last_s in self.effects.items() if other != who]
        assert all(last_s < self.now_s for last_s in others), (who, self.now_s, self.effects)
        self.effects[who] = self.now_s + NETWORK_S + TIMING.write_s

    def write(self, spec: dict[str, object], over: Record | None) -> Record | None:
        if self.lease != over:
            return None
        self.serial += 1
        uid = over.uid if over is not None else f"lease-{self.serial}"
        metadata = {"uid": uid, "resourceVersion": str(self.serial)}
        self.lease = record_of({"metadata": metadata, "spec": spec})
        return self.lease


@dataclass
class Process:
    """One bridge: its belief, its own clock, and what it was about to do when it was stopped."""

    belief: Belief
    offset_s: float
    speed: float
    due_s: float = 0.0
    asleep_until_s: float = 0.0
    sent_s: float | None = None
    checked_s: float | None = None

    def clock_s(self, server: Server) -> float:
        return self.offset_s + server.now_s * self.speed

    def step(self, server: Server, *, writes: bool, answered: bool) -> None:
        """Do one thing. A process is stopped between any two of them."""
        now_s = self.clock_s(server)
        if self.checked_s is not None:
            self._send(server, now_s)
        elif self.sent_s is not None:
            self._lease(server, now_s, answered=answered)
        elif writes and term_of(self.belief, now_s) is not None:
            self.checked_s = now_s
        elif self.due_s <= now_s:
            decision = decide(self.belief, now_s)
            if decision.action is Action.LOOK:
                self._look(server)
            elif decision.at_s <= now_s:
                self.sent_s = now_s

    def _look(self, server: Server) -> None:
        first, now_s = may_be_new(self.belief) and server.serial == 0, self.clock_s(server)
        self.belief = looked(self.belief, server.lease, untouched=first, sent_s=now_s, now_s=now_s)
        self.due_s = decide(self.belief, now_s).at_s

    def _lease(self, server: Server, now_s: float, *, answered: bool) -> None:
        assert self.sent_s is not None
        record = server.write(spec_of(self.belief), self.belief.record)
        if record is None or not answered:
            self._look(server)
        else:
            self.belief = written(self.belief, record, self.sent_s, now_s)
            self.due_s = decide(self.belief, now_s).at_s
        self.sent_s = None

    def _send(self, server: Server, now_s: float) -> None:
        """Send a write that was checked before; the kernel lets no process do that after its deadline."""
        assert self.checked_s is not None
        self.checked_s = None
        if self.belief.held_until_s is None or now_s >= self.belief.held_until_s:
            return
        server.take(self.belief.me)


def _processes(offsets: list[float], speeds: list[float]) -> list[Process]:
    return [
        Process(Belief(f"bridge-{n}", TIMING), offset, speed, due_s=-1e9)
        for n, (offset, speed) in enumerate(zip(offsets, speeds, strict=True))
    ]


PAUSES = st.lists(
    st.tuples(
        st.integers(0, TICKS - 1),  # when
        st.integers(0, 2),  # who
        st.integers(0, STEPS - 1),  # before which of its steps
        st.sampled_from([0.3, 1.0, 4.0, 6.0, 8.0, 12.0, 20.0]),  # how long
    ),
    max_size=12,
)
LOST = st.frozensets(st.tuples(st.integers(0, TICKS - 1), st.integers(0, 2)), max_size=20)
"""Answers about the lease that do not arrive: the write took place all the same."""


@pytest.mark.requires("bridge.one-writer", "bridge.late-writer")
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.996, 1.0, 1.004]), min_size=3, max_size=3),
    PAUSES,
    LOST,
    st.integers(0, 2 * TICKS),
)
# Deleted while its writer sleeps, which then makes it anew and never hears that it did.
@example([0.0] * 3, [0.996] * 3, [(31, 1, 0, 20.0), (62, 0, 1, 12.0)], frozenset({(111, 0)}), 107)
def test_effects_of_two_writers_never_overlap(
    offsets: list[float],
    speeds: list[float],
    pauses: list[tuple[int, int, int, float]],
    lost: frozenset[tuple[int, int]],
    deleted_at: int,
) -> None:
    server, processes = Server(), _processes(offsets, speeds)
    asleep = {(tick, who, step): seconds for tick, who, step, seconds in pauses}
    for tick in range(TICKS):
        if tick == deleted_at:
            server.lease = None
        for who, process in enumerate(processes):
            for step in range(STEPS):
                sleep_s = asleep.get((tick, who, step), 0.0)
                process.asleep_until_s = max(process.asleep_until_s, server.now_s + sleep_s)
                if process.asleep_until_s <= server.now_s:
                    process.step(server, writes=step % 2 == 0, answered=(tick, who) not in lost)
        server.now_s += TICK_S


@pytest.mark.requires("bridge.takeover")
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.integers(0, 60),
    st.integers(0, 2),
)
def test_while_two_live_somebody_writes_within_bounds(offsets: list[float], dies_at: int, dies: int) -> None:
    server, processes = Server(), _processes(offsets, [1.0, 1.0, 1.0])
    alone_s: float | None = None
    for tick in range(240):
        if tick == dies_at:
            processes[dies].asleep_until_s = float("inf")
        for process in processes:
            for _ in range(STEPS):
                if process.asleep_until_s <= server.now_s:
                    process.step(server, writes=False, answered=True)
        holders = [p for p in processes if term_of(p.belief, p.clock_s(server)) is not None]
        alive = [p for p in holders if p.asleep_until_s <= server.now_s]
        assert len(holders) <= 1
        alone_s = None if alive else server.now_s if alone_s is None else alone_s
        assert alone_s is None or server.now_s - alone_s <= UNAVAILABLE_S
        server.now_s += TICK_S


@pytest.mark.requires("bridge.lease-bounds")
@given(st.integers(6, 60), st.floats(0, 1))
def test_what_is_left_covers_a_write_and_renewals_fit(duration_s: int, share: float) -> None:
    most = duration_s / 8
    timing = Timing(duration_s, 0.2 + (most - 0.2) * share)
    assert timing.hold_s + timing.settle_s < timing.duration_s
    assert timing.hold_s > 2 * timing.renew_s
    assert timing.hold_s > timing.write_s / 2


@pytest.mark.requires("bridge.takeover")
def test_a_restarted_bridge_needs_not_wait_longer_than_its_own_requests_last() -> None:
    now_s = 100.0
    held = replace(Belief("new", TIMING), record=Record("u", "1", "old", 1, TIMING.duration_s), seen_s=now_s)
    assert decide(held, now_s + TIMING.settle_s + 1).action is Action.LOOK
    assert remaining_s(held, now_s) == 0
