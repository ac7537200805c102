"""What the machine knows of agents: their policies and suspensions, told block by block."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abci_app.check import open_envelope
from abci_app.dry_run import dry_run
from abci_app.genesis import genesis_state
from abci_app.machine.context import Context
from consensus.listing import listing
from ledger import account as accounts
from ledger import agent_records, bodies, canonical, records, standard, statekeys
from ledger.authority.objects import read_stored
from ledger.authority.patterns import is_guarded
from ledger.errors import Code
from ledger.records import IncidentKind
from ledger.types import ActionKind, JsonObject, ProposalState
from state.reader import Overlay
from tests.support.agents import BUDGET, policy_object
from tests.support.memory_state import CONSTANTS
from tests.support.refusal import refusal_of
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    CHAIN_ID,
    NODE,
    ORGANISATION,
    OTHER_NODE,
    STRANGER,
    Subject,
    genesis_bytes,
    genesis_document,
    judgement_body,
    release,
)
from tests.unit.abci_app.test_governance import Story, delayed

SCOUT = Subject("scout", kind="agent")
POLICY = policy_object("agent", AGENT.did, NODE.did)
WORDS = [{"path": f"field{n:02}", "type": "name", "patterns": ["*"], "usual": ["x" * 253]} for n in range(64)]
LARGE = [{"tool": f"tool{n}", "arguments": WORDS, "budget": BUDGET} for n in range(4)]


@pytest.mark.requires("agents.policy")
def test_a_policy_is_put_with_every_version_and_removed_by_the_quorum() -> None:
    story = Story()
    constitution = story.state.content[statekeys.CONSTITUTION]
    story.configure(POLICY)
    story.configure(policy_object("agent", AGENT.did, NODE.did, OTHER_NODE.did))
    stored = read_stored(story.state.content[statekeys.ledger_object("AgentPolicy", "agent")])
    assert (stored.version, stored.spec["guards"]) == (2, sorted((NODE.did, OTHER_NODE.did)))
    first = read_stored(story.state.content[statekeys.ledger_object_version("AgentPolicy", "agent", 1)])
    assert first.spec == POLICY["spec"]
    story.configure(remove=[("AgentPolicy", "agent")])
    assert statekeys.ledger_object("AgentPolicy", "agent") not in story.state.content
    assert story.state.content[statekeys.CONSTITUTION] == constitution


@pytest.mark.requires("agents.policy")
@pytest.mark.parametrize(
    ("policy", "code", "field"),
    [
        (policy_object("agent", SCOUT.did), Code.SIGNER_UNKNOWN, None),
        (policy_object("agent", ALICE.did), Code.FIELD_INVALID, "spec.agent"),
        (policy_object("alice", ALICE.did), Code.FIELD_INVALID, "spec.agent"),
        (policy_object("other", AGENT.did), Code.FIELD_INVALID, "spec.agent"),
        (policy_object("agent", AGENT.did, STRANGER.did), Code.SIGNER_UNKNOWN, None),
        (policy_object("agent", AGENT.did, ALICE.did), Code.FIELD_INVALID, "spec.guards[0]"),
        (policy_object("agent", AGENT.did, surplus=1), Code.FIELD_UNKNOWN, "spec.surplus"),
        (policy_object("agent", AGENT.did, tools=LARGE), Code.LIMIT_EXCEEDED, "spec"),
    ],
)
def test_a_policy_of_somebody_else_or_of_another_form_is_refused(
    policy: JsonObject, code: Code, field: str | None
) -> None:
    story = Story()
    assert story.refused(policy) is code
    assert story.state.result is not None
    refusal = story.state.result.results[0].refusal
    assert refusal is not None
    assert refusal.facts.get("field") == field


@pytest.mark.requires("agents.policy")
def test_an_agent_and_its_policy_come_in_one_change() -> None:
    story = Story()
    story.configure(story.identity(SCOUT), policy_object("scout", SCOUT.did))
    assert statekeys.ledger_object("AgentPolicy", "scout") in story.state.content


@pytest.mark.requires("agents.policy")
def test_a_genesis_may_hold_policies_of_its_agents_only() -> None:
    def made(policy: JsonObject) -> dict[bytes, bytes]:
        document: Any = genesis_document()
        document["objects"].insert(0, policy)
        return genesis_state(genesis_bytes(document), CHAIN_ID)

    stored = read_stored(made(POLICY)[statekeys.ledger_object("AgentPolicy", "agent")])
    assert (stored.version, stored.height, stored.authority) == (1, 0, None)
    refusal_of(lambda: made(policy_object("alice", ALICE.did)), Code.GENESIS_INVALID)


@pytest.mark.requires("agents.policy")
def test_the_kind_of_a_policy_has_to_be_named() -> None:
    assert is_guarded("AgentPolicy.conclave.internal")
    (governor,) = [o for o in standard.objects([("a", "did:key:a")]) if o["metadata"]["name"] == "governor"]
    assert "AgentPolicy.conclave.internal" in json.dumps(governor)


SUSPENDED = statekeys.suspension(AGENT.did)
GUARDED = bodies.suspension_body(AGENT.did, code=905, evidence="cd" * 32)
BY_HAND = bodies.suspension_body(AGENT.did, reason="it repeats itself")


def watched() -> Story:
    """Give a ledger on which ``NODE`` watches over the agent."""
    story = Story()
    story.configure(POLICY)
    return story


def say(story: Story, who: Subject, body: bytes) -> Code:
    """Let somebody say something; give the code."""
    (code,) = story.codes(story.pen.write(who, body))
    return code


@pytest.mark.requires("agents.suspension")
@pytest.mark.parametrize(("who", "body"), [(NODE, GUARDED), (BOB, BY_HAND)])
def test_a_guard_or_a_person_cuts_an_agent_off_and_the_quorum_lets_it_back(who: Subject, body: bytes) -> None:
    story = watched()
    assert say(story, who, body) is Code.OK
    record = agent_records.read_suspension(story.state.content[SUSPENDED])
    wanted = json.loads(body)
    assert (record.agent, record.name, record.by) == (AGENT.did, "agent", who.did)
    assert (record.code, record.evidence) == (wanted.get("code"), wanted.get("evidence"))
    assert (record.reason, record.height) == (wanted.get("reason", ""), story.state.height)
    incident = records.read_incident(story.state.content[statekeys.incident(record.incident)])
    assert (incident.kind, incident.subject) == (IncidentKind.AGENT_SUSPENDED, AGENT.did)
    assert listing(story.state.get, statekeys.INDEX_SUSPENSIONS) == (AGENT.did,)
    assert say(story, AGENT, bodies.release_body(release())) is Code.AGENT_SUSPENDED
    assert say(story, who, body) is Code.OBJECT_DUPLICATE
    story.configure(remove=[("Suspension", "agent")])
    assert SUSPENDED not in story.state.content
    assert listing(story.state.get, statekeys.INDEX_SUSPENSIONS) == ()
    assert say(story, AGENT, bodies.release_body(release())) is Code.OK
    assert story.refused(remove=[("Suspension", "agent")]) is Code.OBJECT_UNKNOWN
    assert story.refused(remove=[("Suspension", "nobody")]) is Code.OBJECT_UNKNOWN


@pytest.mark.requires("agents.suspension")
@pytest.mark.parametrize(
    ("who", "body", "code"),
    [
        (OTHER_NODE, GUARDED, Code.PERMISSION_DENIED),
        (NODE, bodies.suspension_body(SCOUT.did, code=905, evidence="cd" * 32), Code.SIGNER_UNKNOWN),
        (NODE, bodies.suspension_body(ALICE.did, code=905, evidence="cd" * 32), Code.FIELD_INVALID),
        (BOB, bodies.suspension_body(NODE.did), Code.FIELD_INVALID),
        (NODE, bodies.suspension_body(AGENT.did, code=905), Code.FIELD_MISSING),
        (NODE, bodies.suspension_body(AGENT.did, evidence="cd" * 32), Code.FIELD_MISSING),
        (BOB, bodies.suspension_body(AGENT.did, code=0), Code.FIELD_INVALID),
        (BOB, bodies.suspension_body(AGENT.did, evidence="cd"), Code.FIELD_INVALID),
        (BOB, bodies.suspension_body(AGENT.did, reason="x" * 1025), Code.LIMIT_EXCEEDED),
        (AGENT, BY_HAND, Code.VERB_NOT_ALLOWED),
        (ORGANISATION, BY_HAND, Code.VERB_NOT_ALLOWED),
    ],
)
def test_nobody_else_and_nothing_else_cuts_an_agent_off(who: Subject, body: bytes, code: Code) -> None:
    story = watched()
    assert say(story, who, body) is code
    assert SUSPENDED not in story.state.content


@pytest.mark.requires("agents.suspension")
def test_a_node_watches_over_nobody_without_a_policy_that_says_so() -> None:
    story = watched()
    story.configure(policy_object("agent", AGENT.did, OTHER_NODE.did))
    assert say(story, NODE, GUARDED) is Code.PERMISSION_DENIED
    story.configure(remove=[("AgentPolicy", "agent")])
    assert say(story, OTHER_NODE, GUARDED) is Code.PERMISSION_DENIED


@pytest.mark.requires("agents.suspension")
def test_a_human_needs_the_verb_freeze_for_this_agent() -> None:
    story = watched()
    guardian = {"effect": "allow", "verbs": ["freeze", "revoke"], "namespaces": ["*"], "clusters": ["*"]}
    kinds = ["Freeze.conclave.internal", "Identity.conclave.internal", "Suspension.conclave.internal"]
    narrow = {**guardian, "kinds": kinds, "names": ["other-*"]}
    story.configure(standard.ledger_object("Role", "guardian", {"rules": [narrow]}))
    assert say(story, BOB, BY_HAND) is Code.PERMISSION_DENIED
    story.configure(standard.ledger_object("Role", "guardian", {"rules": [{**narrow, "names": ["agent"]}]}))
    assert say(story, BOB, BY_HAND) is Code.OK


@pytest.mark.requires("agents.suspension")
def test_every_envelope_of_a_suspended_agent_is_refused_and_uses_up_nothing() -> None:
    story = watched()
    assert say(story, NODE, GUARDED) is Code.OK
    before = dict(story.state.content)
    for body in (
        bodies.release_body(release()),
        bodies.revocation_body(AGENT.did),
        bodies.deactivation_body(),
        bodies.freeze_body("x"),
    ):
        assert say(story, AGENT, body) is Code.AGENT_SUSPENDED
    assert story.state.content == before


@pytest.mark.requires("agents.suspension-proposals")
def test_what_a_suspended_agent_asked_for_can_be_rejected_but_not_approved() -> None:
    story = watched()
    first = story.propose(bodies.release_body(release()), AGENT)
    second = story.propose(bodies.release_body(release("other")), AGENT)
    assert story.approve(BOB, first) is Code.OK
    assert say(story, NODE, GUARDED) is Code.OK
    assert story.approve(CAROL, first) is Code.AGENT_SUSPENDED
    assert story.record(first).state is ProposalState.OPEN
    (code,) = story.codes(story.pen.reject(CAROL, second))
    assert (code, story.record(second).state) == (Code.OK, ProposalState.REJECTED)
    story.configure(remove=[("Suspension", "agent")])
    assert story.approve(CAROL, first) is Code.OK
    assert story.record(first).state is ProposalState.FINAL


@pytest.mark.requires("agents.suspension-proposals")
def test_what_a_suspended_agent_asked_for_fails_when_its_delay_is_over() -> None:
    story = watched()
    story.configure(delayed(60))
    tx = story.propose(bodies.release_body(release()), AGENT)
    assert [story.approve(BOB, tx), story.approve(CAROL, tx)] == [Code.OK] * 2
    assert story.record(tx).state is ProposalState.APPROVED
    assert say(story, BOB, BY_HAND) is Code.OK
    story.state.time += 60
    assert story.codes() == []
    found = story.record(tx)
    assert (found.state, found.code) == (ProposalState.FAILED, Code.AGENT_SUSPENDED)
    assert statekeys.release("web") not in story.state.content
    account = accounts.read(story.state.get(statekeys.account(AGENT.did)))
    assert account.open == ()


@pytest.mark.requires("agents.suspension")
def test_a_suspension_is_urgent_and_told_to_watchers() -> None:
    story = watched()
    tx = story.pen.write(NODE, GUARDED)
    assert open_envelope(tx, CONSTANTS).is_urgent
    (result,) = story.state.apply([tx])
    told = {event.kind: dict(event.attributes) for event in result.events}
    assert told["conclave.suspension"] == {
        "agent": AGENT.did, "name": "agent", "by": NODE.did, "code": "905", "state": "suspended",
    }  # fmt: skip
    assert told["conclave.incident"]["kind"] == "agent-suspended"


@pytest.mark.requires("agents.suspension")
def test_the_dry_run_of_a_suspended_agent_says_so() -> None:
    story = watched()
    assert say(story, BOB, BY_HAND) is Code.OK
    ctx = Context(Overlay(story.state), story.state.height + 1, story.state.time, CONSTANTS)
    question = {"signer": AGENT.did, "body": json.loads(bodies.release_body(release()))}
    assert dry_run(ctx, canonical.dump(question))["code"] == Code.AGENT_SUSPENDED


@pytest.mark.requires("agents.take-back")
def test_an_agent_takes_back_what_it_proposed_and_nothing_else() -> None:
    story = Story()
    mine = story.propose(bodies.release_body(release()), AGENT)
    theirs = story.propose(bodies.release_body(release("other")))
    for other in (theirs, story.pen.propose(ALICE)):
        assert story.codes(story.pen.reject(AGENT, other)) == [Code.AGENT_MAY_NOT_APPROVE]
    assert story.codes(story.pen.approve(AGENT, mine)) == [Code.AGENT_MAY_NOT_APPROVE]
    assert story.approve(BOB, mine) is Code.OK
    assert story.codes(story.pen.reject(AGENT, mine)) == [Code.OK]
    assert (story.record(mine).state, len(story.record(mine).rejections)) == (ProposalState.REJECTED, 1)
    account = accounts.read(story.state.get(statekeys.account(AGENT.did)))
    assert account.open == ()
    assert story.codes(story.pen.reject(AGENT, mine)) == [Code.PROPOSAL_NOT_OPEN]
    assert story.record(theirs).state is ProposalState.OPEN


@pytest.mark.requires("agents.take-back")
def test_an_agent_takes_back_what_waits_for_its_delay() -> None:
    story = Story()
    story.configure(delayed(60))
    tx = story.propose(bodies.release_body(release()), AGENT)
    assert [story.approve(BOB, tx), story.approve(CAROL, tx)] == [Code.OK] * 2
    body = judgement_body(tx, ActionKind.REJECTION, story.record(tx).requirement)
    assert say(story, AGENT, body) is Code.OK
    story.state.time += 60
    assert story.codes() == []
    assert story.record(tx).state is ProposalState.REJECTED
