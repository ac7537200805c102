"""The bridge's life: look at the ledger, apply what is proven, undo drift, report, wait.

Owns the order of these and nothing of their content. Promises that no release is begun with while the ledger
does not verify or is stale, which is asked anew before each, that such a hold keeps what runs and says why,
that one release's trouble keeps no other from its turn, and that every failure is tried again with growing
pauses. A release that leaves the ledger's list is kept as it is; only one that the ledger says was deleted
leaves the cluster.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from k8s_bridge.bell import Bell
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.following import Clocks, Following, Source
from k8s_bridge.guard import SETTLE_S
from k8s_bridge.mend import Mender, rest, tell_undone
from k8s_bridge.metrics import interval_s, is_absent
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.report import Finding, details, headline
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.status import HealthStatus
from k8s_bridge.tracked import Tracked, account_of, aim_of
from ledger.errors import Code, ConclaveError, EnvironmentFault
from ledger.types import JsonObject
from runtime.log import event
from runtime.retry import Backoff

__all__ = ["Clocks", "Loop", "Reports", "Source"]

OUTAGE = Backoff(base_s=0.5, ceiling_s=5.0)
"""Pauses while the API server does not answer."""
_LOG = logging.getLogger("bridge")


class Reports(Protocol):
    """Where findings go (``reporter.Reporter``)."""

    last_error: ConclaveError | None

    def offer(self, finding: Finding) -> None:
        """Hand over a finding."""
        ...

    def forget(self) -> None:
        """Drop what was not sent yet: another bridge tells what happens now."""
        ...


class Loop:
    """One bridge's decisions about time; every ``step`` is one turn."""

    def __init__(
        self,
        source: Source,
        reconciler: Reconciler,
        reports: Reports,
        bell: Bell,
        periods: Periods,
        clocks: Clocks,
    ) -> None:
        self._reconciler, self._reports, self._bell = reconciler, reports, bell
        self._ledger = Following(source, periods, clocks, bell)
        self._periods, self._clocks = periods, clocks
        self._backoff = Backoff(base_s=0.5, ceiling_s=periods.retry_s_max)
        self._mender = Mender(reconciler, self._backoff, clocks.monotonic_s)
        self._tracked: dict[str, Tracked] = {}
        self._refused: dict[str, ConclaveError] = {}
        self._reach_error: EnvironmentFault | None = None
        self._reach_failures = 0
        self._reach_due_s = 0.0
        self._term: str | None = None

    def step(self) -> None:
        """Wait for the next thing to do, and do it."""
        self._hear(self._pause_s())
        if self._clocks.monotonic_s() >= self._reach_due_s:
            self._reach()
        may_begin = self._may_begin()
        for name in list(self._tracked):
            if not may_begin:
                return
            tracked = self._tracked.get(name)
            if tracked is not None and name not in self._refused:
                self._attend(name, tracked, self._clocks.monotonic_s())
            # That may have taken minutes: a freeze, a silent ledger or the lease's end does not wait.
            self._hear(0.0)
            may_begin = self._may_begin()

    def _hear(self, timeout_s: float) -> None:
        """Take what was rung, waiting for it at most so long, and look at the ledger where that is due."""
        rung = self._bell.wait(timeout_s)
        now = self._clocks.monotonic_s()
        for name in rung.drifted.keys() & self._tracked.keys():
            # What rests is looked at when its rest is over, however often it is written meanwhile.
            if rung.drifted[name].keys() <= self._reconciler.contests.resting(name).keys():
                continue
            self._tracked[name].drift(rung.drifted[name], now)
        for name in rung.restated.keys() & self._tracked.keys():
            self._tracked[name].restated |= rung.restated[name]
        if rung.block:
            self._ledger.told_of_block()
        wanted = self._ledger.look_if_due()
        if wanted is not None:
            self._take(wanted, now)

    def _may_begin(self) -> bool:
        """Whether anything may be written from here on."""
        if self._bell.stopping or not self._may_write(self._clocks.monotonic_s()):
            return False
        return self._ledger.hold() is None

    def _attend(self, name: str, tracked: Tracked, now: float) -> None:
        """Do what is due for one release."""
        tracked.restated |= tracked.due_again(now)
        if self._mender.mend(name, tracked, now) and tracked.standing is not None:
            self._offer(tracked, tracked.standing)
        if tracked.due_s <= now and self.hold() is None:
            self._reconcile(name, tracked)
        elif tracked.restated and tracked.health_due_s <= now:
            self._look_again(name, tracked)
        if tracked.is_measured and tracked.measure_due_s <= now:
            self._measure(name, tracked)

    def _may_write(self, now: float) -> bool:
        """Whether this bridge is the cluster's writer; one that becomes it looks at everything anew."""
        term = self._reconciler.term()
        if term is None:
            self._reports.forget()
        elif term != self._term:
            self._tracked = {name: Tracked(t.wanted, due_s=now) for name, t in self._tracked.items()}
        self._term = term
        return term is not None

    def hold(self) -> ConclaveError | None:
        """Why nothing may be applied now; None when it may."""
        return self._ledger.hold()

    def account(self) -> JsonObject:
        """Give the bridge's state, as ``bridge-status.json`` holds it."""
        hold, reporting = self.hold(), self._reports.last_error
        return {
            "height": self._ledger.height,
            "headerTimeNs": self._ledger.header_time_ns,
            "verdict": _verdict(self._ledger.error),
            "hold": None if hold is None else hold.to_json(),
            "kubernetes": _verdict(self._reach_error),
            "admission": self._reconciler.admission(),
            "reporting": None if reporting is None else reporting.to_json(),
            "releases": {name: account_of(tracked) for name, tracked in self._tracked.items()},
            "refused": {name: error.to_json() for name, error in self._refused.items()},
        }

    def _pause_s(self) -> float:
        dues = [self._ledger.due_s, self._reach_due_s]
        for name, tracked in self._tracked.items():
            dues += tracked.dues() if name not in self._refused else []
        if self.hold() is not None or self._term is None:
            dues = [self._ledger.due_s, self._reach_due_s]
        return max(0.0, min(dues) - self._clocks.monotonic_s())

    def _reach(self) -> None:
        """See whether the API server answers us, so that an idle bridge says so too."""
        try:
            self._reconciler.reach()
        except EnvironmentFault as fault:
            self._reach_failures += 1
            if self._reach_error is None or self._reach_error.code is not fault.code:
                event(_LOG, "cluster not reached", level=logging.WARNING, **fault.to_json())
            self._reach_error = fault
            self._reach_due_s = self._clocks.monotonic_s() + OUTAGE.delay_s(self._reach_failures)
            return
        now = self._clocks.monotonic_s()
        if self._reach_error is not None:
            event(_LOG, "cluster reached again")
            for tracked in self._tracked.values():
                tracked.due_s = now if tracked.fault is not None else tracked.due_s
        self._reach_error, self._reach_failures = None, 0
        self._reach_due_s = now + self._periods.reach_s
        scopes = frozenset(tracked.wanted.value.namespace for tracked in self._tracked.values())
        if self._reconciler.admission_changed(scopes):
            for tracked in self._tracked.values():
                tracked.due_s = min(tracked.due_s, now + SETTLE_S)

    def _take(self, wanted: Wanted, now: float) -> None:
        for name, error in wanted.refused.items():
            if name not in self._refused or self._refused[name].code is not error.code:
                what = "release frozen" if error.code is Code.FROZEN else "release not believed"
                event(_LOG, what, level=logging.WARNING, release=name, **error.to_json())
        self._refused = dict(wanted.refused)
        # What left the list is kept on the cluster and let alone.
        listed = wanted.releases.keys() | wanted.refused.keys()
        self._tracked = {name: tracked for name, tracked in self._tracked.items() if name in listed}
        self._reconciler.contests.keep(listed)
        for name, verified in wanted.releases.items():
            tracked = self._tracked.get(name)
            if tracked is None:
                self._tracked[name] = Tracked(verified, due_s=now)
            elif aim_of(tracked.wanted.value) != aim_of(verified.value):
                tracked.wanted, tracked.due_s = verified, now
                tracked.failures = tracked.repairs = 0

    def _reconcile(self, name: str, tracked: Tracked) -> None:
        revision = tracked.wanted.value.revision
        was_applied = tracked.applied == aim_of(tracked.wanted.value)
        began = self._clocks.monotonic_s()
        try:
            tracked.standing = self._reconciler.reconcile(tracked.wanted)
        except EnvironmentFault as fault:
            tracked.failures += 1
            if tracked.fault is None:
                event(_LOG, "apply cut short", level=logging.WARNING, release=name, **fault.to_json())
            tracked.fault = fault
            tracked.due_s = self._clocks.monotonic_s() + OUTAGE.delay_s(tracked.failures)
            return
        if tracked.standing.refusal is not None and tracked.failures == 0:
            refusal = tracked.standing.refusal.to_json()
            event(_LOG, "release not planned", level=logging.WARNING, release=name, **refusal)
        tracked.fault, tracked.restated, tracked.again, tracked.drifted = None, set(), {}, {}
        tracked.touched = set()
        tracked.looked = aim_of(tracked.wanted.value) if tracked.standing.refusal is None else None
        outcome = tracked.standing.finding.changes.outcome
        tracked.failures = 0 if outcome is ReleaseOutcome.APPLIED else tracked.failures + 1
        now = self._clocks.monotonic_s()
        tracked.apply_s = round(now - began, 3)
        delay = 0.0 if tracked.standing.lasting else self._backoff.delay_s(tracked.failures)
        contested_s = self._reconciler.contests.due_in_s(name)
        tracked.due_s = now + min(delay or self._periods.resync_s, contested_s or self._periods.resync_s)
        rest(tracked, now, written=tracked.standing.written)
        if tracked.standing.written or tracked.failures == 1:
            counts = tracked.standing.finding.changes.counts()
            event(_LOG, "applied", release=name, revision=revision, outcome=outcome.value, **counts)
        if was_applied and tracked.standing.written:
            tell_undone(name, tracked, tracked.standing.finding.changes)
        if outcome is ReleaseOutcome.APPLIED:
            tracked.applied = aim_of(tracked.wanted.value)
        self._offer(tracked, tracked.standing)

    def _look_again(self, name: str, tracked: Tracked) -> None:
        keys, tracked.restated = tracked.restated, set()
        tracked.health_due_s = self._clocks.monotonic_s() + self._periods.health_s
        if tracked.standing is None:
            return
        try:
            tracked.standing = self._reconciler.look_again(tracked.standing, keys)
        except EnvironmentFault as fault:
            event(_LOG, "health not read", level=logging.WARNING, release=name, **fault.to_json())
            tracked.restated |= keys
            return
        self._offer(tracked, tracked.standing)

    def _measure(self, name: str, tracked: Tracked) -> None:
        """Tell what the replicas use; where nothing is known nothing is told, and the count stays."""
        now = self._clocks.monotonic_s()
        pause = interval_s(tracked.wanted.value.autoscale) or self._periods.resync_s
        try:
            metrics = self._reconciler.measure(tracked.wanted)
        except EnvironmentFault as fault:
            tracked.unmeasured += 1
            if tracked.unmeasured == 1:
                level = logging.INFO if is_absent(fault) else logging.WARNING
                event(_LOG, "metrics not read", level=level, release=name, **fault.to_json())
            tracked.measure_due_s = now + max(pause, self._backoff.delay_s(tracked.unmeasured))
            return
        tracked.unmeasured, tracked.measure_due_s = 0, now + pause
        standing = tracked.standing
        if metrics and standing is not None and not standing.held and not standing.local:
            self._reports.offer(replace(standing.finding, metrics=metrics))

    def _offer(self, tracked: Tracked, standing: Standing) -> None:
        now = self._clocks.monotonic_s()
        tracked.again |= {key: now + delay for key, delay in standing.again.items()}
        if standing.local:
            # Told as failed, the machine would roll back everywhere what fails on this cluster alone.
            return
        finding = standing.finding
        said = (finding.changes.removal, headline(finding), details(finding))
        # What is held is looked at again in a moment, and told then; a failure waits for nothing.
        if said != tracked.offered and not (standing.held and finding.status is HealthStatus.IN_PROGRESS):
            tracked.offered = said
            self._reports.offer(finding)


def _verdict(error: ConclaveError | None) -> JsonObject:
    return {"code": 0, "name": "OK"} if error is None else error.to_json()
