"""What became of a plan, object by object.

Owns the nouns of outcome and their sum. Promises that every step of a plan has exactly one result, that a
release counts as applied only when every wanted object is as signed, and a deleted one only when nothing that
was to go failed to. Never does anything.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from k8s_bridge.given_up import is_trouble, lasting
from k8s_bridge.objects import ObjectKey
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject


class Outcome(enum.StrEnum):
    """What happened to one object (docs/spec/ledger.md §2, Report)."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    SKIPPED = "skipped"
    CONFLICT = "conflict"
    FAILED = "failed"


class ReleaseOutcome(enum.StrEnum):
    """What happened to the release as a whole."""

    APPLIED = "applied"
    PARTIAL = "partial"
    FAILED = "failed"


IN_PLACE = frozenset({Outcome.CREATED, Outcome.CONFIGURED, Outcome.UNCHANGED})


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """The result of one step.

    Attributes:
        key: the object.
        outcome: what happened.
        wanted: the object is desired (False for a prune decision).
        code: OK, or why it did not happen.
        reason: the same, for people.
        live: the object afterwards, where known.
        fault: what the API server said, where it failed.
        rivals: other managers whose fields were taken back, as they name themselves.
    """

    key: ObjectKey
    outcome: Outcome
    wanted: bool
    code: Code = Code.OK
    reason: str = ""
    live: JsonObject | None = None
    fault: ConclaveError | None = field(default=None, compare=False)
    rivals: tuple[str, ...] = ()


_WAITING = frozenset({Code.OBJECT_CONTESTED, Code.OBJECT_TERMINATING, Code.INVENTORY_UNREADABLE})
"""Codes of what others, or this cluster's record, keep from being in place: no fault of the revision."""


def _waits(result: ObjectResult) -> bool:
    return result.code in _WAITING or is_trouble(result.fault)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The results of one plan, in the order they happened; ``removal`` if the release was to leave."""

    chain_id: str
    release: str
    revision: int
    results: tuple[ObjectResult, ...]
    removal: bool = False

    @property
    def outcome(self) -> ReleaseOutcome:
        """``applied``: all wanted objects in place and nothing failed; ``failed``: none in place.

        One that is contested is not in place. What others or the API server keep from being in place for now
        never makes a release failed: the machine would roll it back.
        Of a removal, ``applied``: nothing failed; ``failed``: something did and nothing left.
        """
        if self.removal:
            return self._removed()
        contested = any(result.code is Code.OBJECT_CONTESTED for result in self.results)
        waiting = any(_waits(result) for result in self.results if result.wanted)
        in_place = [result.outcome in IN_PLACE for result in self.results if result.wanted]
        failed = any(result.outcome is Outcome.FAILED for result in self.results)
        if all(in_place) and in_place and not failed and not contested:
            return ReleaseOutcome.APPLIED
        return ReleaseOutcome.PARTIAL if any(in_place) or waiting else ReleaseOutcome.FAILED

    @property
    def lasting(self) -> bool:
        """Whether all that is in the way would be in the way again: trying soon again is in vain."""
        obstacles = [result for result in self.results if result.code]
        return bool(obstacles) and all(lasting(result.fault) for result in obstacles)

    @property
    def changed(self) -> bool:
        """Whether anything on the cluster was changed."""
        return any(
            result.outcome in {Outcome.CREATED, Outcome.CONFIGURED, Outcome.DELETED}
            for result in self.results
        )

    def _removed(self) -> ReleaseOutcome:
        outcomes = {result.outcome for result in self.results}
        if Outcome.FAILED not in outcomes:
            return ReleaseOutcome.APPLIED
        return ReleaseOutcome.PARTIAL if Outcome.DELETED in outcomes else ReleaseOutcome.FAILED

    def counts(self) -> dict[str, int]:
        """Give how many objects had each outcome."""
        return {outcome.value: count for outcome, count in Counter(r.outcome for r in self.results).items()}
