"""Reports: what is news, what fits, and how long each may wait."""

from __future__ import annotations

import dataclasses

import pytest

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.objects import ObjectKey
from k8s_bridge.report import (
    DETAIL_INTERVAL_S,
    INTERVAL_S,
    Finding,
    compose,
    details,
    headline,
    is_news,
    pause_s,
    told,
)
from k8s_bridge.reporter import Channel, Reporter
from k8s_bridge.status import Health, HealthStatus
from ledger.actions import Report, read_action
from ledger.bodies import report_body
from ledger.errors import Code
from ledger.limits import (
    BODY_BYTES_MAX,
    METRICS_PER_REPORT_MAX,
    NAME_BYTES_MAX,
    OBJECT_ID_BYTES_MAX,
    OBJECTS_PER_RELEASE_MAX,
)
from ledger.records import MetricRecord, ReportRecord
from ledger.types import Did

METRIC = MetricRecord("apps/v1/Deployment/shop/web", "cpu", 70, 2)


def _finding(
    count: int, health: HealthStatus = HealthStatus.CURRENT, revision: int = 1, current: int = 0
) -> Finding:
    """Give a finding of ``count`` objects, the first ``current`` of them current, the others ``health``."""
    keys = [ObjectKey("v1", "ConfigMap", "shop", f"c{number:04}") for number in range(count)]
    results = tuple(ObjectResult(key, Outcome.UNCHANGED, wanted=True) for key in keys)
    found = {key: HealthStatus.CURRENT if n < current else health for n, key in enumerate(keys)}
    return Finding(ChangeSet("c", "shop", revision, results), {k: Health(h, "") for k, h in found.items()})


def _proven(finding: Finding) -> ReportRecord:
    said = compose(finding, "east", 1)
    whole = ("east", said.release, said.revision, 1, said.outcome, said.health)
    return ReportRecord(*whole, said.objects, said.metrics, 5, 5, Did("did:x"))


@pytest.mark.requires("bridge.reports-bounded")
def test_what_the_ledger_knows_is_no_news_and_every_object_counts() -> None:
    waiting = _finding(4, HealthStatus.IN_PROGRESS)
    assert is_news(waiting, None)
    assert not is_news(waiting, _proven(waiting))
    # Half of it may be enough for the release, which as a whole is on its way as before.
    half = _finding(4, HealthStatus.IN_PROGRESS, current=2)
    assert headline(half) == headline(waiting)
    assert is_news(half, _proven(waiting))
    assert is_news(_finding(4, HealthStatus.IN_PROGRESS, revision=2), _proven(waiting))
    created = [dataclasses.replace(r, outcome=Outcome.CREATED) for r in waiting.changes.results]
    again = dataclasses.replace(waiting, changes=dataclasses.replace(waiting.changes, results=tuple(created)))
    assert not is_news(again, _proven(waiting))
    gone = ObjectResult(ObjectKey("v1", "ConfigMap", "shop", "old"), Outcome.DELETED, wanted=False)
    cleaned = dataclasses.replace(waiting.changes, results=(*waiting.changes.results, gone))
    assert not is_news(waiting, _proven(dataclasses.replace(waiting, changes=cleaned)))
    measured = dataclasses.replace(waiting, metrics=(METRIC,))
    assert is_news(measured, _proven(measured))


@pytest.mark.requires("bridge.reports-bounded")
def test_a_failure_waits_for_nothing_and_details_wait_longest() -> None:
    waiting, failed = _finding(4, HealthStatus.IN_PROGRESS), _finding(4, HealthStatus.FAILED)
    last = headline(waiting)
    assert pause_s(failed, last) == pause_s(waiting, None) == 0
    assert INTERVAL_S <= pause_s(_finding(4), last) < INTERVAL_S + 0.1
    assert pause_s(_finding(4, HealthStatus.IN_PROGRESS, current=2), last) >= DETAIL_INTERVAL_S
    assert pause_s(failed, headline(failed)) >= DETAIL_INTERVAL_S
    assert pause_s(dataclasses.replace(waiting, metrics=(METRIC,)), last) < DETAIL_INTERVAL_S
    # Large reports are fewer: 1,000 objects are some 130 KiB.
    assert INTERVAL_S + 1 < pause_s(_finding(1000), last) < INTERVAL_S + 3


@pytest.mark.requires("bridge.reports-bounded")
def test_a_report_of_the_largest_release_fits_an_envelope_and_is_taken() -> None:
    def key(number: int, wanted: str) -> ObjectKey:
        api_version = f"{'g' * 250}.test/{'v' * 30}"
        return ObjectKey(api_version, "K" * 63, "n" * NAME_BYTES_MAX, f"{wanted}{number:05}".ljust(253, "x"))

    assert len(str(key(0, "w"))) <= OBJECT_ID_BYTES_MAX
    wanted = [
        ObjectResult(key(n, "w"), Outcome.CONFIGURED, wanted=True) for n in range(OBJECTS_PER_RELEASE_MAX)
    ]
    old = [ObjectResult(key(n, "d"), Outcome.DELETED, wanted=False) for n in range(OBJECTS_PER_RELEASE_MAX)]
    stuck = ObjectResult(key(0, "f"), Outcome.FAILED, wanted=False, code=Code.KUBERNETES_REFUSED)
    changes = ChangeSet("c", "shop", 1, (*wanted, *old, stuck))
    waiting = Health(HealthStatus.IN_PROGRESS, "")
    metrics = (MetricRecord(str(key(0, "w")), "memory", 2**53 - 1, 4096),) * METRICS_PER_REPORT_MAX
    finding = Finding(changes, {result.key: waiting for result in wanted}, metrics)
    named = told(changes)
    assert set(named) >= {*wanted, stuck}
    assert len(named) < len(changes.results)
    body = report_body(compose(finding, "east", 1))
    assert len(body) <= BODY_BYTES_MAX
    read = read_action(body, image_digest_required=True)
    assert isinstance(read, Report)
    assert len(read.objects) == len(named)
    assert not is_news(
        dataclasses.replace(finding, metrics=()), _proven(dataclasses.replace(finding, metrics=()))
    )


@pytest.mark.requires("bridge.reports-bounded")
def test_findings_are_coalesced_paced_and_their_metrics_kept_while_they_are_new() -> None:
    now = [1000.0]
    sent: list[tuple[float, Finding]] = []
    reporter = Reporter(Channel("east", None, None, "did:x", None), monotonic=lambda: now[0])  # type: ignore[arg-type]

    def turn(seconds: float) -> None:
        """Let time pass and send what is due, as the thread does, without the thread."""
        now[0] += seconds
        while (offer := reporter.due()) is not None:
            sent.append((now[0] - 1000, offer.finding))
            reporter.told(offer.finding)

    waiting = _finding(2, HealthStatus.IN_PROGRESS)
    reporter.offer(waiting)
    turn(0)
    for current in (1, 0, 1):
        reporter.offer(_finding(2, HealthStatus.IN_PROGRESS, current=current))
        turn(1)
    assert [at for at, _ in sent] == [0]
    turn(3)
    assert [(at, finding.metrics) for at, finding in sent] == [(0, ()), (6, ())]
    reporter.offer(_finding(2, HealthStatus.FAILED))
    turn(0)
    assert [at for at, _ in sent] == [0, 6, 6]
    # A newer finding keeps what was measured; what has waited too long is left out.
    for pause, kept in ((2.0, (METRIC,)), (200.0, ())):
        reporter.offer(dataclasses.replace(_finding(2, HealthStatus.FAILED), metrics=(METRIC,)))
        reporter.offer(_finding(2, HealthStatus.FAILED, current=1))
        turn(pause)
        assert sent[-1][1].metrics == kept
        assert details(sent[-1][1]) == details(_finding(2, HealthStatus.FAILED, current=1))
