"""Whom the guard suspended is suspended on the ledger too, once the audit says why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from consensus import speaking
from ledger.bodies import suspension_body
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.types import Did
from mcp_server.audit import ledger_suspensions
from mcp_server.audit.suspensions import Suspensions
from mcp_server.chain import Call
from mcp_server.guard.calls import Reason
from tests.support import ledger as subjects
from tests.support.ledger import EAST, envelope
from tests.support.mcp import Speaking, a_story, source_of

ROBOT, OTHER = Did("did:key:zrobot"), Did("did:key:zother")
CALL = Call("tool", "get_object", {})


def _log() -> Any:
    return SimpleNamespace(head=SimpleNamespace(sequence=7, hash="7" * 64))


class Played:
    """A ledger that answers as told, a log that grows when told, a clock."""

    def __init__(self, *answers: ConclaveError | int) -> None:
        self.answers, self.heard = list(answers), list[tuple[str, int, str]]()
        self.log = _log()
        self.now = 0.0
        self.suspensions = Suspensions(self, lambda: self.now)
        self.suspensions.watch(self.log)
        self.noted = list[tuple[Did, int]]()
        self.suspensions.tells(lambda agent, height: self.noted.append((agent, height)))

    def suspend(self, agent: str, code: int, evidence: str) -> int:
        """Answer the next one."""
        self.heard.append((agent, code, evidence))
        answer = self.answers.pop(0)
        if isinstance(answer, ConclaveError):
            raise answer
        return answer

    def trip(self, agent: Did = ROBOT) -> None:
        """The guard suspends."""
        reason = Reason(Code.AGENT_SUSPENDED, {"cause": "LOOP_DETECTED"}, got="a", expected="b", todo="c")
        self.suspensions.suspended(agent, reason, CALL)

    def write(self) -> None:
        """The audit's record is written."""
        sequence = self.log.head.sequence + 1
        self.log.head = SimpleNamespace(sequence=sequence, hash=f"{sequence}" * 64)


def refusal(code: Code) -> Refused:
    return Refused(code, got="a", expected="b")


AWAY = EnvironmentFault(Code.RPC_UNREACHABLE, got="nothing", expected="an answer")


@pytest.mark.requires("mcp.suspension")
def test_it_waits_for_the_record_and_is_told_once_with_its_cause_and_evidence() -> None:
    played = Played(40)
    played.trip()
    assert played.suspensions.step() == 0
    played.write()
    played.trip()
    assert [played.suspensions.step(), played.suspensions.step()] == [1, 0]
    assert played.heard == [(ROBOT, int(Code.LOOP_DETECTED), "8" * 64)]
    assert played.noted == [(ROBOT, 40)]


@pytest.mark.requires("mcp.suspension")
def test_a_ledger_that_is_away_is_told_later_and_others_do_not_wait_for_it() -> None:
    played = Played(AWAY, 40, 41)
    played.trip()
    played.trip(OTHER)
    played.write()
    assert played.suspensions.step() == 1
    assert played.suspensions.step() == 0
    played.now = 1.0
    assert played.suspensions.step() == 1
    assert [agent for agent, _, _ in played.heard] == [ROBOT, OTHER, ROBOT]


@pytest.mark.requires("mcp.suspension")
@pytest.mark.parametrize(("code", "told"), [(Code.OBJECT_DUPLICATE, 1), (Code.PERMISSION_DENIED, 0)])
def test_what_the_ledger_refuses_for_good_is_not_asked_again(code: Code, told: int) -> None:
    played = Played(refusal(code))
    played.trip()
    played.write()
    assert [played.suspensions.step(), played.suspensions.step()] == [told, 0]
    assert len(played.heard) == 1
    assert not played.noted, "a node's word that it is suspended lifts nothing here"


@pytest.mark.requires("mcp.suspension")
def test_that_an_agent_is_suspended_already_is_believed_with_proof_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger, slept = a_story(), list[float]()
    source = source_of(Speaking(ledger))

    def said(*_: Any, **__: Any) -> Any:
        raise refusal(Code.OBJECT_DUPLICATE)

    monkeypatch.setattr(speaking, "say", said)
    signer: Any = EAST
    node = ledger_suspensions.LedgerSuspensions(source.rpc, source.reader, EAST.did, signer, slept.append)
    with pytest.raises(Refused):
        node.suspend(subjects.ROBOT.did, int(Code.LOOP_DETECTED), "ab" * 32)
    assert len(slept) == ledger_suspensions.LOOKS_MAX - 1
    ledger.commit(envelope(subjects.ALICE, suspension_body(subjects.ROBOT.did)))
    since = ledger.height
    ledger.commit()
    assert node.suspend(subjects.ROBOT.did, int(Code.LOOP_DETECTED), "ab" * 32) == since
