"""Bringing one release from the verified ledger onto the cluster.

Owns the path observe → plan → apply for one release or some of its objects, and what is remembered of its
outcome. Promises that a release which cannot be planned changes nothing and says with its code why, and
whether that is the revision's doing or this cluster's, and that its objects' events are kept back meanwhile.
Never chooses which release, never talks to the ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from consensus.verified import Verified
from k8s_bridge import trail
from k8s_bridge.apply import carry_out
from k8s_bridge.bounds import Unfenced
from k8s_bridge.changeset import ChangeSet
from k8s_bridge.cluster import Cluster
from k8s_bridge.contests import Contests
from k8s_bridge.desired import Desired, desired_of
from k8s_bridge.given_up import GivenUp
from k8s_bridge.guard import Guard
from k8s_bridge.metrics import measure
from k8s_bridge.objects import ObjectKey
from k8s_bridge.observe import observe
from k8s_bridge.partial import grounded, joined
from k8s_bridge.plan import plan
from k8s_bridge.repair import Told, repair, settled
from k8s_bridge.report import Finding, finding_of
from k8s_bridge.rounds import until_undisturbed
from k8s_bridge.store import InventoryStore, Loading
from k8s_bridge.vitals import Vitals
from k8s_bridge.workers import OneByOne, Workers
from ledger.errors import Refused
from ledger.records import MetricRecord
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from runtime.clock import NS_PER_S


class Observers(Protocol):
    """Who is told that a release is being applied (``watch.Watches``)."""

    def before_apply(self, release: str, keys: Iterable[ObjectKey]) -> None:
        """Keep back a release's events."""
        ...

    def after_apply(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Take what the apply left behind as known."""
        ...

    def after_repair(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Take what the repair of some of a release's objects left behind as known."""
        ...

    def after_failure(self, release: str) -> None:
        """Judge what was kept back."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How a release stands, after the last attempt.

    Attributes:
        finding: what to report.
        refusal: why it could not be planned at all, if so.
        written: whether the attempt changed the cluster.
        lasting: whether all that failed would fail again.
        again: by object, after how many seconds its health is to be judged anew though nothing changes.
        held: whether an object is current, but not yet for long enough to say so.
        local: whether it is refused for this cluster's record, not for the revision: no news for the ledger.
    """

    finding: Finding
    refusal: Refused | None
    written: bool
    lasting: bool = False
    again: Mapping[ObjectKey, float] = field(default_factory=dict)
    held: bool = False
    local: bool = False


class Writes(Protocol):
    """Whether this bridge is the one that writes to its cluster (``bounds.Fence``)."""

    def term(self) -> str | None:
        """Give the term in which writes may begin now; None when none may."""
        ...

    def pin(self) -> None:
        """Bind what is written from here on to the present term; LEASE_NOT_HELD where there is none."""
        ...

    def check(self) -> None:
        """See that the term still lasts; LEASE_NOT_HELD where it does not."""
        ...


class Reconciler:
    """Applies releases to one cluster.

    ``contests`` knows what others write again and again, ``workers`` carry requests. ``in_scope`` gives the
    cluster as the account of a release's namespace writes to it; None where the bridge writes as itself.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: InventoryStore,
        observers: Observers,
        clock: Callable[[], int],
        in_scope: Callable[[str], Cluster] | None = None,
        writes: Writes | None = None,
    ) -> None:
        self._cluster = cluster
        self._in_scope = in_scope or (lambda _: cluster)
        self._guard = Guard(cluster)
        self._writes = writes or Unfenced()
        self._store = store
        self._observers = observers
        self._clock = clock
        self._plans = itertools.count(1)
        self._given_up: dict[str, GivenUp] = {}
        self.contests = Contests()
        self.workers: Workers = OneByOne()
        self._vitals: dict[str, Vitals] = {}

    def reconcile(self, wanted: Verified[ReleaseRevision]) -> Standing:
        """Observe, plan and apply one verified release.

        Raises:
            EnvironmentFault: the API server cannot be reached, or the inventory cannot be written;
                LEASE_NOT_HELD when another bridge writes by now, whatever was done before.
        """
        name = wanted.value.name
        self._pin()
        try:
            desired = desired_of(wanted)
        except Refused as refusal:
            return self._unplanned(wanted, refusal, local=False)
        try:
            vitals = self._vitals.setdefault(name, Vitals())
            vitals.begin(wanted.value, desired.objects.keys())
            given_up = self._given_up.setdefault(name, GivenUp())
            given_up.begin(desired.objects.keys(), self._clock() / NS_PER_S)
            self._observers.before_apply(name, desired.objects)
            changes = until_undisturbed(lambda: self._round(wanted, desired, given_up))
        except Refused as refusal:
            return self._unplanned(wanted, refusal, local=True)
        except BaseException:
            self._observers.after_failure(name)
            raise
        _remember(given_up, desired, changes)
        written, changes = changes.changed, self.contests.learn(desired, changes)
        self._observers.after_apply(name, [(r.key, r.live) for r in changes.results if r.wanted])
        standing = Standing(self._light(changes, vitals), None, written, changes.lasting)
        return replace(standing, again=dict(vitals.again), held=bool(vitals.held))

    def look_at(
        self, wanted: Verified[ReleaseRevision], standing: Standing, touched: Collection[ObjectKey]
    ) -> tuple[Standing, ChangeSet] | None:
        """Observe, plan and apply some objects of a verified release that stands as ``standing`` says.

        Gives how the release stands then, and what became of these objects. None where the whole release is
        to be looked at.

        Raises:
            EnvironmentFault: as ``reconcile``.
        """
        name, desired = wanted.value.name, desired_of(wanted)
        keys, given_up = grounded(desired, touched), self._given_up.get(name)
        vitals = self._vitals.get(name)
        if keys is None or given_up is None or vitals is None:
            return None
        self._pin()
        try:
            given_up.begin(desired.objects.keys(), self._clock() / NS_PER_S)
            self._observers.before_apply(name, keys)
            changes = until_undisturbed(lambda: self._round(wanted, desired.narrowed(keys), given_up))
        except Refused:
            self._observers.after_failure(name)
            return None
        except BaseException:
            self._observers.after_failure(name)
            raise
        _remember(given_up, desired, changes)
        written, changes = changes.changed, self.contests.learn(desired, changes, whole=False)
        self._observers.after_repair(name, [(r.key, r.live) for r in changes.results if r.wanted])
        vitals.again, vitals.held = {}, vitals.held - keys
        finding = joined(standing.finding, self._light(changes, vitals))
        standing = Standing(finding, None, written, finding.changes.lasting)
        return replace(standing, again=dict(vitals.again), held=bool(vitals.held)), changes

    def _unplanned(self, wanted: Verified[ReleaseRevision], refusal: Refused, *, local: bool) -> Standing:
        self._observers.after_failure(wanted.value.name)
        changes = ChangeSet(wanted.chain_id, wanted.value.name, wanted.value.revision, ())
        return Standing(Finding(changes, {}), refusal, written=False, local=local)

    def _pin(self) -> None:
        """Bind writes, and what is remembered of the records, to the present term."""
        self._writes.pin()
        self._store.serve(self._writes.term())

    def _round(self, wanted: Verified[ReleaseRevision], desired: Desired, given_up: GivenUp) -> ChangeSet:
        cluster = self._in_scope(wanted.value.namespace)
        resting = self.contests.resting(wanted.value.name)
        with Loading(self.workers.begin(self._store.load)) as claims:
            world = observe(cluster, desired, claims, given_up, resting, self.workers)
        keys = desired.objects.keys() if desired.part else None
        decided, number = plan(wanted, world, keys), next(self._plans)
        trail.tell_record(decided)
        trail.tell_planned(decided, number)
        changes = carry_out(decided, cluster, self._store.save, self.workers)
        trail.tell_done(decided, changes, number)
        self._writes.check()
        return changes

    def repair(self, wanted: Verified[ReleaseRevision], told: Told) -> ChangeSet | None:
        """Put back objects of a release that is in place, as the watch told of them, without looking first.

        Gives those that are as they should be again; where some are missing, ``reconcile`` is due at once.
        None where nothing was tried.

        Raises:
            EnvironmentFault: as ``reconcile``.
        """
        name, desired = wanted.value.name, desired_of(wanted)
        decided = repair(desired, told)
        given_up = self._given_up.get(name, GivenUp())
        known = self.contests.resting(name).keys() | given_up.refusals.keys()
        if decided is None or known & told.keys():
            return None
        self._pin()
        try:
            self._observers.before_apply(name, told)
            number = next(self._plans)
            trail.tell_planned(decided, number)
            cluster = self._in_scope(wanted.value.namespace)
            changes = carry_out(decided, cluster, self._store.save, self.workers)
            trail.tell_done(decided, changes, number)
            self._writes.check()
        except BaseException:
            self._observers.after_failure(name)
            raise
        self._observers.after_repair(name, [(r.key, r.live) for r in changes.results if not r.fault])
        return self.contests.learn(desired, settled(changes, told), whole=False)

    def term(self) -> str | None:
        """Give the term in which this bridge may write now; None when it may not."""
        return self._writes.term()

    def reach(self) -> None:
        """Ask the API server for what every apply begins with.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
        """
        self._store.reach()

    def admission_changed(self, scopes: frozenset[str] = frozenset()) -> bool:
        """Tell whether an admission policy came or changed, so that writes before it may have slipped in.

        Args:
            scopes: the namespaces of the releases that are wanted.
        """
        return self._guard.changed(scopes)

    def admission(self) -> JsonObject:
        """Say how the admission policies were at the last look."""
        return self._guard.account()

    def look_again(self, standing: Standing, keys: Iterable[ObjectKey]) -> Standing:
        """Judge the health of some objects anew.

        Raises:
            EnvironmentFault: the API server cannot be reached.
        """
        finding = standing.finding
        health = dict(finding.health)
        vitals = self._vitals.setdefault(finding.changes.release, Vitals())
        vitals.again = {}
        for key in keys:
            live = self._cluster.get(key) if key in health else None
            if live is not None:
                health[key] = vitals.judge(key, live, self._clock() / NS_PER_S)
        finding = replace(finding, health=health)
        return replace(standing, finding=finding, again=dict(vitals.again), held=bool(vitals.held))

    def measure(self, wanted: Verified[ReleaseRevision]) -> tuple[MetricRecord, ...]:
        """Measure what the objects with an autoscale rule use.

        Raises:
            EnvironmentFault: the API server cannot be reached, or has no metrics.
        """
        return measure(self._cluster, wanted.value.autoscale, self._clock() / NS_PER_S)

    def _light(self, changes: ChangeSet, vitals: Vitals) -> Finding:
        """Keep the verdicts and let the objects go: a bridge idles for long, and definitions are large."""
        now_s = self._clock() / NS_PER_S
        finding = finding_of(changes, lambda key, live: vitals.judge(key, live, now_s))
        results = tuple(replace(result, live=None) for result in changes.results)
        return replace(finding, changes=replace(changes, results=results))


def _remember(given_up: GivenUp, desired: Desired, changes: ChangeSet) -> None:
    for result in changes.results:
        if result.wanted:
            given_up.remember(result.key, desired.objects[result.key], result.live, result.fault)
