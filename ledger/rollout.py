"""The record of a rollout: which clusters have a revision, which wait, which failed.

Owns its form. The rules by which it moves are ``abci_app.rollouts``'. Source: docs/spec/releases.md §1, §3.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, field
from typing import Annotated

from ledger import canonical, codec
from ledger.codec import Limits, Name, Names, Positive
from ledger.limits import (
    CLUSTERS_PER_RELEASE_MAX,
    PROGRESS_DEADLINE_SECONDS_MAX,
    REASON_BYTES_MAX,
    SETTLE_SECONDS_MAX,
    WAVES_MAX,
)
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Wave:
    """Clusters that get a revision together: by name, or by labels."""

    clusters: Names = ()
    selector: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How a release goes out.

    Attributes:
        max_unavailable: clusters of a wave that may be under way together; None for no limit.
        progress_deadline_seconds: until a started cluster must be healthy.
        failure_threshold: failed clusters that fail the rollout.
    """

    waves: Annotated[tuple[Wave, ...], Limits(items_max=WAVES_MAX)] = ()
    max_unavailable: Annotated[int, Limits(1, CLUSTERS_PER_RELEASE_MAX)] | None = None
    progress_deadline_seconds: Annotated[int, Limits(1, PROGRESS_DEADLINE_SECONDS_MAX)] = 600
    failure_threshold: Annotated[int, Limits(1, CLUSTERS_PER_RELEASE_MAX)] = 1


@dataclass(frozen=True, slots=True)
class HealthRule:
    """When a cluster counts as healthy: so many percent of its objects are current, for so long."""

    healthy_percent: Annotated[int, Limits(1, 100)] = 100
    settle_seconds: Annotated[int, Limits(0, SETTLE_SECONDS_MAX)] = 0


class RolloutState(enum.StrEnum):
    """Where a rollout stands."""

    PROGRESSING = "progressing"
    PAUSED = "paused"
    COMPLETE = "complete"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


class ClusterState(enum.StrEnum):
    """Where a cluster stands in a rollout."""

    WAITING = "waiting"
    STARTED = "started"
    HEALTHY = "healthy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ClusterProgress:
    """One cluster of a rollout. Times are block times."""

    name: Name
    state: ClusterState = ClusterState.WAITING
    started: int | None = None
    healthy_since: int | None = None
    reason: Annotated[str, Limits(bytes_max=REASON_BYTES_MAX, empty=True)] = ""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """A rollout of one revision.

    Attributes:
        waves: the clusters of each, by name.
        wave: the one under way.
        clusters: all of them, by name.
        automatic: whether it is a rollback the machine decided.
        paused_by: a DID, or ``freeze/<name>``.
        paused_time: since when.
    """

    release: Name
    revision: Positive
    state: RolloutState
    waves: Annotated[tuple[Names, ...], Limits(items_max=WAVES_MAX + 1)]
    wave: int
    clusters: Annotated[tuple[ClusterProgress, ...], Limits(items_max=CLUSTERS_PER_RELEASE_MAX)]
    automatic: bool
    max_unavailable: int | None
    progress_deadline_seconds: int
    failure_threshold: int
    health: HealthRule = field(default_factory=HealthRule)
    paused_by: str | None = None
    paused_time: int | None = None


@functools.lru_cache(maxsize=256)
def read(content: bytes) -> RolloutRecord:
    """Read a rollout.

    Raises:
        Refused: any code of ``shape``.
    """
    return codec.read(RolloutRecord, canonical.load_plain(content), "rollout")


def write(rollout: RolloutRecord) -> bytes:
    """Give the bytes of a rollout."""
    return canonical.dump_plain(codec.to_json(rollout))
