"""One lie at a time about state or status: nothing is ``Verified``, and the code says why.

Each lie is told to a reader that trusts only the genesis, and to one that already believes older headers.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from conclave.demo.lying_node import LIES as DEMO_LIES
from conclave.demo.refusals import EXPECTED as DEMO_EXPECTED
from ledger import statekeys
from ledger.errors import Code
from ledger.types import JsonObject
from tests.redteam.lying_ledger import Lie, LyingLedger, query_json
from tests.redteam.victim import KEY, NEWEST, NODE, Victim, in_answer, of, refused


def _answer(about: bytes, of_height: int = NEWEST - 1, **fields: Any) -> Lie:
    shown = {**query_json(NODE, about, of_height), **fields}
    return in_answer(lambda response: response.update(shown))


WEST = statekeys.ledger_object("Cluster", "west")
NOWHERE = statekeys.ledger_object("Cluster", "nowhere")
B64_KEY = base64.b64encode(KEY).decode()


def _relabelled(about: bytes, of_height: int = NEWEST - 1) -> Lie:
    """Answer with another key's value and its own valid proof, called an answer for ``KEY``."""
    true = query_json(NODE, about, of_height)
    op = {**true["proofOps"]["ops"][0], "key": B64_KEY}
    return _answer(about, of_height, key=B64_KEY, height=str(NEWEST - 1), proofOps={"ops": [op]})


def _ops(response: JsonObject) -> JsonObject:
    op: JsonObject = response["proofOps"]["ops"][0]
    return op


def _bit(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


PROOF_REFUSALS = frozenset({Code.PROOF_INVALID})
SHAPE_REFUSALS = frozenset({Code.RPC_ANSWER_INVALID})
_STATE_LIES: dict[str, tuple[Lie, frozenset[Code]]] = {
    "the answer for another key": (_answer(WEST), PROOF_REFUSALS),
    "another key's value and proof": (_relabelled(WEST), PROOF_REFUSALS),
    "absence proven for another key": (_relabelled(NOWHERE), PROOF_REFUSALS),
    "an older state, called the newest": (_relabelled(KEY, 2), PROOF_REFUSALS),
    "an older state": (_answer(KEY, 2), PROOF_REFUSALS),
    "the value of another key": (
        in_answer(lambda r: r.update(value=query_json(NODE, WEST, 3)["value"])),
        PROOF_REFUSALS,
    ),
    "a bit of the value": (in_answer(lambda r: r.update(value=_bit(r["value"]))), PROOF_REFUSALS),
    "a bit of the proof": (in_answer(lambda r: _ops(r).update(data=_bit(_ops(r)["data"]))), PROOF_REFUSALS),
    "the value withheld": (in_answer(lambda r: r.update(value=None)), PROOF_REFUSALS),
    "an empty proof": (
        in_answer(lambda r: _ops(r).update(data="")),
        frozenset({Code.PROOF_INVALID, Code.PROOF_MISSING}),
    ),
    "no proof": (in_answer(lambda r: r.update(proofOps=None)), frozenset({Code.PROOF_MISSING})),
    "no ops": (in_answer(lambda r: r.update(proofOps={"ops": []})), frozenset({Code.PROOF_MISSING})),
    "two ops": (in_answer(lambda r: r["proofOps"]["ops"].append(_ops(r))), SHAPE_REFUSALS),
    "another kind of proof": (in_answer(lambda r: _ops(r).update(type="ics23:iavl")), SHAPE_REFUSALS),
    "the op of another key": (in_answer(lambda r: _ops(r).update(key="AAAA")), SHAPE_REFUSALS),
    "another height": (in_answer(lambda r: r.update(height="1")), PROOF_REFUSALS),
    "a refusal of the application": (
        in_answer(lambda r: r.update(code=int(Code.HEIGHT_NOT_AVAILABLE), log="\x1b[31mgone")),
        frozenset({Code.HEIGHT_NOT_AVAILABLE}),
    ),
    "an unknown refusal": (
        in_answer(lambda r: r.update(code=4_000_000_000)),
        frozenset({Code.RPC_REFUSED}),
    ),
}


@pytest.mark.requires("redteam.state")
@pytest.mark.parametrize("name", _STATE_LIES)
def test_a_lie_about_state(liar: LyingLedger, victim: Victim, made: list[Any], name: str) -> None:
    lie, codes = _STATE_LIES[name]
    assert refused(liar, victim, made, lie) in codes


def _height(height: int) -> Lie:
    return of("status", lambda result: result["sync_info"].update(latest_block_height=str(height)))


@pytest.mark.requires("redteam.status")
def test_a_status_that_claims_heights_that_are_not_there(
    liar: LyingLedger, victim: Victim, made: list[Any]
) -> None:
    assert refused(liar, victim, made, _height(NEWEST + 5)) is Code.RPC_REFUSED
    made.clear()
    assert refused(liar, victim, made, _height(2**63 - 1)) is Code.RPC_REFUSED


@pytest.mark.requires("redteam.status")
def test_the_newest_header_shown_for_a_later_height(
    liar: LyingLedger, victim: Victim, made: list[Any]
) -> None:
    claimed = _height(NEWEST + 1)

    def lie(method: str, params: JsonObject, result: Any) -> Any:
        if method == "validators":
            result["block_height"] = params["height"]
        return claimed(method, params, result)

    def served(method: str, params: JsonObject) -> JsonObject:
        beyond = method in ("commit", "validators") and int(params["height"]) > NEWEST
        return {**params, "height": str(NEWEST)} if beyond else params

    liar.rewrite = served
    code = refused(liar, victim, made, lie)
    assert code in (Code.HEADER_MALFORMED, Code.COMMIT_MISMATCH, Code.HEADER_NOT_NEWER)


@pytest.mark.requires("redteam.status")
@pytest.mark.parametrize("height", [-1, 0, 1])
def test_a_status_before_anything_is_provable(
    liar: LyingLedger, victim: Victim, made: list[Any], height: int
) -> None:
    code = refused(liar, victim, made, _height(height))
    assert code in (Code.HEIGHT_NOT_AVAILABLE, Code.STALE, Code.RPC_ANSWER_INVALID)


@pytest.mark.requires("redteam.status")
def test_a_node_that_goes_back_in_time(liar: LyingLedger, tmp_path: Path, made: list[Any]) -> None:
    victim = Victim(liar.url, tmp_path)
    try:
        victim.ask()
        made.clear()
        assert refused(liar, victim, made, _height(NEWEST - 1)) is Code.STALE
    finally:
        victim.rpc.close()


@pytest.mark.requires("redteam.status")
def test_a_status_of_another_chain(liar: LyingLedger, victim: Victim, made: list[Any]) -> None:
    lie = of("status", lambda result: result["node_info"].update(network="another-chain"))
    assert refused(liar, victim, made, lie) is Code.HEADER_CHAIN_MISMATCH


@pytest.mark.requires("redteam.demo-lies")
@pytest.mark.parametrize("name", DEMO_LIES)
def test_the_lies_of_the_demonstration(liar: LyingLedger, victim: Victim, made: list[Any], name: str) -> None:
    def lie(method: str, _params: JsonObject, result: Any) -> Any:
        DEMO_LIES[name](method, result)
        return result

    assert refused(liar, victim, made, lie) in {DEMO_EXPECTED[name], Code.TRUST_ROOT_MISMATCH}
