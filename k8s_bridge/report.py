"""What a bridge tells the ledger about a release.

Owns the making of a ``Report`` from a change set and the health of its objects, the question whether it is
news, and how long it may wait. Promises the shape of docs/spec/ledger.md §2 and a report that fits an
envelope however many objects there are. Never signs and never sends.

Metrics are told only where somebody measured them: a bridge without a metrics server leaves them out, and the
machine then never scales down (docs/spec/releases.md §6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.health import Health, HealthStatus, worst
from k8s_bridge.objects import ObjectKey
from ledger.actions import Report
from ledger.limits import KIB, OBJECTS_PER_RELEASE_MAX
from ledger.records import MetricRecord, ReportRecord
from ledger.types import JsonObject

INTERVAL_S = 1.0
"""Least time between two reports of one release; health may flap."""
DETAIL_INTERVAL_S = 5.0
"""The same where only single objects changed and the release as a whole did not."""
BYTES_PER_S = 64 * KIB
"""What one release may say in the long run: a report of 1,000 objects is some 130 KiB."""
REPORT_BYTES_MAX = 3584 * KIB
_ENTRY_BYTES_MAX = 100
"""An object's entry without its id."""


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


def finding_of(changes: ChangeSet, judge: Callable[[ObjectKey, JsonObject], Health]) -> Finding:
    """Judge what an apply left behind."""
    ours = [result for result in changes.results if result.wanted and result.outcome is not Outcome.CONFLICT]
    return Finding(changes, {r.key: judge(r.key, r.live) for r in ours if r.live is not None})


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
        objects=tuple(_object(result, finding.health.get(result.key)) for result in told(changes)),
        metrics=finding.metrics,
    )


def told(changes: ChangeSet) -> tuple[ObjectResult, ...]:
    """Give the results that a report names: all, unless they do not fit.

    Wanted objects always fit. Of the others what failed is told first, and what is gone last.
    """
    wanted = [result for result in changes.results if result.wanted]
    room, count = REPORT_BYTES_MAX - sum(map(_entry_bytes, wanted)), len(wanted)
    left_out: set[int] = set()
    others = [result for result in changes.results if not result.wanted]
    for result in sorted(others, key=lambda r: _LEAVING.get(r.outcome, 1)):
        size = _entry_bytes(result)
        if size > room or count == 2 * OBJECTS_PER_RELEASE_MAX:
            left_out.add(id(result))
            continue
        room, count = room - size, count + 1
    return tuple(result for result in changes.results if id(result) not in left_out)


_LEAVING = {Outcome.FAILED: 0, Outcome.DELETED: 2}


def headline(finding: Finding) -> tuple[int, str, str]:
    """Give what a report says of the release as a whole: revision, outcome, health."""
    return (finding.changes.revision, finding.changes.outcome.value, finding.status.value)


def details(finding: Finding) -> frozenset[tuple[str, str, int]]:
    """Give what it says of each object that is there or should be: id, health, code."""
    objects = (_object(r, finding.health.get(r.key)) for r in finding.changes.results)
    return _details(objects)


def is_news(finding: Finding, proven: ReportRecord | None) -> bool:
    """Whether the ledger does not know this yet: of the release, of an object of it, or what it measured."""
    if proven is None or finding.metrics:
        return True
    if (proven.revision, proven.outcome, proven.health) != headline(finding):
        return True
    objects = (_object(r, finding.health.get(r.key)) for r in told(finding.changes))
    return _details(proven.objects) != _details(objects)


def pause_s(finding: Finding, last: tuple[int, str, str] | None) -> float:
    """Give how long after a report with the headline ``last`` this one may be sent.

    A release that failed is told at once: the machine may roll it back.
    """
    now = headline(finding)
    if last is None or (now != last and "failed" in now[1:]):
        return 0.0
    whole = now != last or bool(finding.metrics)
    size = sum(_entry_bytes(result) for result in told(finding.changes))
    return (INTERVAL_S if whole else DETAIL_INTERVAL_S) + size / BYTES_PER_S


def _details(objects: Iterable[JsonObject]) -> frozenset[tuple[str, str, int]]:
    # Created or unchanged, it is as it should be; what is gone is not named again.
    deleted = Outcome.DELETED.value
    return frozenset((o["object"], o["health"], o["code"]) for o in objects if o["outcome"] != deleted)


def _entry_bytes(result: ObjectResult) -> int:
    return _ENTRY_BYTES_MAX + len(str(result.key).encode())


def _object(result: ObjectResult, health: Health | None) -> JsonObject:
    return {
        "object": str(result.key),
        "outcome": result.outcome.value,
        "health": HealthStatus.UNKNOWN.value if health is None else health.status.value,
        "code": int(result.code),
    }
