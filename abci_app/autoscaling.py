"""How many replicas: decided by the machine from what bridges reported, in integers.

Owns the decision. Promises that replicas stay within the signed bounds, that missing or old metrics never
scale down, and that every decision names what it was made from. Source: docs/spec/releases.md §6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.autoscale import AutoscaleRule, ObjectScale, Recommendation, Sample, ScaleRecord
from ledger.limits import METRIC_SAMPLES_MAX, REPLICAS_MAX
from ledger.records import MetricRecord


@dataclass(frozen=True, slots=True)
class ScaleDecision:
    """A change of replicas and its inputs."""

    object: str
    from_replicas: int
    to_replicas: int
    medians: tuple[tuple[str, int], ...]
    recommended: int
    stabilized: int

    def attributes(self) -> dict[str, str | int]:
        """Give what the event tells."""
        return {
            "object": self.object,
            "from_replicas": self.from_replicas,
            "to_replicas": self.to_replicas,
            "medians": " ".join(f"{name}={value}" for name, value in self.medians),
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
        start = ObjectScale(rule.object, rule.initial_replicas, time)
        scale, decision = decide(rule, known.get(rule.object, start), samples, time)
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
    held = min(max(scale.replicas, rule.min_replicas), rule.max_replicas)
    samples = _kept(rule, (*scale.samples, *reported), time)
    medians = tuple(
        (target.name, _lower_median([s.value for s in found]))
        for target in rule.metrics
        if (found := [s for s in samples if s.metric == target.name])
    )
    if not reported or not medians:
        return dataclasses.replace(scale, replicas=held, samples=samples), None
    newest = max(samples, key=lambda s: s.time).replicas
    targets = {target.name: target.target for target in rule.metrics}
    recommended = max(-(-newest * median // targets[name]) for name, median in medians)
    if len(medians) < len(rule.metrics):
        recommended = max(recommended, held)
    recommended = min(recommended, REPLICAS_MAX)
    longest = max(rule.scale_up.stabilization_seconds, rule.scale_down.stabilization_seconds)
    past = tuple(r for r in scale.recommendations if time - r.time <= longest)
    history = (*past, Recommendation(time, recommended))[-METRIC_SAMPLES_MAX:]
    stabilized = _stabilized(rule, history, held, time)
    wanted = min(max(stabilized, held - rule.scale_down.step_max), held + rule.scale_up.step_max)
    wanted = min(max(wanted, rule.min_replicas), rule.max_replicas)
    if scale.recommendations and time - scale.time < rule.cooldown_seconds:
        wanted = held
    changed = ObjectScale(rule.object, wanted, scale.time if wanted == held else time, samples, history)
    if wanted == held:
        return changed, None
    return changed, ScaleDecision(rule.object, held, wanted, medians, recommended, stabilized)


def _kept(rule: AutoscaleRule, samples: Sequence[Sample], time: int) -> tuple[Sample, ...]:
    kept: list[Sample] = []
    for target in rule.metrics:
        found = [s for s in samples if s.metric == target.name and time - s.time <= rule.window_seconds]
        kept += found[-METRIC_SAMPLES_MAX:]
    return tuple(kept)


def _stabilized(rule: AutoscaleRule, history: Sequence[Recommendation], held: int, time: int) -> int:
    """The least of the window when going up, the greatest when going down; between them, stay."""
    up = min(r.replicas for r in history if time - r.time <= rule.scale_up.stabilization_seconds)
    down = max(r.replicas for r in history if time - r.time <= rule.scale_down.stabilization_seconds)
    return min(max(held, up), down) if up <= down else held


def _lower_median(values: Sequence[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]
