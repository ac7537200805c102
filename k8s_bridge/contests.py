"""Which objects of the cluster are contested now, and saying so.

Owns the memory of every object's contest and what was last put in place of it. Promises that only a write of
somebody else counts (the same manifest was in place before), that a contested object carries OBJECT_CONTESTED
with the other managers' names as long as the contest lasts, and that beginning and end are logged once each.
Never writes to the cluster; how long an object rests is ``contest``'s to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from k8s_bridge.changeset import IN_PLACE, ChangeSet, ObjectResult, Outcome
from k8s_bridge.contest import Contest, Rule, in_place, undone
from k8s_bridge.desired import Desired
from k8s_bridge.objects import ObjectKey
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from runtime.log import event

_LOG = logging.getLogger("bridge.contest")
_WRITTEN = frozenset({Outcome.CREATED, Outcome.CONFIGURED})


@dataclass(slots=True)
class _Known:
    """Of one release: what was put in place, and what others did to it."""

    placed: dict[ObjectKey, JsonObject] = field(default_factory=dict)
    contests: dict[ObjectKey, Contest] = field(default_factory=dict)


class Contests:
    """The contests of one bridge; used by its loop alone.

    Args:
        monotonic: seconds of a clock that never goes back.
        rule: when an object is contested.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, rule: Rule | None = None) -> None:
        self._monotonic = monotonic
        self._rule = rule or Rule()
        self._releases: dict[str, _Known] = {}

    def resting(self, release: str) -> dict[ObjectKey, EnvironmentFault]:
        """Give the objects that are left alone for now, each with why."""
        now = self._monotonic()
        contests = self._contests(release)
        return {key: _fault(key, contest) for key, contest in contests.items() if contest.resting(now)}

    def due_in_s(self, release: str) -> float | None:
        """Give in how many seconds a look would tell more of a contest; None where there is none."""
        now = self._monotonic()
        contests = [contest for contest in self._contests(release).values() if contest.contested]
        dues = [c.until_s if c.resting(now) else c.over_s(self._rule) for c in contests]
        return max(0.0, min(dues) - now) if dues else None

    def keep(self, releases: Collection[str]) -> None:
        """Forget the releases that are not among these."""
        self._releases = {name: known for name, known in self._releases.items() if name in releases}

    def learn(self, desired: Desired, changes: ChangeSet, *, whole: bool = True) -> ChangeSet:
        """Take what an apply came to; gives it with the contested objects marked.

        ``whole`` tells that it was about all objects of the release: of others no contest is left.
        """
        now, known = self._monotonic(), self._releases.setdefault(desired.release, _Known())
        before = known.contests
        known.contests = {} if whole else {k: c for k, c in before.items() if k not in _keys(changes)}
        results = []
        for result in changes.results:
            manifest = desired.objects.get(result.key) if result.wanted else None
            if manifest is None:
                results.append(result)
                continue
            contest = self._judge(result, manifest, known.placed, before.get(result.key), now)
            if contest is not None:
                known.contests[result.key] = contest
            if result.outcome in IN_PLACE:
                known.placed[result.key] = manifest
            results.append(_marked(result, contest))
        known.placed = {key: placed for key, placed in known.placed.items() if key in desired.objects}
        _tell(desired.release, before, known.contests)
        return replace(changes, results=tuple(results))

    def _judge(
        self,
        result: ObjectResult,
        manifest: JsonObject,
        placed: dict[ObjectKey, JsonObject],
        before: Contest | None,
        now_s: float,
    ) -> Contest | None:
        if result.outcome in _WRITTEN and placed.get(result.key) == manifest:
            return undone(before, now_s, result.rivals, self._rule)
        return in_place(before, now_s, self._rule) if result.outcome in IN_PLACE else before

    def _contests(self, release: str) -> dict[ObjectKey, Contest]:
        known = self._releases.get(release)
        return known.contests if known is not None else {}


def _keys(changes: ChangeSet) -> set[ObjectKey]:
    return {result.key for result in changes.results}


def _marked(result: ObjectResult, contest: Contest | None) -> ObjectResult:
    if contest is None or not contest.contested or result.code not in {Code.OK, Code.OBJECT_CONTESTED}:
        return result
    fault = _fault(result.key, contest)
    return replace(result, code=Code.OBJECT_CONTESTED, reason=str(fault), fault=fault, rivals=contest.rivals)


def _fault(key: ObjectKey, contest: Contest) -> EnvironmentFault:
    who = ", ".join(contest.rivals) or "somebody the API server does not name"
    return EnvironmentFault(
        Code.OBJECT_CONTESTED,
        got=f"written by {who}, undone {contest.count} times",
        expected="no other writer of what this release sets",
        todo="stop that writer, or leave its field out of the manifest; the bridge goes on, with pauses",
        object=str(key),
        rivals=list(contest.rivals),
    )


def _tell(release: str, before: dict[ObjectKey, Contest], after: dict[ObjectKey, Contest]) -> None:
    for key in _contested(after) - _contested(before):
        event(
            _LOG,
            "object contested",
            level=logging.WARNING,
            release=release,
            **_fault(key, after[key]).to_json(),
        )
    for key in _contested(before) - _contested(after):
        event(_LOG, "object no longer contested", release=release, object=str(key))


def _contested(contests: dict[ObjectKey, Contest]) -> set[ObjectKey]:
    return {key for key, contest in contests.items() if contest.contested}
