"""Answering queries from committed state, with proofs.

Owns the query paths of docs/spec/ledger.md §4. Promises that an answer names the height whose root proves it
and that a refusal carries a code. Never changes state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ledger.errors import Code, Refused
from ledger.limits import STATE_KEY_BYTES_MAX
from ledger.pb import abci_pb2, comet_pb2
from state.tree import Tree

PROOF_OP_TYPE = "ics23:smt"
STATE_PATH = "/state"
CHECK_PATH = "/check"


class CommittedState(Protocol):
    """The committed heights that can be asked for."""

    def height(self) -> int:
        """Give the newest committed height."""
        ...

    def tree_at(self, height: int) -> Tree:
        """Give the tree of ``height``; Refused HEIGHT_NOT_AVAILABLE beyond the kept history."""
        ...

    def get_at(self, key: bytes, height: int) -> bytes | None:
        """Give the value of ``key`` at ``height``, or None where it was absent."""
        ...


def answer(
    request: abci_pb2.RequestQuery, state: CommittedState, check: Callable[[bytes], Code]
) -> abci_pb2.ResponseQuery:
    """Answer one query.

    Args:
        request: as CometBFT passes it on.
        state: what is committed.
        check: says what CheckTx would say of an envelope, without effect.

    Raises:
        Refused: QUERY_INVALID or HEIGHT_NOT_AVAILABLE.
    """
    if request.path == STATE_PATH:
        return _state(request, state)
    if request.path == CHECK_PATH:
        return abci_pb2.ResponseQuery(code=check(request.data), height=state.height())
    raise Refused(Code.QUERY_INVALID, got=request.path, expected=f"{STATE_PATH} | {CHECK_PATH}", field="path")


def _state(request: abci_pb2.RequestQuery, state: CommittedState) -> abci_pb2.ResponseQuery:
    key, height = request.data, request.height or state.height()
    if not 0 < len(key) <= STATE_KEY_BYTES_MAX:
        raise Refused(
            Code.QUERY_INVALID, got=f"{len(key)} bytes", expected=f"1 … {STATE_KEY_BYTES_MAX}", field="data"
        )
    if not 0 < height <= state.height():
        raise Refused(
            Code.HEIGHT_NOT_AVAILABLE,
            got=height,
            expected=f"1 … {state.height()}",
            todo="ask for height 0, the newest",
        )
    value = state.get_at(key, height)
    response = abci_pb2.ResponseQuery(key=key, value=value or b"", height=height)
    if request.prove:

        def value_of(neighbour: bytes) -> bytes:
            found = state.get_at(neighbour, height)
            assert found is not None
            return found

        proof = state.tree_at(height).prove(key, value_of)
        response.proof_ops.CopyFrom(
            comet_pb2.ProofOps(
                ops=[comet_pb2.ProofOp(type=PROOF_OP_TYPE, key=key, data=proof.SerializeToString())]
            )
        )
    return response
