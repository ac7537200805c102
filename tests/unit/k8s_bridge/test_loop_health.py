"""When the loop looks at health again, what it tells meanwhile, and when it measures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from consensus.verified import Verified
from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import ObjectKey
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.report import Finding
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.status import Health, HealthStatus
from ledger.autoscale import AutoscaleRule, MetricTarget
from ledger.errors import Code, EnvironmentFault
from ledger.records import MetricRecord
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import deployment
from tests.support.verified import release, verified

WEB = ObjectKey("apps/v1", "Deployment", "shop", "web")
METRIC = MetricRecord(str(WEB), "cpu", 70, 2)
RULE = AutoscaleRule(str(WEB), 1, 5, 1, (MetricTarget("cpu", 50),), 10)


def _standing(health: HealthStatus, **more: Any) -> Standing:
    result = ObjectResult(WEB, Outcome.UNCHANGED, wanted=True)
    finding = Finding(ChangeSet("c", "guestbook", 1, (result,)), {WEB: Health(health, "")})
    return Standing(finding, None, written=False, **more)


@dataclass
class _Scripted(Reconciler):
    """A reconciler that says what the test says."""

    standing: Standing
    metrics: list[tuple[MetricRecord, ...] | EnvironmentFault] = field(default_factory=list)
    looked: list[set[ObjectKey]] = field(default_factory=list)
    measured: int = 0

    def __post_init__(self) -> None:
        cluster = FakeCluster()
        super().__init__(cluster, None, None, lambda: 0)  # type: ignore[arg-type]

    def reconcile(self, wanted: Verified[ReleaseRevision]) -> Standing:
        return self.standing

    def look_again(self, standing: Standing, keys: Any) -> Standing:
        self.looked.append(set(keys))
        return self.standing

    def measure(self, wanted: Verified[ReleaseRevision]) -> tuple[MetricRecord, ...]:
        self.measured += 1
        found = self.metrics.pop(0) if self.metrics else ()
        if isinstance(found, EnvironmentFault):
            raise found
        return found

    def reach(self) -> None:
        """Reached."""

    def admission_changed(self, scopes: frozenset[str] = frozenset()) -> bool:
        return False


class _Stage:
    """A loop over a scripted reconciler, turned by hand; made of the parts of ``Bridge``."""

    def __init__(self, home: Path, reconciler: _Scripted, *rules: AutoscaleRule) -> None:
        found = release([deployment("web")]).value
        revision = verified(dataclasses.replace(found, autoscale=rules))
        bridge = Bridge(Ledger(), FakeCluster(), home)
        self.bell, self.offered, self.clock = bridge.bell, bridge.offered, bridge.clock
        self._looks = [Wanted(7, self.clock.wall_ns, {"guestbook": revision}, {})]
        clocks = Clocks(lambda: self.clock.wall_ns, lambda: self.clock.monotonic_s)
        self.loop = Loop(self, reconciler, self.offered, self.bell, Periods(staleness_s=9000), clocks)

    def look(self) -> Wanted | None:
        return self._looks.pop() if self._looks else None

    def turn(self, seconds: float = 0.0) -> list[JsonObject]:
        """Let time pass, turn once, give what was told: health and metrics."""
        before = len(self.offered.findings)
        self.clock.advance(seconds)
        self.loop.step()
        return [{"health": f.status.value, "metrics": f.metrics} for f in self.offered.findings[before:]]


@pytest.mark.requires("bridge.health-over-time")
def test_what_is_held_is_told_when_the_hold_is_over_and_not_before(tmp_path: Path) -> None:
    held = _standing(HealthStatus.IN_PROGRESS, again={WEB: 1.5}, held=True)
    reconciler = _Scripted(held)
    stage = _Stage(tmp_path, reconciler)
    assert stage.turn() == []
    reconciler.standing = _standing(HealthStatus.CURRENT)
    assert stage.turn(1.4) == []
    assert reconciler.looked == []
    assert stage.turn(0.2) == [{"health": "current", "metrics": ()}]
    assert reconciler.looked == [{WEB}]
    # Nothing is told twice, and nothing looked at without a reason.
    assert stage.turn(60) == []
    assert reconciler.looked == [{WEB}]


@pytest.mark.requires("bridge.health-over-time")
def test_a_failure_is_told_although_something_else_is_held(tmp_path: Path) -> None:
    failed = _standing(HealthStatus.FAILED, again={WEB: 1.5}, held=True)
    assert _Stage(tmp_path, _Scripted(failed)).turn() == [{"health": "failed", "metrics": ()}]


@pytest.mark.requires("bridge.reports-bounded")
def test_a_change_of_one_object_is_told_though_the_release_is_as_before(tmp_path: Path) -> None:
    reconciler = _Scripted(_standing(HealthStatus.IN_PROGRESS))
    stage = _Stage(tmp_path, reconciler)
    other = ObjectKey("v1", "Service", "shop", "web")
    stage.turn()
    finding = reconciler.standing.finding
    results = (*finding.changes.results, ObjectResult(other, Outcome.UNCHANGED, wanted=True))
    changes = dataclasses.replace(finding.changes, results=results)
    current = {**finding.health, other: Health(HealthStatus.CURRENT, "")}
    finding = dataclasses.replace(finding, changes=changes, health=current)
    reconciler.standing = dataclasses.replace(reconciler.standing, finding=finding)
    stage.bell.ring(Verdict("guestbook", WEB, Change.STATUS))
    assert stage.turn(1) == [{"health": "in_progress", "metrics": ()}]


@pytest.mark.requires("bridge.metrics")
def test_metrics_are_told_each_time_anew_and_what_is_unknown_is_not(tmp_path: Path) -> None:
    absent = EnvironmentFault(Code.OBJECT_KIND_UNKNOWN, got="metrics.k8s.io/v1beta1 PodMetrics")
    reconciler = _Scripted(_standing(HealthStatus.CURRENT), [(METRIC,), (METRIC,), (), absent, (METRIC,)])
    stage = _Stage(tmp_path, reconciler, RULE)
    told = {"health": "current", "metrics": (METRIC,)}
    assert stage.turn() == [{"health": "current", "metrics": ()}, told]
    assert stage.turn(4) == []
    assert stage.turn(1) == [told]
    assert stage.turn(5) == []
    assert (stage.turn(5), reconciler.measured) == ([], 4)
    assert stage.turn(5) == [told]


@pytest.mark.requires("bridge.metrics")
def test_nothing_is_measured_without_a_rule_or_before_the_release_is_in_place(tmp_path: Path) -> None:
    for number, (standing, rules) in enumerate(
        [
            (_standing(HealthStatus.CURRENT), ()),
            (
                dataclasses.replace(
                    _standing(HealthStatus.CURRENT), finding=Finding(ChangeSet("c", "guestbook", 1, ()), {})
                ),
                (RULE,),
            ),
        ]
    ):
        reconciler = _Scripted(standing)
        home = tmp_path / str(number)
        home.mkdir()
        stage = _Stage(home, reconciler, *rules)
        stage.turn()
        stage.turn(30)
        assert reconciler.measured == 0
