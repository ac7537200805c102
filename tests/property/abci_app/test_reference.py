"""Machine and independent reference agree on random histories of proposals, judgements and rollbacks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from abci_app.check import Constants
from abci_app.machine import proposals as machine
from ledger import bodies, statekeys
from ledger.authority.decision import Decision
from ledger.errors import Code
from ledger.records import Parameters
from ledger.types import ActionKind
from tests.property.abci_app.reference import Outcome, Person, Reference
from tests.support.memory_state import CONSTANTS, MemoryState
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    NODE,
    ORGANISATION,
    Subject,
    configmap,
    identifier,
    judgement_body,
    release,
    requirement,
    seal,
)

PEOPLE = (ALICE, BOB, CAROL, AGENT, NODE, ORGANISATION)
WHO = st.sampled_from((ALICE, BOB, CAROL, ALICE, BOB, CAROL, *PEOPLE))
NAMES = st.sampled_from(("web", "api"))
CLUSTERS = st.sampled_from((("east",), ("east", "west"), ("west",), ("east", "mars")))
TTL = 6
REQUIREMENT = requirement(ttl_blocks=TTL)
JUDGEMENTS = (*[ActionKind.APPROVAL] * 3, ActionKind.REJECTION)


class Histories(RuleBasedStateMachine):
    """Does the same to the machine and to the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState()
        self.state.constants = Constants(
            CONSTANTS.chain_id, Parameters(image_digest_required=True, proposal_ttl_blocks=TTL)
        )
        self.reference = Reference(2, 2, TTL, {"east", "west"})
        self.reference.members = {person(who) for who in PEOPLE}
        self.proposals: list[bytes] = []
        self.nonces = itertools.count(1)

    def send(self, who: Subject, body: bytes) -> tuple[bytes, Outcome]:
        """Put one transaction into the next block."""
        tx = seal(who, body, next(self.nonces))
        (result,) = self.state.apply([tx])
        if result.code is not Code.OK:
            return tx, Outcome(result.code)
        receipt = json.loads(result.data)
        return tx, Outcome(Code.OK, receipt["state"], receipt["revision"])

    @property
    def next_height(self) -> int:
        """The height of the block that the next transaction is in."""
        return self.state.height + 1

    @rule(who=WHO, name=NAMES, clusters=CLUSTERS)
    def propose(self, who: Subject, name: str, clusters: tuple[str, ...]) -> None:
        manifests = [configmap("settings", str(len(self.proposals)))]
        body = bodies.release_body(release(name, clusters=clusters, manifests=manifests))
        wanted = self.reference.propose_release(person(who), name, clusters, self.next_height)
        self.expect_proposal(who, body, wanted)

    @rule(who=WHO, name=NAMES, to_revision=st.integers(1, 4))
    def roll_back(self, who: Subject, name: str, to_revision: int) -> None:
        wanted = self.reference.propose_rollback(person(who), name, to_revision, self.next_height)
        self.expect_proposal(who, bodies.rollback_body(name, to_revision), wanted)

    def expect_proposal(self, who: Subject, body: bytes, wanted: Outcome) -> None:
        tx, met = self.send(who, body)
        assert met == wanted
        if met.code is Code.OK:
            self.proposals.append(tx)

    @precondition(lambda self: self.proposals)
    @rule(who=st.sampled_from((ALICE, BOB, CAROL)), back=st.integers(0, 1))
    def approve(self, who: Subject, back: int) -> None:
        self.expect_judgement(who, back, ActionKind.APPROVAL, exact=True)

    @precondition(lambda self: self.proposals)
    @rule(who=st.sampled_from((ALICE, BOB, CAROL)))
    def approve_newest(self, who: Subject) -> None:
        self.expect_judgement(who, 0, ActionKind.APPROVAL, exact=True)

    @precondition(lambda self: self.proposals)
    @rule(who=WHO, back=st.integers(0, 3), kind=st.sampled_from(JUDGEMENTS), exact=st.booleans())
    def judge(self, who: Subject, back: int, kind: ActionKind, exact: bool) -> None:
        self.expect_judgement(who, back, kind, exact=exact)

    def expect_judgement(self, who: Subject, back: int, kind: ActionKind, *, exact: bool) -> None:
        number = max(0, len(self.proposals) - 1 - back)
        approves = kind is ActionKind.APPROVAL
        body = judgement_body(self.proposals[number], kind, REQUIREMENT)
        if not exact:
            body = bodies.judgement_body(kind, identifier(self.proposals[number]), "ab" * 32, REQUIREMENT)
        wanted = self.reference.judge(person(who), number, self.next_height, approves=approves, exact=exact)
        assert self.send(who, body)[1] == wanted

    @precondition(lambda self: len(self.proposals) > 2)
    @rule(who=st.sampled_from((ALICE, BOB, CAROL)), subject=st.sampled_from((ALICE, BOB, CAROL, AGENT)))
    def revoke(self, who: Subject, subject: Subject) -> None:
        wanted = self.reference.revoke(person(who), person(subject))
        assert self.send(who, bodies.revocation_body(subject.did))[1] == wanted

    @rule(blocks=st.integers(1, TTL))
    def wait(self, blocks: int) -> None:
        self.state.height += blocks

    @invariant()
    def releases_agree(self) -> None:
        for name, history in self.reference.releases.items():
            record = json.loads(self.state.content[statekeys.release(name)])
            assert (record["revision"], tuple(record["clusters"])) == (len(history), history[-1].clusters)
            for number, wanted in enumerate(history, 1):
                revision = json.loads(self.state.content[statekeys.revision(name, number)])
                assert revision["content"] == identifier(self.proposals[wanted.content])
                assert tuple(revision["clusters"]) == wanted.clusters
            assert statekeys.revision(name, len(history) + 1) not in self.state.content

    @invariant()
    def cases_agree(self) -> None:
        for tx, case in zip(self.proposals, self.reference.cases, strict=True):
            record = json.loads(self.state.content[statekeys.proposal(identifier(tx))])
            assert record["state"] == case.state
            assert len(record["approvals"]) == len(case.approved_by)
            assert len(record["rejections"]) == len(case.rejected_by)


def person(who: Subject) -> Person:
    """Give the reference's idea of a subject."""
    return Person(who.name, who.kind, who.organisation)


def run(examples: int, *phases: Phase) -> None:
    """Compare on so many random histories."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            phases=phases or tuple(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.requires("abci.reference")
def test_the_machine_agrees_with_the_reference() -> None:
    run(60)


@pytest.mark.requires("abci.reference")
def test_a_machine_with_another_quorum_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    def humans_only(_c: object, _r: object, _s: object, voices: list[object], _h: int) -> Decision:
        return Decision(len(voices) >= 2, len(voices), 2, 0, 0, ())

    monkeypatch.setattr(machine, "decide", humans_only)
    with pytest.raises(AssertionError):
        run(300, Phase.generate)


@pytest.mark.requires("abci.reference")
def test_a_machine_that_counts_the_revoked_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = machine._voices

    def forgetful(*arguments: Any) -> list[Any]:
        voices = honest(*arguments)
        for voice in voices:
            object.__setattr__(voice, "keys_revoked", False)
            object.__setattr__(voice, "subject", _Lively(voice.subject))
        return voices

    monkeypatch.setattr(machine, "_voices", forgetful)
    with pytest.raises(AssertionError):
        approve_and_be_revoked()


def approve_and_be_revoked() -> None:
    """Alice approves and is revoked; Carol's approval is then one of two, not the second."""
    history = Histories()
    body = bodies.release_body(release("web"))
    wanted = history.reference.propose_release(person(BOB), "web", ("east",), history.next_height)
    history.expect_proposal(BOB, body, wanted)
    history.expect_judgement(ALICE, 0, ActionKind.APPROVAL, exact=True)
    revoked = history.reference.revoke(person(BOB), person(ALICE))
    assert history.send(BOB, bodies.revocation_body(ALICE.did))[1] == revoked == Outcome(Code.OK)
    history.expect_judgement(CAROL, 0, ActionKind.APPROVAL, exact=True)
    history.cases_agree()


@pytest.mark.requires("abci.reference")
def test_an_approval_of_somebody_revoked_counts_no_more() -> None:
    approve_and_be_revoked()


class _Lively:
    """A subject that looks active whatever happened to its keys."""

    is_active = True

    def __init__(self, subject: Any) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)
