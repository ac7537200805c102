"""Undoing what others wrote to a release that was looked at.

Owns what is tried for drifted objects, in this order: one request each where that is enough (``repair``), a
look at these objects alone (``Reconciler.look_at``), the look at everything; and the pauses between. Promises
that drift costs a look at the objects it is of, that every repair is made sure of by such a look, and that
what neither can do is left to the look at everything, at once. Never reports.

Source: docs/spec/bridge.md §9.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from k8s_bridge.changeset import ChangeSet, Outcome, ReleaseOutcome
from k8s_bridge.partial import TOUCHED_MAX, shakes, waiting
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.tracked import Tracked, aim_of
from ledger.errors import EnvironmentFault
from runtime.log import event
from runtime.retry import Backoff

REPAIRS = Backoff(base_s=0.05, ceiling_s=2.0)
"""Pauses between repairs of one release that follow each other: two writers that disagree must not spin."""
REPAIRS_FORGOTTEN_S = 1.0
LOOK_AFTER_S = 1.0
"""After a repair without a look, the look."""
UNDONE_LISTED_MAX = 8
_WRITTEN = frozenset({Outcome.CREATED, Outcome.CONFIGURED, Outcome.DELETED})
_LOG = logging.getLogger("bridge")


class Mender:
    """Undoes drift, one release at a time; used by the loop alone.

    Args:
        reconciler: who does it.
        backoff: pauses between looks at what is not in place.
        monotonic_s: seconds of a clock that never goes back.
    """

    def __init__(self, reconciler: Reconciler, backoff: Backoff, monotonic_s: Callable[[], float]) -> None:
        self._reconciler, self._backoff, self._monotonic_s = reconciler, backoff, monotonic_s

    def mend(self, name: str, tracked: Tracked, now: float) -> bool:
        """Do what is due for the drift of one release; gives whether it was looked at anew.

        Where that takes a look at everything, ``due_s`` is now.
        """
        if tracked.fault is not None or tracked.looked != aim_of(tracked.wanted.value):
            # The look at everything is yet to come, in its own time.
            tracked.drifted, tracked.touched = {}, set()
        if tracked.due_s > now and tracked.drifted and tracked.rest_until_s <= now:
            self._repair(name, tracked, now)
        if tracked.due_s > now and tracked.touched and tracked.touched_due_s <= now:
            return self._look_at(name, tracked, now)
        return False

    def _repair(self, name: str, tracked: Tracked, now: float) -> None:
        """Put back what one request each puts back; the look that makes sure, or does more, is due then."""
        drifted, tracked.drifted = tracked.drifted, {}
        told = {key: metadata for key, metadata in drifted.items() if metadata is not None}
        changes, whole = None, tracked.applied == aim_of(tracked.wanted.value)
        if told and whole and len(told) <= TOUCHED_MAX:
            try:
                changes = self._reconciler.repair(tracked.wanted, told)
            except EnvironmentFault:
                # The look meets it again, and tells.
                changes = None
        done = {result.key for result in changes.results} if changes is not None else set()
        if changes is not None and done:
            tell_undone(name, tracked, changes)
        if drifted.keys() == done:
            rest(tracked, self._monotonic_s(), written=True)
        tracked.touch(done, now + LOOK_AFTER_S)
        tracked.touch(drifted.keys() - done, now)

    def _look_at(self, name: str, tracked: Tracked, now: float) -> bool:
        """Look at the touched objects alone; what that cannot settle is left to the look at everything."""
        touched, tracked.touched = tracked.touched, set()
        was_applied = tracked.applied == aim_of(tracked.wanted.value)
        try:
            looked = tracked.standing and self._reconciler.look_at(tracked.wanted, tracked.standing, touched)
        except EnvironmentFault:
            # The full look meets it again, and tells.
            looked = None
        if not looked:
            tracked.due_s = now
            return False
        tracked.standing, changes = looked
        for key in touched:
            tracked.again.pop(key, None)
        if tracked.standing.finding.changes.outcome is ReleaseOutcome.APPLIED:
            tracked.applied, tracked.failures = aim_of(tracked.wanted.value), 0
        ended = self._monotonic_s()
        rest(tracked, ended, written=tracked.standing.written)
        if was_applied and tracked.standing.written:
            tell_undone(name, tracked, changes)
        self._wait(name, tracked, changes, ended)
        if shakes(changes):
            tracked.due_s = now
        return True

    def _wait(self, name: str, tracked: Tracked, changes: ChangeSet, now: float) -> None:
        """Have what is not in place looked at again, by itself too, unless that would be in vain."""
        again = waiting(changes)
        if again and not changes.lasting:
            tracked.failures += 1
            pause = self._backoff.delay_s(tracked.failures)
            tracked.touch(again, now + min(pause, self._reconciler.contests.due_in_s(name) or pause))


def rest(tracked: Tracked, now: float, *, written: bool) -> None:
    """Have the next repair wait: a moment after a look that found nothing, after others write longer."""
    close = now - tracked.rest_until_s < REPAIRS_FORGOTTEN_S
    tracked.repairs = (tracked.repairs if close else 0) + written
    tracked.rest_until_s = now + REPAIRS.delay_s(tracked.repairs if written else 1)


def tell_undone(name: str, tracked: Tracked, changes: ChangeSet) -> None:
    """Say aloud that somebody else wrote: the same wish was in place before."""
    tracked.undone += 1
    undone = [r for r in changes.results if r.outcome in _WRITTEN]
    listed = [f"{r.key}: {r.reason}" for r in undone[:UNDONE_LISTED_MAX]]
    event(_LOG, "foreign write undone", level=logging.WARNING, release=name, objects=listed)
