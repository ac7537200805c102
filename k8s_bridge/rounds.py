"""A plan that was overtaken is made again, at once.

Owns when another round is due and how rounds add up to one set of results. Between looking at an object and
writing it others write too. A write bound to what was seen is then refused with 409, nobody's fault; and an
apply leaves fields that were added since; its answer is taken as known, so that no watch tells of them later.
Promises at most ``ROUNDS_MAX`` rounds, that whatever one of them did is told, and that what is refused
otherwise is not tried again here. Pure but for the rounds themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.co_owners import foreign_of

ROUNDS_MAX = 3
_CONFLICT = 409
_DONE = frozenset({Outcome.CREATED, Outcome.CONFIGURED, Outcome.DELETED})


def until_undisturbed(round_of: Callable[[], ChangeSet]) -> ChangeSet:
    """Plan and carry out until nothing was overtaken, or ``ROUNDS_MAX`` times; give the sum.

    Raises:
        ConclaveError: what a round raises.
    """
    found = round_of()
    for _ in range(ROUNDS_MAX - 1):
        if not any(map(_overtaken, found.results)):
            break
        found = added(found, round_of())
    return found


def added(earlier: ChangeSet, later: ChangeSet) -> ChangeSet:
    """Give the results of two rounds as one: what the later one found in place keeps how it came there."""
    before = {(result.key, result.wanted): result for result in earlier.results}
    results = [_sum(before.pop((result.key, result.wanted), None), result) for result in later.results]
    gone = [result for result in before.values() if result.outcome is Outcome.DELETED]
    return replace(later, results=(*results, *gone))


def _sum(earlier: ObjectResult | None, later: ObjectResult) -> ObjectResult:
    if earlier is None:
        return later
    was_done = earlier.outcome in _DONE and later.outcome is Outcome.UNCHANGED
    return replace(
        later,
        outcome=earlier.outcome if was_done else later.outcome,
        rivals=tuple(sorted({*earlier.rivals, *later.rivals})),
    )


def _overtaken(result: ObjectResult) -> bool:
    if result.fault is not None:
        return result.fault.facts.get("status") == _CONFLICT
    # What admission adds looks the same here: the look that follows tells the two apart.
    wrote = result.outcome is Outcome.CONFIGURED and result.live is not None
    return wrote and foreign_of(result.key, result.live or {}) is not None
