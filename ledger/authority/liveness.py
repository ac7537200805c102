"""No lockout: somebody can always change the constitution again.

Owns the invariant of the theorem. The machine asks after every change to the constitution, and to who lives
under it. Promises that what it passes stays possible as time goes on, for every object of a kind whatever its
name. Source: docs/spec/authority.md §6.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.authority.constitution import Constitution, Subject, may_lastingly
from ledger.authority.decision import decide_seats
from ledger.authority.objects import Verb
from ledger.authority.requirement import Requirement, requirement
from ledger.authority.scope import Operation, Risk, Scope, Touch, ledger_kind
from ledger.errors import Code, Refused
from ledger.limits import APPROVALS_PER_PROPOSAL_MAX
from ledger.types import SubjectKind

GOVERNING_KINDS = ("ApprovalRule", "BreakGlass", "Identity", "Parameters", "Role", "RoleBinding")
"""Kinds whose change must stay possible: by them every other class of change can be made possible again."""
_ANY_NAME = "?"
"""A name no object has, that only ``*`` allows; a denial of any names counts for it (``may_lastingly``)."""
_SCOPES = {
    kind: Scope(Operation.CONFIGURE, (Touch(ledger_kind(kind), "-", _ANY_NAME),), ("-",), Risk.CONSTITUTION)
    for kind in GOVERNING_KINDS
}
_TTL_BLOCKS = 1
"""How long a proposal lives does not matter here."""


def check_not_locked_out(constitution: Constitution, subjects: Iterable[Subject], height: int) -> None:
    """For each governing kind a living human may propose a change and enough of them may approve it.

    Agents do not count: any of them can be cut off at any time.

    Args:
        constitution: as it would be.
        subjects: everybody who is bound to something.
        height: now.

    Raises:
        Refused: LOCKOUT with the kind that could never be changed again.
    """
    living = [s for s in subjects if s.is_living and s.kind is SubjectKind.HUMAN]
    for kind, scope in _SCOPES.items():
        try:
            needed = requirement(constitution, scope, _TTL_BLOCKS)
        except Refused as refusal:
            if refusal.code is not Code.NO_RULE_MATCHES:
                raise
            raise _lockout(kind, "no rule judges it", "an approval rule that matches") from None
        most = most_voices(needed)
        if most > APPROVALS_PER_PROPOSAL_MAX:
            expected = f"at most {APPROVALS_PER_PROPOSAL_MAX}, which is what a proposal holds"
            raise _lockout(kind, f"up to {most} approvals could be needed", expected)
        if not any(may_lastingly(constitution, s, Verb.PROPOSE, scope, height) for s in living):
            raise _lockout(kind, "nobody could propose it", "a living human who may")
        voices = [s for s in living if may_lastingly(constitution, s, Verb.APPROVE, scope, height)]
        decision = decide_seats(constitution, needed, scope, voices, height, lasting=True)
        if not decision.approved:
            raise _lockout(
                kind,
                f"{decision.humans} humans of {decision.organisations} organisations could approve it",
                f"{needed.humans} of {needed.organisations}, and every role of the quorum",
            )


def most_voices(needed: Requirement) -> int:
    """Give how many humans satisfy a requirement, however badly places and organisations fall together."""
    places = sum(count for _, count in needed.quorum)
    # Who fills the first place brings one organisation along; each of the others may need one more human.
    return max(needed.humans, places + needed.organisations - (1 if places else 0))


def _lockout(kind: str, got: str, expected: str) -> Refused:
    return Refused(
        Code.LOCKOUT,
        got=f"a change of {kind}: {got}",
        expected=expected,
        todo="keep enough subjects who may propose and approve changes of the constitution",
        kind=kind,
    )
