"""The bridge's life: look at the ledger, apply what is proven, undo drift, report, wait.

Owns the order of these and nothing of their content. Promises that nothing is applied while the ledger does
not verify or is stale, that such a hold keeps what runs and says why, that one release's trouble delays no
other, and that every failure is tried again with growing pauses. A release that leaves the ledger's list is
kept as it is; only one that the ledger says was deleted leaves the cluster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from k8s_bridge.bell import Bell
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.guard import SETTLE_S
from k8s_bridge.mend import Mender, rest, tell_undone
from k8s_bridge.metrics import interval_s, is_absent
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.report import Finding, details, headline
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.status import HealthStatus
from k8s_bridge.tracked import Tracked, account_of, aim_of
from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed
from ledger.types import JsonObject
from runtime.clock import NS_PER_S
from runtime.log import event
from runtime.retry import Backoff

IDLE_SHARE = 10
"""Who asks without a bell spends a tenth of its time on it: where many share a node, all ask less often."""
OUTAGE = Backoff(base_s=0.5, ceiling_s=5.0)
"""Pauses while the API server does not answer."""
_LOG = logging.getLogger("bridge")


class Source(Protocol):
    """Where wanted releases come from (``source.LedgerSource``)."""

    def look(self) -> Wanted | None:
        """Read what is wanted; None when nothing is newer."""
        ...


class Reports(Protocol):
    """Where findings go (``reporter.Reporter``)."""

    last_error: ConclaveError | None

    def offer(self, finding: Finding) -> None:
        """Hand over a finding."""
        ...

    def forget(self) -> None:
        """Drop what was not sent yet: another bridge tells what happens now."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall clock in nanoseconds since the epoch, and a clock that never goes back, in seconds."""

    wall_ns: Callable[[], int]
    monotonic_s: Callable[[], float] = time.monotonic


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
        self._source, self._reconciler, self._reports, self._bell = source, reconciler, reports, bell
        self._periods, self._clocks = periods, clocks
        self._backoff = Backoff(base_s=0.5, ceiling_s=periods.retry_s_max)
        self._mender = Mender(reconciler, self._backoff, clocks.monotonic_s)
        self._tracked: dict[str, Tracked] = {}
        self._refused: dict[str, ConclaveError] = {}
        self._height = 0
        self._header_time_ns = 0
        self._look_error: ConclaveError | None = None
        self._look_failures = 0
        self._look_due_s = 0.0
        self._look_floor_s = 0.0
        self._reach_error: EnvironmentFault | None = None
        self._reach_failures = 0
        self._reach_due_s = 0.0
        self._term: str | None = None

    def step(self) -> None:
        """Wait for the next thing to do, and do it."""
        rung = self._bell.wait(self._pause_s())
        now = self._clocks.monotonic_s()
        for name in rung.drifted.keys() & self._tracked.keys():
            # What rests is looked at when its rest is over, however often it is written meanwhile.
            if rung.drifted[name].keys() <= self._reconciler.contests.resting(name).keys():
                continue
            self._tracked[name].drift(rung.drifted[name], now)
        for name in rung.restated.keys() & self._tracked.keys():
            self._tracked[name].restated |= rung.restated[name]
        if rung.block:
            self._look_due_s = min(self._look_due_s, self._look_floor_s)
        if now >= self._look_due_s:
            self._look(now)
        if now >= self._reach_due_s:
            self._reach()
        if self._may_write(now) and self.hold() is None:
            for name, tracked in self._tracked.items():
                if name in self._refused or self._bell.stopping:
                    continue
                self._attend(name, tracked, now)

    def _attend(self, name: str, tracked: Tracked, now: float) -> None:
        """Do what is due for one release."""
        tracked.restated |= tracked.due_again(now)
        if self._mender.mend(name, tracked, now) and tracked.standing is not None:
            self._offer(tracked, tracked.standing)
        if tracked.due_s <= now:
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
        if isinstance(self._look_error, VerificationFailed):
            return self._look_error
        if not self._height:
            return self._look_error
        age_ns = self._clocks.wall_ns() - self._header_time_ns
        if age_ns > self._periods.staleness_s * NS_PER_S:
            return VerificationFailed(
                Code.STALE,
                got=f"a header {age_ns // NS_PER_S} s old",
                expected=f"at most {self._periods.staleness_s:.0f} s",
                todo="check that the ledger makes blocks and that this bridge reaches a node of it",
            )
        return None

    def account(self) -> JsonObject:
        """Give the bridge's state, as ``bridge-status.json`` holds it."""
        hold, reporting = self.hold(), self._reports.last_error
        return {
            "height": self._height,
            "headerTimeNs": self._header_time_ns,
            "verdict": _verdict(self._look_error),
            "hold": None if hold is None else hold.to_json(),
            "kubernetes": _verdict(self._reach_error),
            "reporting": None if reporting is None else reporting.to_json(),
            "releases": {name: account_of(tracked) for name, tracked in self._tracked.items()},
            "refused": {name: error.to_json() for name, error in self._refused.items()},
        }

    def _pause_s(self) -> float:
        dues = [self._look_due_s, self._reach_due_s]
        for name, tracked in self._tracked.items():
            dues += tracked.dues() if name not in self._refused else []
        if self.hold() is not None or self._term is None:
            dues = [self._look_due_s, self._reach_due_s]
        return max(0.0, min(dues) - self._clocks.monotonic_s())

    def _look(self, now: float) -> None:
        try:
            wanted = self._source.look()
        except ConclaveError as error:
            self._look_failures += 1
            if self._look_error is None or self._look_error.code is not error.code:
                event(_LOG, "ledger not believed", level=logging.WARNING, **error.to_json())
            self._look_error = error
            delay = max(self._periods.poll_s, Backoff(ceiling_s=5.0).delay_s(self._look_failures))
            self._look_due_s = self._look_floor_s = now + delay
            return
        ended = self._clocks.monotonic_s()
        # Looking takes half of the time at most, however fast blocks come.
        self._look_floor_s = ended + (ended - now)
        pause = self._periods.listen_s if self._bell.listening() else self._periods.poll_s
        self._look_due_s = now + max(pause, 0.0 if wanted else IDLE_SHARE * (ended - now))
        self._look_error, self._look_failures = None, 0
        if wanted is not None:
            self._take(wanted, now)

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
        if self._reconciler.admission_changed():
            for tracked in self._tracked.values():
                tracked.due_s = min(tracked.due_s, now + SETTLE_S)

    def _take(self, wanted: Wanted, now: float) -> None:
        self._height, self._header_time_ns = wanted.height, wanted.time_ns
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
        if metrics and tracked.standing is not None and not tracked.standing.held:
            self._reports.offer(replace(tracked.standing.finding, metrics=metrics))

    def _offer(self, tracked: Tracked, standing: Standing) -> None:
        now = self._clocks.monotonic_s()
        tracked.again |= {key: now + delay for key, delay in standing.again.items()}
        finding = standing.finding
        said = (finding.changes.removal, headline(finding), details(finding))
        # What is held is looked at again in a moment, and told then; a failure waits for nothing.
        if said != tracked.offered and not (standing.held and finding.status is HealthStatus.IN_PROGRESS):
            tracked.offered = said
            self._reports.offer(finding)


def _verdict(error: ConclaveError | None) -> JsonObject:
    return {"code": 0, "name": "OK"} if error is None else error.to_json()
