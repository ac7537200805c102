"""What the ledger knows of agents, read with proof."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consensus import agent_reader
from ledger import bodies, statekeys
from ledger.errors import Code, VerificationFailed
from tests.support.agents import policy_object
from tests.support.ledger import ALICE, EAST, ROBOT, Ledger, Node, envelope
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


LOG = "ab" * 32


@pytest.fixture
def spoken(ledger: Ledger) -> Ledger:
    """Give a ledger on which a log was anchored thrice, the robot observed twice and was cut off."""
    ledger.configure(POLICY)
    said = [(EAST, bodies.anchor_body(LOG, n, f"{n:064x}")) for n in (1, 5, 9)]
    said += [(ROBOT, bodies.observation_body("observation", text)) for text in ("one", "two")]
    said += [(EAST, bodies.suspension_body(ROBOT.did, code=904, evidence="cd" * 32))]
    assert {r.code for r in ledger.commit(*(envelope(who, body) for who, body in said))} == {0}
    ledger.commit()
    return ledger


@pytest.mark.requires("agents.read")
def test_suspensions_anchors_and_observations_are_read_with_proof(spoken: Ledger, tmp_path: Path) -> None:
    view = reader_of(Node(spoken), tmp_path).at()
    suspension = agent_reader.suspension_of(view, ROBOT.did).value
    assert suspension is not None
    assert (suspension.by, suspension.code, suspension.name) == (EAST.did, 904, "robot")
    assert agent_reader.suspensions(view).value == (suspension,)
    newest = agent_reader.anchor_of(view, EAST.did, LOG).value
    history = agent_reader.anchor_history(view, EAST.did, LOG).value
    assert ([a.count for a in history], history[0]) == ([9, 5, 1], newest)
    assert agent_reader.anchors(view).value == (newest,)
    texts = [o.text for o in agent_reader.observations(view, ROBOT.did).value]
    assert texts == ["two", "one"]
    assert [o.text for o in agent_reader.all_observations(view).value] == texts


@pytest.mark.requires("agents.read")
def test_what_is_not_there_is_proven(ledger: Ledger, tmp_path: Path) -> None:
    view = reader_of(Node(ledger), tmp_path).at()
    assert agent_reader.suspension_of(view, ROBOT.did).value is None
    assert agent_reader.anchor_of(view, EAST.did, LOG).value is None
    for found in (
        agent_reader.suspensions(view),
        agent_reader.anchors(view),
        agent_reader.anchor_history(view, EAST.did, LOG),
        agent_reader.observations(view, ROBOT.did),
        agent_reader.all_observations(view),
    ):
        assert found.value == ()


def _anchor(number: int) -> bytes:
    return statekeys.audit_anchor_number(EAST.did, LOG, number)


@pytest.mark.requires("agents.read")
@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        (statekeys.suspension(ROBOT.did), ROBOT.did, ALICE.did),
        (statekeys.suspension(ROBOT.did), None, None),
        (statekeys.audit_anchor(EAST.did, LOG), EAST.did, ALICE.did),
        (statekeys.audit_anchor(EAST.did, LOG), '"count":9', '"count":8'),
        (_anchor(2), '"count":5', '"count":9'),
        (_anchor(2), '"number":2', '"number":1'),
        (_anchor(2), '"digest":"', '"digest":"0'),
        (_anchor(2), None, None),
        (statekeys.observation(ROBOT.did, 1), '"number":1', '"number":3'),
        (statekeys.observation(ROBOT.did, 2), ROBOT.did, ALICE.did),
        (statekeys.observation(ROBOT.did, 2), None, None),
    ],
)
def test_a_record_of_somebody_else_or_a_gap_is_refused(
    spoken: Ledger, tmp_path: Path, key: bytes, old: str | None, new: str | None
) -> None:
    value = None
    if old is not None:
        honest = spoken.values[spoken.height][key].decode()
        assert old in honest
        value = honest.replace(old, str(new)).encode()
        if old == '"digest":"':
            value = re.sub(rb'"digest":"0(.{63}).', rb'"digest":"0\1', value)
    spoken.edit(spoken.height, {key: value})
    spoken.commit()
    view = reader_of(Node(spoken), tmp_path).at()

    def read_all() -> None:
        agent_reader.suspensions(view)
        agent_reader.anchors(view)
        agent_reader.anchor_history(view, EAST.did, LOG)
        agent_reader.all_observations(view)

    with pytest.raises(VerificationFailed) as raised:
        read_all()
    assert code_of(raised) is Code.LEDGER_RECORD_INVALID
