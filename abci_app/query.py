"""Answering queries from committed state, with proofs.

Owns the query paths of docs/spec/ledger.md §4. Promises that an answer names the height whose root proves it
and that a refusal carries a code. Never changes state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ledger import canonical
from ledger.errors import Code, Refused
from ledger.limits import STATE_KEY_BYTES_MAX
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2
from ledger.pb.proof_pb2 import CommitmentProof
from ledger.types import JsonObject
from state.batch import Committed

PROOF_OP_TYPE = "ics23:smt"
STATE_PATH = "/state"
CHECK_PATH = "/check"
DRY_RUN_PATH = "/dry-run"


class CommittedState(Protocol):
    """The committed heights that can be asked for (``state.store.Store``)."""

    @property
    def committed(self) -> Committed:
        """The newest durable version."""
        ...

    def get_at(self, key: bytes, height: int) -> bytes | None:
        """Give the value of ``key`` at ``height``, or None where it was absent."""
        ...

    def prove_at(self, key: bytes, height: int) -> tuple[bytes | None, CommitmentProof]:
        """Give the value of ``key`` at ``height``, or None, and the proof of either."""
        ...


def answer(
    request: pb.RequestQuery,
    state: CommittedState,
    check: Callable[[bytes], Code],
    dry_run: Callable[[bytes], JsonObject],
) -> pb.ResponseQuery:
    """Answer one query.

    Args:
        request: as CometBFT passes it on.
        state: what is committed.
        check: says what CheckTx would say of an envelope, without effect.
        dry_run: says whether an action would pass, and what it would still need.

    Raises:
        Refused: QUERY_INVALID or HEIGHT_NOT_AVAILABLE.
    """
    if request.path == STATE_PATH:
        return _state(request, state)
    if request.path == CHECK_PATH:
        return pb.ResponseQuery(code=check(request.data), height=state.committed.height)
    if request.path == DRY_RUN_PATH:
        value = canonical.dump(dry_run(request.data))
        return pb.ResponseQuery(value=value, height=state.committed.height)
    paths = f"{STATE_PATH} | {CHECK_PATH} | {DRY_RUN_PATH}"
    raise Refused(Code.QUERY_INVALID, got=request.path, expected=paths, field="path")


def _state(request: pb.RequestQuery, state: CommittedState) -> pb.ResponseQuery:
    newest = state.committed.height
    key, height = request.data, request.height or newest
    if not 0 < len(key) <= STATE_KEY_BYTES_MAX:
        raise Refused(
            Code.QUERY_INVALID, got=f"{len(key)} bytes", expected=f"1 … {STATE_KEY_BYTES_MAX}", field="data"
        )
    if not 0 < height <= newest:
        raise Refused(
            Code.HEIGHT_NOT_AVAILABLE,
            got=height,
            expected=f"1 … {newest}",
            todo="ask for height 0, the newest",
        )
    if not request.prove:
        return pb.ResponseQuery(key=key, value=state.get_at(key, height) or b"", height=height)
    value, proof = state.prove_at(key, height)
    operation = comet_pb2.ProofOp(type=PROOF_OP_TYPE, key=key, data=proof.SerializeToString())
    return pb.ResponseQuery(
        key=key, value=value or b"", height=height, proof_ops=comet_pb2.ProofOps(ops=[operation])
    )
