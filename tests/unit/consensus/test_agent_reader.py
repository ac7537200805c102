"""What the ledger knows of agents, read with proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus import agent_reader
from ledger import statekeys
from ledger.errors import Code, VerificationFailed
from tests.support.agents import policy_object
from tests.support.ledger import ALICE, EAST, ROBOT, Ledger, Node
from tests.unit.consensus.ledgers import code_of, reader_of

POLICY = policy_object("robot", ROBOT.did, EAST.did)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.commit()
    ledger.commit()
    return ledger


@pytest.mark.requires("agents.policy-read")
def test_a_policy_is_found_by_the_agents_did(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.configure(POLICY)
    ledger.commit()
    view = reader_of(Node(ledger), tmp_path).at()
    found = agent_reader.policy_of(view, ROBOT.did).value
    assert found is not None
    assert (found.name, found.version, found.authority) == ("robot", 1, identifier)
    assert (found.policy.agent, found.policy.guards) == (ROBOT.did, (EAST.did,))
    assert agent_reader.policies(view).value == (found,)


@pytest.mark.requires("agents.policy-read")
def test_that_there_is_no_policy_is_proven(ledger: Ledger, tmp_path: Path) -> None:
    view = reader_of(Node(ledger), tmp_path).at()
    for did in (ROBOT.did, ALICE.did, "did:key:znobody"):
        assert agent_reader.policy_of(view, did).value is None
    assert agent_reader.policies(view).value == ()


@pytest.mark.requires("agents.policy-read")
def test_a_policy_of_another_agent_or_form_is_no_policy(ledger: Ledger, tmp_path: Path) -> None:
    ledger.configure(POLICY)
    key = statekeys.ledger_object("AgentPolicy", "robot")
    honest = ledger.values[ledger.height][key]
    for place, (old, new) in enumerate(
        (
            (ROBOT.did.encode(), ALICE.did.encode()),
            (b'"name":"robot"', b'"name":"other"'),
            (b'"tools":[', b'"tool":['),
        )
    ):
        assert old in honest
        ledger.edit(ledger.height, {key: honest.replace(old, new)})
        ledger.commit()
        folder = tmp_path / str(place)
        folder.mkdir()
        with pytest.raises(VerificationFailed) as raised:
            agent_reader.policy_of(reader_of(Node(ledger), folder).at(), ROBOT.did)
        assert code_of(raised) is Code.LEDGER_RECORD_INVALID
