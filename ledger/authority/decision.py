"""Is a proposal approved? Is it denied?

Owns the counting of voices. ``decide`` is the one place where "approved?" is answered: the machine asks it
when it executes, and every verifier asks it again. Promises that a voice that cannot be judged does not
count. Source: docs/spec/authority.md §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.authority.constitution import Constitution, Subject, check_may, holds_role, may
from ledger.authority.objects import Verb
from ledger.authority.requirement import Requirement
from ledger.authority.scope import Scope
from ledger.errors import Code, Refused
from ledger.types import JsonObject, SubjectKind


@dataclass(frozen=True, slots=True)
class Voice:
    """An approval or rejection as it stands now: whose, whether its keys were revoked, which requirement."""

    subject: Subject
    keys_revoked: bool
    requirement: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was counted, and what is still missing.

    Attributes:
        roles: places of the quorum nobody fills, by role.
    """

    approved: bool
    humans: int
    organisations: int
    missing_humans: int
    missing_organisations: int
    roles: tuple[tuple[str, int], ...]

    def missing(self) -> JsonObject:
        """Give what is still missing, as people read it."""
        return {
            "humans": self.missing_humans,
            "organisations": self.missing_organisations,
            "quorum": [{"role": role, "count": count} for role, count in self.roles],
        }


def check_voice(
    constitution: Constitution, requirement: Requirement, subject: Subject, scope: Scope, height: int
) -> None:
    """The subject may approve, and so reject, such a change.

    Raises:
        Refused: PERMISSION_DENIED, LIMIT_EXCEEDED.
    """
    if requirement.members is None:
        check_may(constitution, subject, Verb.APPROVE, scope, height)
    else:
        check_member(requirement, subject)


def check_member(requirement: Requirement, subject: Subject) -> None:
    """The subject is a human member of the break-glass object.

    Raises:
        Refused: PERMISSION_DENIED.
    """
    if subject.kind is not SubjectKind.HUMAN or subject.did not in (requirement.members or ()):
        raise Refused(
            Code.PERMISSION_DENIED,
            got=f"{subject.kind.value} {subject.name}",
            expected="a human member of the break-glass object",
            todo="ask a member",
        )


def decide(
    constitution: Constitution,
    requirement: Requirement,
    scope: Scope,
    voices: Sequence[Voice],
    height: int,
) -> Decision:
    """Judge approvals: each human and each organisation counts once, each human fills one place of a quorum.

    Args:
        constitution: in force now.
        requirement: of the change now.
        scope: of the change now.
        voices: the approvals.
        height: now.
    """
    humans = counted(constitution, requirement, scope, voices, height)
    return decide_seats(constitution, requirement, scope, humans, height)


def decide_seats(
    constitution: Constitution,
    requirement: Requirement,
    scope: Scope,
    humans: Sequence[Subject],
    height: int,
    *,
    lasting: bool = False,
) -> Decision:
    """Judge whether these humans together satisfy a requirement, each of them approving.

    Args:
        constitution: in force now.
        requirement: of the change.
        scope: of the change.
        humans: each once.
        height: now.
        lasting: count only roles that no bound by height will end.
    """
    organisations = {human.organisation for human in humans}
    places = [role for role, count in requirement.quorum for _ in range(count)]
    fits: dict[str, set[str]] = {
        human.did: {
            role
            for role, _ in requirement.quorum
            if holds_role(constitution, human.did, role, scope, height, lasting=lasting)
        }
        for human in humans
    }
    unfilled = _unfilled(places, [human.did for human in humans], fits)
    missing_humans = max(0, requirement.humans - len(humans))
    missing_organisations = max(0, requirement.organisations - len(organisations))
    return Decision(
        approved=not (missing_humans or missing_organisations or unfilled),
        humans=len(humans),
        organisations=len(organisations),
        missing_humans=missing_humans,
        missing_organisations=missing_organisations,
        roles=tuple((role, unfilled.count(role)) for role in sorted(set(unfilled))),
    )


def denied(
    constitution: Constitution,
    requirement: Requirement,
    scope: Scope,
    voices: Sequence[Voice],
    height: int,
) -> bool:
    """Judge rejections: enough humans who could have approved."""
    return len(counted(constitution, requirement, scope, voices, height)) >= requirement.deny_threshold


def counted(
    constitution: Constitution,
    requirement: Requirement,
    scope: Scope,
    voices: Sequence[Voice],
    height: int,
) -> list[Subject]:
    """Give the humans whose voices count now, each once, by DID."""
    found: dict[str, Subject] = {}
    for voice in voices:
        subject = voice.subject
        if (
            subject.did not in found
            and subject.kind is SubjectKind.HUMAN
            and subject.is_active
            and not voice.keys_revoked
            and voice.requirement == requirement.digest
            and _may_approve(constitution, requirement, subject, scope, height)
        ):
            found[subject.did] = subject
    return [found[did] for did in sorted(found)]


def _may_approve(
    constitution: Constitution, requirement: Requirement, subject: Subject, scope: Scope, height: int
) -> bool:
    if requirement.members is not None:
        return subject.did in requirement.members
    try:
        return may(constitution, subject, Verb.APPROVE, scope, height)
    except Refused as refusal:
        if refusal.code is not Code.LIMIT_EXCEEDED:
            raise
        # Bound to so much since that it cannot be judged: one voice must not stop the others.
        return False


def _unfilled(places: list[str], humans: list[str], fits: dict[str, set[str]]) -> list[str]:
    """Give the places of a quorum that stay empty however the humans are seated (augmenting paths)."""
    seated: dict[str, int] = {}

    def seat(place: int, tried: set[str]) -> bool:
        for human in humans:
            if human in tried or places[place] not in fits[human]:
                continue
            tried.add(human)
            if human not in seated or seat(seated[human], tried):
                seated[human] = place
                return True
        return False

    return [places[place] for place in range(len(places)) if not seat(place, set())]
