"""How many replicas: decided by the machine from what bridges reported, in integers.

Owns the decision. Promises that replicas stay within the signed bounds, that missing or old metrics never
scale down, and that every decision names what it was made from. Source: docs/spec/releases.md §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.autoscale import AutoscaleRule, ObjectScale, Recommendation, Sample, ScaleRecord
from ledger.limits import METRIC_SAMPLES_MAX, REPLICAS_MAX
from ledger.records import MetricRecord


@dataclass(frozen=True, slots=True)
class ScaleDecision:
    """A change of replicas and its inputs; without metrics where only the signed bounds changed it."""

    object: str
    from_replicas: int
    to_replicas: int
    bounds: tuple[int, int]
    replicas: int | None = None
    medians: tuple[tuple[str, int], ...] = ()
    recommended: int | None = None
    stabilized: int | None = None

    def attributes(self) -> dict[str, str | int | None]:
        """Give what the event tells."""
        return {
            "object": self.object,
            "from_replicas": self.from_replicas,
            "to_replicas": self.to_replicas,
            "bounds": f"{self.bounds[0]}-{self.bounds[1]}",
            "replicas": self.replicas,
            "medians": " ".join(f"{name}={value}" for name, value in self.medians) or None,
            "recommended": self.recommended,
            "stabilized": self.stabilized,
        }


def decide_all(
    rules: Sequence[AutoscaleRule],
    before: ScaleRecord | None,
    metrics: Sequence[MetricRecord],
    time: int,
) -> tuple[ScaleRecord, tuple[ScaleDecision, ...]]:
    """Decide for every object that has a rule.

    Args:
        rules: of the release, by object.
        before: what was decided until now.
        metrics: of the report that just came.
        time: now.

    Returns:
        What holds from now on, and what changed.
    """
    known = {scale.object: scale for scale in (before.objects if before else ())}
    scales, decisions = [], []
    for rule in rules:
        samples = tuple(Sample(m.name, time, m.value, m.replicas) for m in metrics if m.object == rule.object)
        scale, decision = decide(rule, known.get(rule.object) or _first(rule, time), samples, time)
        scales.append(scale)
        decisions += [decision] if decision else []
    return ScaleRecord(tuple(scales)), tuple(decisions)


def decide(
    rule: AutoscaleRule, scale: ObjectScale, reported: Sequence[Sample], time: int
) -> tuple[ObjectScale, ScaleDecision | None]:
    """Decide for one object.

    Args:
        rule: as signed.
        scale: what holds.
        reported: new samples.
        time: now.
    """
    bounds = rule.min_replicas, rule.max_replicas
    held = _within(scale.replicas, bounds)
    samples = _kept(rule, (*scale.samples, *reported), time)
    by_bounds = ScaleDecision(rule.object, scale.replicas, held, bounds)
    medians = tuple(
        (target.name, _lower_median([s.value for s in found]))
        for target in rule.metrics
        if (found := [s for s in samples if s.metric == target.name])
    )
    if not reported or not medians:
        return _changed(scale, by_bounds, samples, scale.recommendations, time)
    newest = reported[-1].replicas
    targets = {target.name: target.target for target in rule.metrics}
    recommended = min(max(-(-newest * median // targets[name]) for name, median in medians), REPLICAS_MAX)
    if len(medians) < len(rule.metrics) or not newest:
        # What no replica carried says nothing about how many are too many.
        recommended = max(recommended, held)
    history = _relevant(rule, (*scale.recommendations, Recommendation(time, recommended)), time)
    stabilized = _stabilized(rule, history, held, time)
    wanted = _within(stabilized, (held - rule.scale_down.step_max, held + rule.scale_up.step_max))
    wanted = _within(wanted, bounds)
    if wanted == held or (scale.time and time - scale.time < rule.cooldown_seconds):
        return _changed(scale, by_bounds, samples, history, time)
    decision = ScaleDecision(
        rule.object, scale.replicas, wanted, bounds, newest, medians, recommended, stabilized
    )
    return _changed(scale, decision, samples, history, time)


def _first(rule: AutoscaleRule, time: int) -> ObjectScale:
    # The initial replicas are the first recommendation, so that a new release is not scaled before its
    # stabilization windows are over (as Kubernetes' autoscaler starts).
    return ObjectScale(
        rule.object, rule.initial_replicas, 0, recommendations=(Recommendation(time, rule.initial_replicas),)
    )


def _changed(
    scale: ObjectScale,
    decision: ScaleDecision,
    samples: tuple[Sample, ...],
    history: tuple[Recommendation, ...],
    time: int,
) -> tuple[ObjectScale, ScaleDecision | None]:
    if decision.to_replicas == scale.replicas:
        return ObjectScale(scale.object, scale.replicas, scale.time, samples, history), None
    return ObjectScale(scale.object, decision.to_replicas, time, samples, history), decision


def _kept(rule: AutoscaleRule, samples: Sequence[Sample], time: int) -> tuple[Sample, ...]:
    kept: list[Sample] = []
    for target in rule.metrics:
        found = [s for s in samples if s.metric == target.name and time - s.time <= rule.window_seconds]
        kept += found[-METRIC_SAMPLES_MAX:]
    return tuple(kept)


def _relevant(
    rule: AutoscaleRule, history: Sequence[Recommendation], time: int
) -> tuple[Recommendation, ...]:
    """Leave out what no later decision can depend on, so that a window holds many reports."""
    kept = [history[-1]]
    for past in reversed(history[:-1]):
        least = all(later.replicas > past.replicas for later in kept)
        greatest = all(later.replicas < past.replicas for later in kept)
        age = time - past.time
        if (least and age < rule.scale_up.stabilization_seconds) or (
            greatest and age < rule.scale_down.stabilization_seconds
        ):
            kept.append(past)
    return tuple(reversed(kept[:METRIC_SAMPLES_MAX]))


def _stabilized(rule: AutoscaleRule, history: Sequence[Recommendation], held: int, time: int) -> int:
    """The least of the window when going up, the greatest when going down; between them, stay."""
    newest = history[-1].replicas
    up = [r.replicas for r in history if time - r.time < rule.scale_up.stabilization_seconds]
    down = [r.replicas for r in history if time - r.time < rule.scale_down.stabilization_seconds]
    # The newest recommendation is in both windows, so that the least is never above the greatest.
    return _within(held, (min(up, default=newest), max(down, default=newest)))


def _within(value: int, bounds: tuple[int, int]) -> int:
    least, most = bounds
    return min(max(value, least), most)


def _lower_median(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]
