"""Where and how a release goes, as its author writes it: targets, rollout, health, autoscale, recreate.

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
    OBJECT_ID_BYTES_MAX,
    RECREATES_PER_RELEASE_MAX,
)
from ledger.rollout import HealthRule, RolloutOptions
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
    rollout = spec.get("rollout", {})
    options = codec.read(RolloutOptions, rollout, f"{where}.rollout")
    # The codec takes null for what a record may hold as None; an author leaves it out.
    if rollout.get("maxUnavailable", 1) is None:
        raise shape.invalid(f"{where}.rollout.maxUnavailable", None, "an integer, or no such field")
    for number, wave in enumerate(rollout.get("waves", ())):
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
    health = codec.read(HealthRule, spec.get("health", {}), f"{where}.health")
    deadline = read_rollout(spec, where).progress_deadline_seconds
    if health.settle_seconds >= deadline:
        # Nothing could ever settle in time.
        at = f"{where}.health.settleSeconds"
        raise shape.invalid(at, health.settle_seconds, f"less than progressDeadlineSeconds, {deadline}")
    return health


def read_autoscale(spec: JsonObject, where: str) -> tuple[AutoscaleRule, ...]:
    """Read ``autoscale``: one rule an object, each with its metrics, each once.

    Raises:
        Refused: any code of ``shape``.
    """
    at = f"{where}.autoscale"
    items = shape.array(spec.get("autoscale", []), at, items_max=AUTOSCALES_PER_RELEASE_MAX)
    rules = tuple(codec.read(AutoscaleRule, item, f"{at}[{i}]") for i, item in enumerate(items))
    objects = [rule.object for rule in rules]
    if len(set(objects)) != len(objects):
        raise shape.invalid(at, objects, "one rule an object")
    for number, rule in enumerate(rules):
        if not rule.min_replicas <= rule.initial_replicas <= rule.max_replicas:
            bounds = f"minReplicas {rule.min_replicas} … maxReplicas {rule.max_replicas}"
            raise shape.invalid(f"{at}[{number}].initialReplicas", rule.initial_replicas, bounds)
        names = [metric.name for metric in rule.metrics]
        if not names or len(set(names)) != len(names):
            raise shape.invalid(f"{at}[{number}].metrics", names, "metrics, each once, at least one")
    return rules


def read_recreate(spec: JsonObject, where: str) -> tuple[str, ...]:
    """Read ``recreate``: ids of objects that may be deleted and made anew, sorted, each once.

    Raises:
        Refused: any code of ``shape``.
    """
    at = f"{where}.recreate"
    items = shape.array(spec.get("recreate", []), at, items_max=RECREATES_PER_RELEASE_MAX)
    ids = [shape.text(v, f"{at}[{i}]", bytes_max=OBJECT_ID_BYTES_MAX) for i, v in enumerate(items)]
    if ids != sorted(set(ids)):
        raise shape.invalid(at, ids, "object ids, sorted, each once")
    return tuple(ids)


def _check_wave(wave: JsonObject, where: str) -> None:
    if len(wave) != 1:
        raise shape.invalid(where, sorted(wave), "clusters or a selector, exactly one")
    if "selector" in wave:
        _selector(wave["selector"], f"{where}.selector")
    else:
        _names(wave["clusters"], f"{where}.clusters")


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
