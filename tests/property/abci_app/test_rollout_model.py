"""Rollouts against a plain model: what happened to each cluster, on a clock that stands still in a pause."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import rollouts
from abci_app.rollouts import Observation
from ledger import rollout as records
from ledger.rollout import ClusterState, HealthRule, RolloutOptions, RolloutRecord, RolloutState

NAMES = ("a", "b", "c", "d", "e")
SEEN = {
    "good": ("applied", "current", 4),
    "short": ("applied", "progressing", 2),
    "bad": ("applied", "failed", 4),
}
PERCENT, TOTAL = 75, 4

Waves = tuple[tuple[str, ...], ...]


@dataclass
class Model:
    """A rollout as a person would keep it on paper. Times are of a clock that stands still in a pause."""

    waves: Waves
    most: int | None
    deadline: int
    threshold: int
    settle: int
    state: str = "progressing"
    wave: int = 0
    now: int = 0
    begun: dict[str, int] = field(default_factory=dict)
    good_since: dict[str, int] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def see(self, name: str, seen: str) -> None:
        if self.state not in ("progressing", "paused") or name not in self.begun:
            return
        if seen == "bad":
            self.healthy.discard(name)
            self.failed.add(name)
            self.good_since.pop(name, None)
        elif seen == "good":
            self.good_since.setdefault(name, self.now)
        elif name not in self.healthy:
            self.good_since.pop(name, None)
        self._settle()
        self._judge()

    def wait(self, seconds: int) -> None:
        if self.state == "progressing":
            self.now += seconds
            self.look()

    def look(self) -> None:
        if self.state != "progressing":
            return
        self._settle()
        late = {n for n, begun in self.begun.items() if self.now >= begun + self.deadline}
        for name in late - self.healthy - self.failed:
            self.failed.add(name)
            self.good_since.pop(name, None)
        self._judge()

    def start(self, frozen: frozenset[str]) -> list[str]:
        started: list[str] = []
        if self.state != "progressing":
            return started
        while all(name in self.healthy for wave in self.waves[: self.wave + 1] for name in wave):
            if self.wave == len(self.waves) - 1:
                self.state = "complete"
                return started
            self.wave += 1
        here = self.waves[self.wave]
        for name in here:
            under_way = [n for n in here if n in self.begun and n not in self.healthy | self.failed]
            full = self.most is not None and len(under_way) >= self.most
            if name not in self.begun and name not in frozen and not full:
                self.begun[name] = self.now
                started.append(name)
        return started

    def _settle(self) -> None:
        found = {n for n, since in self.good_since.items() if self.now - since >= self.settle}
        self.healthy |= found
        self.failed -= found

    def _judge(self) -> None:
        if len(self.failed) >= self.threshold:
            self.state = "failed"

    def of(self, name: str) -> str:
        if name in self.failed or name in self.healthy:
            return "failed" if name in self.failed else "healthy"
        return "started" if name in self.begun else "waiting"


_waves = st.permutations(NAMES).flatmap(
    lambda names: st.lists(st.integers(1, 4), max_size=2, unique=True).map(
        lambda cuts: tuple(
            tuple(sorted(names[i:j]))
            for i, j in zip([0, *sorted(cuts)], [*sorted(cuts), len(names)], strict=True)
        )
    )
)
_steps = st.one_of(
    st.tuples(st.just("see"), st.sampled_from(NAMES), st.sampled_from(("good", "good", "short", "bad"))),
    st.tuples(st.just("wait"), st.integers(0, 12), st.none()),
    st.tuples(st.sampled_from(("pause", "resume", "withdraw", "freeze")), st.sampled_from(NAMES), st.none()),
)


class Both:
    """The record and the model, moved alike, as ``abci_app.machine.progress`` moves the record."""

    def __init__(self, waves: Waves, options: RolloutOptions, settle: int) -> None:
        how = (options, HealthRule(PERCENT, settle))
        self.time, self.frozen = 1000, frozenset[str]()
        self.record = rollouts.begin("web", 1, waves, how, self.time)
        self.model = Model(
            waves,
            options.max_unavailable,
            options.progress_deadline_seconds,
            options.failure_threshold,
            settle,
        )
        self.go_on()

    def take(self, step: tuple[str, object, object]) -> None:
        what, first, second = step
        state = self.record.state
        if what == "see":
            assert isinstance(first, str)
            assert isinstance(second, str)
            outcome, health, current = SEEN[second]
            seen = Observation(first, outcome, health, current, TOTAL)
            self.record = rollouts.observe(self.record, seen, self.time)
            self.model.see(first, second)
        elif what == "wait":
            assert isinstance(first, int)
            self.time += first
            self.model.wait(first)
        elif what == "freeze":
            self.frozen ^= {str(first)}
        elif what == "pause" and state is RolloutState.PROGRESSING:
            self.record = rollouts.pause(self.record, "did:key:zA", self.time)
            self.model.state = "paused"
        elif what == "resume" and state is RolloutState.PAUSED:
            self.record = rollouts.resume(self.record, self.time)
            self.model.state = "progressing"
        elif what == "withdraw" and first == "a" and state in (RolloutState.PROGRESSING, RolloutState.PAUSED):
            self.record = rollouts.withdraw(self.record)
            self.model.state = "withdrawn"
        self.record = rollouts.expire(self.record, self.time)
        self.model.look()
        self.go_on()

    def go_on(self) -> None:
        self.record, started = rollouts.advance(self.record, self.time, lambda name: name not in self.frozen)
        assert list(started) == self.model.start(self.frozen)
        assert not self.frozen & set(started)

    def check(self) -> None:
        record, model = self.record, self.model
        assert (record.state.value, record.wave) == (model.state, model.wave)
        assert {c.name: c.state.value for c in record.clusters} == {name: model.of(name) for name in NAMES}
        assert records.read(records.write(record)) == record


def invariants(before: RolloutRecord, after: RolloutRecord, time: int) -> None:
    """What holds of every step, whatever the model says."""
    was = {c.name: c.state for c in before.clusters}
    now = {c.name: c.state for c in after.clusters}
    started = [n for n in NAMES if was[n] is ClusterState.WAITING and now[n] is not ClusterState.WAITING]
    if before.state not in (RolloutState.PROGRESSING, RolloutState.PAUSED):
        assert after == before, "what is over stays as it is"
    if started:
        assert after.state is RolloutState.PROGRESSING
        assert set(started) <= set(after.waves[after.wave])
        if after.wave > before.wave:
            earlier = [n for wave in after.waves[: after.wave] for n in wave]
            assert all(now[n] is ClusterState.HEALTHY for n in earlier)
    if after.max_unavailable is not None:
        under_way = [n for n in after.waves[after.wave] if now[n] is ClusterState.STARTED]
        assert len(under_way) <= after.max_unavailable
    failures = sum(state is ClusterState.FAILED for state in now.values())
    if after.state is RolloutState.COMPLETE:
        assert set(now.values()) == {ClusterState.HEALTHY}
    if after.state is RolloutState.FAILED:
        assert failures >= after.failure_threshold
        assert rollouts.first_failure(after)[1]
    due = rollouts.next_due(after)
    if after.state is RolloutState.PROGRESSING:
        assert failures < after.failure_threshold
        assert due is None or due > time, "the agenda would look again at once"
        if due is None:
            assert rollouts.expire(after, time + 10**6) == after
        else:
            assert rollouts.expire(after, due - 1) == after
            assert rollouts.expire(after, due) != after
    else:
        assert due is None


@pytest.mark.requires("releases.model")
@settings(max_examples=120, deadline=None)
@given(
    _waves,
    st.none() | st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 3),
    st.integers(0, 12),
    st.lists(_steps, max_size=30),
)
def test_a_rollout_moves_as_the_model_does(
    waves: Waves,
    most: int | None,
    deadline: int,
    threshold: int,
    settle: int,
    steps: list[tuple[str, object, object]],
) -> None:
    both = Both(waves, RolloutOptions((), most, deadline, threshold), settle)
    for step in steps:
        before = both.record
        both.take(step)
        both.check()
        invariants(before, both.record, both.time)
