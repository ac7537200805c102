"""Who may say what, and when a proposal has been approved.

Owns the verbs of each subject kind and the approval rule. ``decide`` is the one place where "approved?" is
answered: the machine asks it when it executes, and every verifier asks it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.errors import Code, Refused
from ledger.types import ActionKind, Did, SubjectKind

DEFAULT_RULE = "default"
"""The approval rule that judges every proposal, until rules match by what a proposal changes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject as the ledger knows it. ``cluster`` is set for nodes only."""

    did: Did
    name: str
    kind: SubjectKind
    organisation: str
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """How many distinct humans, of how many distinct organisations, must approve."""

    name: str
    humans: int
    organisations: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What an approval rule says of a set of approvers."""

    approved: bool
    humans: int
    organisations: int


_VERBS: Mapping[SubjectKind, frozenset[ActionKind]] = {
    SubjectKind.HUMAN: frozenset({ActionKind.PROPOSAL, ActionKind.APPROVAL, ActionKind.REJECTION}),
    SubjectKind.AGENT: frozenset({ActionKind.PROPOSAL}),
    SubjectKind.NODE: frozenset({ActionKind.REPORT}),
    SubjectKind.ORGANISATION: frozenset(),
}


def check_verb(identity: Identity, action: ActionKind) -> None:
    """Check that a subject of this kind may perform this action.

    Raises:
        Refused: AGENT_MAY_NOT_APPROVE or VERB_NOT_ALLOWED.
    """
    if action in _VERBS[identity.kind]:
        return
    judging = action in (ActionKind.APPROVAL, ActionKind.REJECTION)
    if identity.kind is SubjectKind.AGENT and judging:
        raise Refused(
            Code.AGENT_MAY_NOT_APPROVE,
            got=f"agent {identity.name}",
            expected="a human",
            todo="ask a human to review the proposal",
        )
    raise Refused(
        Code.VERB_NOT_ALLOWED,
        got=f"{identity.kind.value} {identity.name}: {action.value}",
        expected=", ".join(sorted(a.value for a in _VERBS[identity.kind])) or "nothing",
    )


def decide(rule: ApprovalRule, approvers: Iterable[Identity]) -> Decision:
    """Judge the approvals of a proposal: each human and each organisation counts once; nobody else counts."""
    humans = {a.did: a for a in approvers if a.kind is SubjectKind.HUMAN}
    organisations = {a.organisation for a in humans.values()}
    return Decision(
        approved=len(humans) >= rule.humans and len(organisations) >= rule.organisations,
        humans=len(humans),
        organisations=len(organisations),
    )
