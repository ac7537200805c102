"""Autoscale against a plain model that forgets nothing: every report and every recommendation there was.

What the rules leave out of the record can change nothing, and the promises hold for any metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import autoscaling
from ledger import autoscale
from ledger.autoscale import AutoscaleRule, Direction, MetricTarget, ScaleRecord
from ledger.limits import METRIC_SAMPLES_MAX, REPLICAS_MAX
from ledger.records import MetricRecord

WEB = "apps/v1/Deployment/demo/web"
NAMES = ("requests", "memory")


@dataclass(frozen=True)
class Said:
    """A report so many seconds later: what was counted, and of how many replicas (None: as decided)."""

    passed: int
    values: tuple[int | None, ...]
    replicas: int | None


@dataclass
class Model:
    """One object's replicas, with all of the past."""

    rule: AutoscaleRule
    replicas: int
    recommended: list[tuple[int, int]]
    changed: int | None = None
    reports: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def report(self, time: int, values: dict[str, int], had: int) -> None:
        self.reports.append((time, values))
        low, high = self.rule.min_replicas, self.rule.max_replicas
        answers = [self.answer(target, time, had) for target in self.rule.metrics]
        if not values or answers.count(None) == len(answers):
            return
        wish = min(max(answer for answer in answers if answer is not None), REPLICAS_MAX)
        if (None in answers or had == 0) and wish < self.replicas:
            wish = self.replicas
        self.recommended.append((time, wish))
        calm = self.calm(time, wish)
        calm = min(calm, self.replicas + self.rule.scale_up.step_max)
        calm = max(calm, self.replicas - self.rule.scale_down.step_max)
        calm = sorted((low, calm, high))[1]
        rests = self.changed is not None and time < self.changed + self.rule.cooldown_seconds
        if calm != self.replicas and not rests:
            self.replicas, self.changed = calm, time

    def answer(self, target: MetricTarget, time: int, had: int) -> int | None:
        """Give what one metric asks for, None where nobody said anything of it lately."""
        oldest = time - self.rule.window_seconds
        heard = [said[target.name] for at, said in self.reports if at >= oldest and target.name in said]
        heard = heard[-METRIC_SAMPLES_MAX:]
        # The lower median is the least value that at least half of them do not exceed.
        half = [v for v in heard if 2 * sum(w <= v for w in heard) >= len(heard)]
        return math.ceil(Fraction(had * min(half), target.target)) if half else None

    def calm(self, time: int, wish: int) -> int:
        """Give the replicas after the windows: not above any of the one, not below any of the other."""

        def within(direction: Direction) -> list[int]:
            oldest = time - direction.stabilization_seconds
            return [wish, *(value for at, value in self.recommended if at > oldest)]

        if self.replicas < min(within(self.rule.scale_up)):
            return min(within(self.rule.scale_up))
        return min(self.replicas, max(within(self.rule.scale_down)))


DIRECTION = st.builds(Direction, st.sampled_from((0, 5, 30)), st.integers(1, 6) | st.just(REPLICAS_MAX))
COUNTS = st.integers(0, 40) | st.sampled_from((10**6, 2**53 - 1))
SAID = st.builds(
    Said,
    st.integers(0, 8),
    st.tuples(*[st.none() | COUNTS] * len(NAMES)),
    st.none() | st.integers(0, 12) | st.just(2**53 - 1),
)


@st.composite
def rules(draw: st.DrawFn) -> AutoscaleRule:
    """Draw a rule with one metric or two."""
    bounds = sorted(draw(st.tuples(*[st.integers(1, 15) | st.just(REPLICAS_MAX)] * 3)))
    targets = [MetricTarget(name, draw(st.integers(1, 20))) for name in NAMES]
    return AutoscaleRule(
        WEB,
        min_replicas=bounds[0],
        initial_replicas=bounds[1],
        max_replicas=bounds[2],
        metrics=tuple(targets[: draw(st.integers(1, 2))]),
        window_seconds=draw(st.sampled_from((0, 5, 20))),
        scale_up=draw(DIRECTION),
        scale_down=draw(DIRECTION),
        cooldown_seconds=draw(st.sampled_from((0, 0, 10))),
    )


@pytest.mark.requires("autoscale.model")
@settings(max_examples=150, deadline=None)
@given(rules(), st.lists(SAID, min_size=5, max_size=METRIC_SAMPLES_MAX))
def test_any_reports_scale_as_the_model_and_keep_the_promises(rule: AutoscaleRule, said: list[Said]) -> None:
    time, record, changed = 1000, None, None
    model = Model(rule, rule.initial_replicas, [(time + said[0].passed, rule.initial_replicas)])
    for one in said:
        time += one.passed
        before = model.replicas
        had = before if one.replicas is None else one.replicas
        values = {n: v for n, v in zip(NAMES, one.values, strict=True) if v is not None}
        metrics = tuple(MetricRecord(WEB, name, value, had) for name, value in values.items())
        record, told = autoscaling.decide_all((rule,), record, metrics, time)
        model.report(time, values, had)
        after = record.objects[0].replicas
        assert after == model.replicas
        assert [(t.from_replicas, t.to_replicas) for t in told] == [(before, after)] * (before != after)
        check_promises(rule, before, after, metrics)
        if before != after:
            assert changed is None or time - changed >= rule.cooldown_seconds
            changed = time
        check_record(record)


def check_promises(rule: AutoscaleRule, before: int, after: int, metrics: tuple[MetricRecord, ...]) -> None:
    """What operators signed holds of every change."""
    assert rule.min_replicas <= after <= rule.max_replicas
    assert before - rule.scale_down.step_max <= after <= before + rule.scale_up.step_max
    assert metrics or after == before
    assert after >= before or metrics[0].replicas > 0


def check_record(record: ScaleRecord) -> None:
    """The record is bounded, in its one form, and fits the wire."""
    (scale,) = record.objects
    assert autoscale.read(autoscale.write(record)) == record
    assert len(scale.samples) <= METRIC_SAMPLES_MAX * len(NAMES)
    assert all(r.replicas <= REPLICAS_MAX for r in scale.recommendations)
