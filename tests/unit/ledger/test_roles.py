"""Who may say what, and when a proposal is approved."""

from __future__ import annotations

import pytest

from ledger import roles
from ledger.errors import Code
from ledger.roles import ApprovalRule, Identity
from ledger.types import ActionKind, Did, SubjectKind
from tests.support.refusal import refusal_of

ALLOWED = {
    SubjectKind.HUMAN: {ActionKind.PROPOSAL, ActionKind.APPROVAL, ActionKind.REJECTION},
    SubjectKind.AGENT: {ActionKind.PROPOSAL},
    SubjectKind.NODE: {ActionKind.REPORT},
    SubjectKind.ORGANISATION: set(),
}


def subject(name: str, organisation: str = "a", kind: SubjectKind = SubjectKind.HUMAN) -> Identity:
    return Identity(Did(f"did:key:{name}"), name, kind, organisation)


@pytest.mark.requires("ledger.verbs")
@pytest.mark.parametrize("kind", SubjectKind)
@pytest.mark.parametrize("action", ActionKind)
def test_verbs_of_each_kind(kind: SubjectKind, action: ActionKind) -> None:
    if action in ALLOWED[kind]:
        roles.check_verb(subject("s", kind=kind), action)
        return
    judging = action in (ActionKind.APPROVAL, ActionKind.REJECTION)
    agent = kind is SubjectKind.AGENT and judging
    code = Code.AGENT_MAY_NOT_APPROVE if agent else Code.VERB_NOT_ALLOWED
    refusal_of(lambda: roles.check_verb(subject("s", kind=kind), action), code)


@pytest.mark.requires("ledger.quorum")
@pytest.mark.parametrize(
    ("approvers", "approved"),
    [
        ([], False),
        ([subject("a")], False),
        ([subject("a"), subject("a")], False),
        ([subject("a"), subject("b")], False),
        ([subject("a"), subject("c", "b")], True),
        ([subject("a"), subject("c", "b", SubjectKind.AGENT)], False),
        ([subject("a"), subject("c", "b", SubjectKind.NODE)], False),
        ([subject("a"), subject("b"), subject("c", "b", SubjectKind.ORGANISATION)], False),
        ([subject("a"), subject("b"), subject("c", "b"), subject("d", "c")], True),
    ],
)
def test_two_humans_of_two_organisations(approvers: list[Identity], approved: bool) -> None:
    assert roles.decide(ApprovalRule("default", 2, 2), approvers).approved is approved
    assert roles.decide(ApprovalRule("default", 2, 2), approvers[::-1]).approved is approved


@pytest.mark.requires("ledger.quorum")
def test_the_decision_says_who_counted() -> None:
    given = [subject("a"), subject("a"), subject("b"), subject("x", "z", SubjectKind.AGENT)]
    decision = roles.decide(ApprovalRule("default", 3, 1), given)
    assert (decision.approved, decision.humans, decision.organisations) == (False, 2, 1)
