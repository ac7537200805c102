"""What the machine knows of agents: their policies, told block by block."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abci_app.genesis import genesis_state
from ledger import standard, statekeys
from ledger.authority.objects import read_stored
from ledger.authority.patterns import is_guarded
from ledger.errors import Code
from ledger.types import JsonObject
from tests.support.agents import BUDGET, policy_object
from tests.support.refusal import refusal_of
from tests.support.subjects import (
    AGENT,
    ALICE,
    CHAIN_ID,
    NODE,
    OTHER_NODE,
    STRANGER,
    Subject,
    genesis_bytes,
    genesis_document,
)
from tests.unit.abci_app.test_governance import Story

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
