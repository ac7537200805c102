"""Rollouts against a plain model that knows no timestamps: it counts seconds, one after the other.

Any history of reports, pauses, freezes and time gives the same states in both, and the promises of waves hold
at each of its moments.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import rollouts
from abci_app.rollouts import FreezeRelease, Observation, RollBack
from ledger import rollout as records
from ledger.rollout import ClusterState, HealthRule, RolloutOptions, RolloutRecord, RolloutState

CLUSTERS = "abcd"
GOOD, BAD, BROKEN = "good", "bad", "broken"
SEEN = {GOOD: ("applied", "current", 3), BAD: ("applied", "in_progress", 2), BROKEN: ("failed", "failed", 0)}


@dataclass(frozen=True)
class Setting:
    """What a rollout is made of."""

    waves: tuple[tuple[str, ...], ...]
    limit: int | None
    deadline: int
    threshold: int
    settle: int
    start: int


@dataclass(frozen=True)
class Event:
    """So many seconds later, this happens."""

    passed: int
    kind: str
    cluster: str


@dataclass
class Model:
    """The rollout as somebody with a stopwatch a cluster would keep it."""

    how: Setting
    word: str = "progressing"
    wave: int = 0
    frozen: set[str] = field(default_factory=set)
    age: dict[str, int] = field(default_factory=dict)
    streak: dict[str, int] = field(default_factory=dict)
    word_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, how: Setting) -> Model:
        model = cls(how, word_of={c: "waiting" for wave in how.waves for c in wave})
        model.go_on()
        return model

    def second(self) -> None:
        """Let a second pass."""
        if self.word != "progressing":
            return
        for cluster in self.age:
            self.age[cluster] += 1
        for cluster in self.streak:
            self.streak[cluster] += 1
        self.settle()
        for cluster, age in self.age.items():
            if self.word_of[cluster] == "started" and age >= self.how.deadline:
                self.word_of[cluster] = "failed"
        self.count()

    def settle(self) -> None:
        for cluster, streak in self.streak.items():
            if streak >= self.how.settle:
                self.word_of[cluster] = "healthy"

    def count(self) -> None:
        if list(self.word_of.values()).count("failed") >= self.how.threshold:
            self.word = "failed"

    def happen(self, event: Event) -> None:
        for _ in range(event.passed):
            self.second()
        if event.kind == "freeze":
            self.frozen ^= {event.cluster}
        elif event.kind == "pause" and self.word in ("progressing", "paused"):
            self.word = "paused" if self.word == "progressing" else "progressing"
        elif event.kind in SEEN and self.word in ("progressing", "paused") and event.cluster in self.age:
            self.report(event.cluster, event.kind)
        self.go_on()

    def report(self, cluster: str, kind: str) -> None:
        if kind == GOOD:
            self.streak.setdefault(cluster, 0)
            self.settle()
        elif kind == BROKEN:
            self.streak.pop(cluster, None)
            self.word_of[cluster] = "failed"
            self.count()
        elif self.word_of[cluster] != "healthy":
            self.streak.pop(cluster, None)

    def go_on(self) -> None:
        """Start what may start."""
        while self.word == "progressing":
            reached = [c for wave in self.how.waves[: self.wave + 1] for c in wave]
            if any(self.word_of[c] != "healthy" for c in reached):
                break
            if self.wave == len(self.how.waves) - 1:
                self.word = "complete"
            else:
                self.wave += 1
        if self.word != "progressing":
            return
        for cluster in self.how.waves[self.wave]:
            busy = [c for c in self.how.waves[self.wave] if self.word_of[c] == "started"]
            full = self.how.limit is not None and len(busy) >= self.how.limit
            if self.word_of[cluster] == "waiting" and cluster not in self.frozen and not full:
                self.word_of[cluster] = "started"
                self.age[cluster] = 0
        left = {c for c in itertools.chain(*self.how.waves[: self.wave + 1]) if self.word_of[c] != "healthy"}
        if left and not left & self.streak.keys() and {self.word_of[c] for c in left} == {"failed"}:
            self.word = "failed"


@dataclass
class Machine:
    """The rules under test, asked as the machine asks them."""

    rollout: RolloutRecord
    time: int
    frozen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, how: Setting) -> Machine:
        options = RolloutOptions((), how.limit, how.deadline, how.threshold)
        rule = HealthRule(75, how.settle)
        machine = cls(rollouts.begin("web", 1, how.waves, (options, rule), how.start), how.start)
        machine.go_on()
        return machine

    def happen(self, event: Event) -> None:
        self.time += event.passed
        if event.kind in SEEN:
            outcome, health, current = SEEN[event.kind]
            seen = Observation(event.cluster, outcome, health, current, 4)
            self.rollout = rollouts.observe(self.rollout, seen, self.time)
        self.rollout = rollouts.expire(self.rollout, self.time)
        if event.kind == "freeze":
            self.frozen ^= {event.cluster}
        elif event.kind == "pause" and self.rollout.state is RolloutState.PROGRESSING:
            self.rollout = rollouts.pause(self.rollout, "did:key:zA", self.time)
        elif event.kind == "pause" and self.rollout.state is RolloutState.PAUSED:
            self.rollout = rollouts.resume(self.rollout, self.time)
        self.go_on()

    def go_on(self) -> None:
        before = self.rollout
        self.rollout, started = rollouts.advance(before, self.time, lambda c: c not in self.frozen)
        check_start(before, self.rollout, started, self.frozen)
        check_due(self.rollout, self.time)
        assert records.read(records.write(self.rollout)) == self.rollout


def check_start(
    before: RolloutRecord, after: RolloutRecord, started: tuple[str, ...], frozen: frozenset[str]
) -> None:
    """What the specification promises of every start."""
    states = {c.name: c.state for c in before.clusters}
    assert not started or before.state is RolloutState.PROGRESSING
    assert not frozen & set(started)
    assert list(started) == sorted(started)
    assert all(states[c] is ClusterState.WAITING and c in after.waves[after.wave] for c in started)
    if after.wave > before.wave:
        earlier = [c for wave in after.waves[: after.wave] for c in wave]
        assert all(states[c] is ClusterState.HEALTHY for c in earlier)
    busy = sum(c.state is ClusterState.STARTED for c in after.clusters)
    assert after.max_unavailable is None or busy <= after.max_unavailable
    reached = {c for wave in after.waves[: after.wave + 1] for c in wave}
    assert all(c.state is ClusterState.WAITING for c in after.clusters if c.name not in reached)
    assert (after.state is RolloutState.COMPLETE) == all(
        c.state is ClusterState.HEALTHY for c in after.clusters
    ) or before.state is not RolloutState.PROGRESSING


def check_due(rollout: RolloutRecord, now: int) -> None:
    """The agenda's time is exactly the first at which something changes."""
    due = rollouts.next_due(rollout)
    if due is None:
        assert rollouts.expire(rollout, now + 10**6) == rollout
        return
    assert due > now
    assert rollouts.expire(rollout, due - 1) == rollout
    assert rollouts.expire(rollout, due) != rollout
    assert rollouts.expire(rollouts.expire(rollout, due), due + 9) == rollouts.expire(rollout, due + 9)


@st.composite
def setting(draw: st.DrawFn) -> Setting:
    """Draw the waves of a rollout and how it goes."""
    placed = draw(st.lists(st.integers(0, 2), min_size=1, max_size=len(CLUSTERS)))
    found = [tuple(c for c, at in zip(CLUSTERS, placed, strict=False) if at == wave) for wave in range(3)]
    return Setting(
        waves=tuple(wave for wave in found if wave),
        limit=draw(st.none() | st.integers(1, 3)),
        deadline=draw(st.integers(1, 20)),
        threshold=draw(st.integers(1, 4)),
        settle=draw(st.just(0) | st.integers(1, 8)),
        start=draw(st.sampled_from((1, 1_700_000_000, 2**52))),
    )


KINDS = (*[GOOD] * 8, BAD, BROKEN, BROKEN, "pause", "pause", "freeze", "look", "look")
EVENTS = st.lists(
    st.builds(Event, st.integers(0, 5), st.sampled_from(KINDS), st.sampled_from(CLUSTERS)),
    min_size=8,
    max_size=25,
)


@pytest.mark.requires("releases.model")
@settings(max_examples=200, deadline=None)
@given(setting(), EVENTS)
def test_any_history_moves_a_rollout_as_the_model(how: Setting, history: list[Event]) -> None:
    machine, model = Machine.of(how), Model.of(how)
    for event in history:
        machine.happen(event)
        model.happen(event)
        found = machine.rollout
        assert (found.state.value, found.wave) == (model.word, model.wave)
        assert {c.name: c.state.value for c in found.clusters} == model.word_of


@pytest.mark.requires("releases.remedy")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 60), st.integers(0, 4))
def test_no_window_holds_more_rollbacks_than_allowed(passed: list[int], window: int, most: int) -> None:
    how = (RolloutOptions(), HealthRule())
    rollout = rollouts.begin("web", 9, (("a",),), how, 0)
    time, done = 100, list[int]()
    for seconds in passed:
        time += seconds
        remedy = rollouts.decide_failure(rollout, 3, tuple(done), time, (window, most))
        allowed = sum(earlier > time - window for earlier in done) < most
        assert remedy == RollBack(3) if allowed else isinstance(remedy, FreezeRelease)
        done += [time] if allowed else []
        assert all(sum(begin <= t < begin + window for t in done) <= most for begin in done)
