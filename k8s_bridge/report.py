"""What a bridge tells the ledger about a release.

Owns the making of a ``Report`` from a change set and the health of its objects, and the question whether it
is news. Promises the shape of docs/spec/ledger.md §2. Never signs and never sends.

Metrics are told only where somebody measured them: a bridge without a metrics server leaves them out, and the
machine then never scales down (docs/spec/releases.md §6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.health import Health, HealthStatus, health_of, worst
from k8s_bridge.objects import ObjectKey
from ledger.actions import Report
from ledger.records import MetricRecord, ReportRecord


@dataclass(frozen=True, slots=True)
class Finding:
    """How a release stands on one cluster.

    Attributes:
        changes: what the last plan became.
        health: of every wanted object that is in place.
        metrics: of objects that are scaled, where they were measured.
    """

    changes: ChangeSet
    health: Mapping[ObjectKey, Health]
    metrics: tuple[MetricRecord, ...] = ()

    @property
    def status(self) -> HealthStatus:
        """The release's health: its worst object's; ``unknown`` where nothing is in place."""
        return worst(health.status for health in self.health.values())


def finding_of(changes: ChangeSet, now_s: float) -> Finding:
    """Judge what an apply left behind."""
    ours = [result for result in changes.results if result.wanted and result.outcome is not Outcome.CONFLICT]
    return Finding(changes, {r.key: health_of(r.live, now_s) for r in ours if r.live is not None})


def compose(finding: Finding, cluster: str, sequence: int) -> Report:
    """Write the report of a finding."""
    changes = finding.changes
    return Report(
        cluster=cluster,
        release=changes.release,
        revision=changes.revision,
        sequence=sequence,
        outcome=changes.outcome.value,
        health=finding.status.value,
        objects=tuple(_object(result, finding.health.get(result.key)) for result in changes.results),
        metrics=finding.metrics,
    )


def is_news(finding: Finding, proven: ReportRecord | None) -> bool:
    """Whether the ledger does not know this yet: another revision, outcome or health."""
    if proven is None:
        return True
    said = (proven.revision, proven.outcome, proven.health)
    return said != (finding.changes.revision, finding.changes.outcome.value, finding.status.value)


def _object(result: ObjectResult, health: Health | None) -> dict[str, object]:
    return {
        "object": str(result.key),
        "outcome": result.outcome.value,
        "health": HealthStatus.UNKNOWN.value if health is None else health.status.value,
        "code": int(result.code),
    }
