"""Where and how a release goes, as its author writes it: targets, rollout, health, autoscale.

Owns the strict reading of these optional parts of a release's spec. Source: docs/spec/releases.md §1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import codec, shape
from ledger.autoscale import AutoscaleRule
from ledger.errors import Code, Refused
from ledger.limits import (
    AUTOSCALES_PER_RELEASE_MAX,
    CLUSTERS_PER_RELEASE_MAX,
    LABEL_BYTES_MAX,
    LABELS_MAX,
)
from ledger.rollout import HealthRule, RolloutOptions, Wave
from ledger.types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Targets:
    """The clusters of a release: by name, or all that carry these labels."""

    clusters: tuple[str, ...]
    selector: JsonObject | None


def read_targets(spec: JsonObject, where: str) -> Targets:
    """Read ``clusters`` or ``selector``, exactly one.

    Raises:
        Refused: FIELD_MISSING, FIELD_INVALID or LIMIT_EXCEEDED.
    """
    if "selector" not in spec:
        if "clusters" not in spec:
            at = f"{where}.clusters"
            raise Refused(Code.FIELD_MISSING, got="nothing", expected=f"{at}, or a selector", field=at)
        return Targets(_names(spec["clusters"], f"{where}.clusters"), None)
    if "clusters" in spec:
        raise shape.invalid(f"{where}.selector", spec["selector"], "no selector beside clusters")
    return Targets((), _selector(spec["selector"], f"{where}.selector"))


def read_rollout(spec: JsonObject, where: str) -> RolloutOptions:
    """Read ``rollout``; what is missing has its default.

    Raises:
        Refused: any code of ``shape``.
    """
    options = codec.read(RolloutOptions, spec.get("rollout", {}), f"{where}.rollout")
    for number, wave in enumerate(options.waves):
        _check_wave(wave, f"{where}.rollout.waves[{number}]")
    return options


def waves_select(options: RolloutOptions) -> bool:
    """Tell whether a wave chooses its clusters by labels."""
    return any(wave.selector is not None for wave in options.waves)


def read_health(spec: JsonObject, where: str) -> HealthRule:
    """Read ``health``; what is missing has its default.

    Raises:
        Refused: any code of ``shape``.
    """
    return codec.read(HealthRule, spec.get("health", {}), f"{where}.health")


def read_autoscale(spec: JsonObject, where: str) -> tuple[AutoscaleRule, ...]:
    """Read ``autoscale``: one rule an object, by object id.

    Raises:
        Refused: any code of ``shape``.
    """
    at = f"{where}.autoscale"
    items = shape.array(spec.get("autoscale", []), at, items_max=AUTOSCALES_PER_RELEASE_MAX)
    rules = tuple(codec.read(AutoscaleRule, item, f"{at}[{i}]") for i, item in enumerate(items))
    objects = [rule.object for rule in rules]
    if objects != sorted(set(objects)):
        raise shape.invalid(at, objects, "one rule an object, by object id")
    for number, rule in enumerate(rules):
        if not rule.min_replicas <= rule.initial_replicas <= rule.max_replicas:
            bounds = f"minReplicas {rule.min_replicas} … maxReplicas {rule.max_replicas}"
            raise shape.invalid(f"{at}[{number}].initialReplicas", rule.initial_replicas, bounds)
        names = [metric.name for metric in rule.metrics]
        if not names or names != sorted(set(names)):
            raise shape.invalid(f"{at}[{number}].metrics", names, "metrics by name, each once, at least one")
    return rules


def _check_wave(wave: Wave, where: str) -> None:
    if wave.selector is not None:
        if wave.clusters:
            raise shape.invalid(where, list(wave.clusters), "clusters or a selector")
        _selector(wave.selector, f"{where}.selector")
    elif not wave.clusters or list(wave.clusters) != sorted(set(wave.clusters)):
        raise shape.invalid(where, list(wave.clusters), "clusters, sorted, each once, or a selector")


def _selector(value: Json, where: str) -> JsonObject:
    labels = shape.fields(value, where, required=("matchLabels",))["matchLabels"]
    if type(labels) is not dict or not 0 < len(labels) <= LABELS_MAX:
        raise shape.invalid(f"{where}.matchLabels", labels, f"1 to {LABELS_MAX} labels")
    for name, text in labels.items():
        shape.text(name, where, bytes_max=LABEL_BYTES_MAX)
        shape.text(text, f"{where}.matchLabels.{name}", bytes_max=LABEL_BYTES_MAX, empty=True)
    found: JsonObject = value
    return found


def _names(value: Json, where: str) -> tuple[str, ...]:
    return shape.sorted_names(value, where, items_max=CLUSTERS_PER_RELEASE_MAX)
