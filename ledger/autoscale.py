"""Autoscale rules and the replica counts decided by them. Source: docs/spec/releases.md §1, §6."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Annotated

from ledger import canonical, codec
from ledger.codec import Limits, Name
from ledger.limits import (
    AUTOSCALE_SECONDS_MAX,
    AUTOSCALES_PER_RELEASE_MAX,
    METRIC_SAMPLES_MAX,
    REPLICAS_MAX,
)

Replicas = Annotated[int, Limits(0, REPLICAS_MAX)]
Seconds = Annotated[int, Limits(0, AUTOSCALE_SECONDS_MAX)]
ObjectId = Annotated[str, Limits(bytes_max=700)]
METRICS_PER_RULE_MAX = 8


@dataclass(frozen=True, slots=True)
class MetricTarget:
    """A metric and what one replica shall carry of it."""

    name: Name
    target: Annotated[int, Limits(1, 2**31)]


@dataclass(frozen=True, slots=True)
class Direction:
    """How fast replicas follow: the window in which the calmest answer counts, and the largest step."""

    stabilization_seconds: Seconds = 0
    step_max: Annotated[int, Limits(1, REPLICAS_MAX)] = REPLICAS_MAX


@dataclass(frozen=True, slots=True)
class AutoscaleRule:
    """How the replicas of one object follow its metrics.

    At least one replica: metrics are carried by replicas, so that none would never become one again.
    """

    object: ObjectId
    min_replicas: Annotated[int, Limits(1, REPLICAS_MAX)]
    max_replicas: Replicas
    initial_replicas: Replicas
    metrics: Annotated[tuple[MetricTarget, ...], Limits(items_max=METRICS_PER_RULE_MAX)]
    window_seconds: Seconds = 60
    scale_up: Direction = field(default_factory=Direction)
    scale_down: Direction = field(default_factory=lambda: Direction(stabilization_seconds=300))
    cooldown_seconds: Seconds = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a bridge reported of a metric, at block time."""

    metric: Name
    time: int
    value: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The replicas the metrics alone would have had, at block time."""

    time: int
    replicas: int


@dataclass(frozen=True, slots=True)
class ObjectScale:
    """The replicas of one object, when they last changed, and what they were decided from.

    Attributes:
        time: of the last change; 0 while they are the initial ones.
        recommendations: those that can still be the least or the greatest of a stabilization window.
    """

    object: ObjectId
    replicas: Replicas
    time: int
    samples: Annotated[tuple[Sample, ...], Limits(items_max=METRIC_SAMPLES_MAX * METRICS_PER_RULE_MAX)] = ()
    recommendations: Annotated[tuple[Recommendation, ...], Limits(items_max=METRIC_SAMPLES_MAX)] = ()


@dataclass(frozen=True, slots=True)
class ScaleRecord:
    """The replicas the machine decided for a release on one cluster, by object id."""

    objects: Annotated[tuple[ObjectScale, ...], Limits(items_max=AUTOSCALES_PER_RELEASE_MAX)] = ()


@functools.lru_cache(maxsize=64)
def read(content: bytes) -> ScaleRecord:
    """Read a scale record.

    Raises:
        Refused: any code of ``shape``.
    """
    return codec.read(ScaleRecord, canonical.load_plain(content), "scale")


def write(record: ScaleRecord) -> bytes:
    """Give the bytes of a scale record."""
    return canonical.dump_plain(codec.to_json(record))
