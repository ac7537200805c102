"""What CometBFT's RPC answers, as typed records.

Owns the shapes of ``/status``, ``/validators``, ``/abci_query``, ``/broadcast_tx_sync``, ``/tx``, ``/block``
and ``/block_results`` (CometBFT 0.38-0.40, rpc/core/types/responses.go). Promises that any JSON value gives a
record within the limits or a refusal: ``EnvironmentFault`` RPC_ANSWER_INVALID with the field, or, inside
headers and validators, ``VerificationFailed``. Believes nothing: everything here is untrusted until a
proof says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from consensus.light.fields import Fields
from consensus.light.parse import parse_header, parse_signed_header, parse_validator
from consensus.light.types import HASH_BYTES, VALIDATORS_MAX, SignedHeader, Validator
from ledger.errors import Code, EnvironmentFault
from ledger.limits import CHAIN_ID_BYTES_MAX, ENVELOPE_BYTES_MAX, RPC_ANSWER_BYTES_MAX, STATE_KEY_BYTES_MAX

PROOF_OP_TYPE = "ics23:smt"
_NO_TRANSACTIONS = sha256(b"").digest()
"""The hash of no transactions (CometBFT types/tx.go, crypto/merkle)."""
_HASH = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_CODE_MAX = 2**32 - 1
_INDEX_MAX = 2**32 - 1
_LOG_BYTES_MAX = 64 * 1024
_AUNTS_MAX = 100
_RESULT_DATA_BYTES_MAX = 4 * 1024 * 1024
_RESULTS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself; ``height`` is its newest block's, ``time_ns`` that block's time.

    ``app_hash`` is what that block's header says of the state before it, empty where the node does not tell;
    ``has_transactions`` whether the block carries any, false where the node does not tell.
    """

    chain_id: str
    height: int
    time_ns: int
    catching_up: bool
    app_hash: bytes = b""
    has_transactions: bool = False


@dataclass(frozen=True, slots=True)
class ValidatorsPage:
    """One page of a validator set, and how many there are in all."""

    validators: tuple[Validator, ...]
    total: int


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """An ABCI query's answer. ``proof`` is the data of its one proof op, None where there is none."""

    code: int
    log: str
    key: bytes
    value: bytes
    height: int
    proof: bytes | None


@dataclass(frozen=True, slots=True)
class BroadcastAnswer:
    """CheckTx's verdict on a transaction just sent. ``log`` is for people."""

    code: int
    log: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class TxResult:
    """The hashed part of a transaction's result, and its log for people."""

    code: int
    data: bytes
    gas_wanted: int
    gas_used: int
    log: str


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Where a transaction stands in its block: ``aunts`` nearest first."""

    total: int
    index: int
    aunts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TxAnswer:
    """An included transaction, said to be at ``index`` of block ``height``."""

    height: int
    tx: bytes
    proof: InclusionProof


def _fields(value: Any, where: str) -> Fields:
    return Fields(value, where, code=Code.RPC_ANSWER_INVALID, fault=EnvironmentFault)


def read_status(result: Any) -> NodeStatus:
    """Read ``/status``.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
    """
    fields = _fields(result, "status")
    sync = fields.inner("sync_info")
    return NodeStatus(
        chain_id=fields.inner("node_info").text("network", CHAIN_ID_BYTES_MAX),
        height=sync.int64("latest_block_height"),
        time_ns=sync.time("latest_block_time"),
        catching_up=sync.flag("catching_up"),
        app_hash=_told_hash(result["sync_info"].get("latest_app_hash")),
    )


def read_newest(result: Any) -> NodeStatus:
    """Read ``/header`` of the newest height, as far as it tells what ``/status`` does.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
        VerificationFailed: HEADER_MALFORMED.
    """
    header = parse_header(_fields(result, "header").get("header"))
    return NodeStatus(
        header.chain_id,
        header.height,
        header.time_ns,
        catching_up=False,
        app_hash=header.app_hash,
        has_transactions=header.data_hash != _NO_TRANSACTIONS,
    )


def _told_hash(value: Any) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) and _HASH.fullmatch(value) else b""


def read_commit(result: Any) -> SignedHeader:
    """Read ``/commit``.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
        VerificationFailed: HEADER_MALFORMED.
    """
    return parse_signed_header(_fields(result, "commit").get("signed_header"))


def read_validators_page(result: Any, height: int, page: int) -> ValidatorsPage:
    """Read one page of ``/validators``.

    Args:
        result: the answer.
        height: the height asked for.
        page: the page asked for, from 1.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID, also for another height.
        VerificationFailed: VALIDATOR_SET_INVALID, KEY_TYPE_UNSUPPORTED.
    """
    fields = _fields(result, f"validators page {page}")
    if fields.int64("block_height") != height:
        raise fields.malformed("block_height", fields.get("block_height"), str(height))
    items = fields.items("validators", VALIDATORS_MAX)
    total = fields.int64("total")
    if not 0 < total <= VALIDATORS_MAX:
        raise fields.malformed("total", total, f"1 … {VALIDATORS_MAX}")
    return ValidatorsPage(tuple(parse_validator(v, i) for i, v in enumerate(items)), total)


def read_query(result: Any) -> QueryAnswer:
    """Read ``/abci_query``.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID, also for proof ops other than one ``ics23:smt``.
    """
    fields = _fields(result, "abci_query").inner("response")
    key = fields.base64("key", STATE_KEY_BYTES_MAX)
    return QueryAnswer(
        code=fields.small("code", _CODE_MAX),
        log=_log(fields),
        key=key,
        value=fields.base64("value", RPC_ANSWER_BYTES_MAX),
        height=fields.int64("height"),
        proof=_proof(fields, key),
    )


def _proof(fields: Fields, key: bytes) -> bytes | None:
    if fields.get("proofOps") is None:
        return None
    ops = fields.inner("proofOps").items("ops", 1)
    if not ops:
        return None
    op = _fields(ops[0], "abci_query.response.proofOps.ops[0]")
    if op.text("type", 64) != PROOF_OP_TYPE or op.base64("key", STATE_KEY_BYTES_MAX) != key:
        raise op.malformed("type", op.get("type"), f"one {PROOF_OP_TYPE} op for the key")
    return op.base64("data", RPC_ANSWER_BYTES_MAX)


def read_broadcast(result: Any) -> BroadcastAnswer:
    """Read ``/broadcast_tx_sync``.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
    """
    fields = _fields(result, "broadcast_tx_sync")
    return BroadcastAnswer(
        code=fields.small("code", _CODE_MAX), log=_log(fields), hash=fields.hex("hash", (HASH_BYTES,))
    )


def read_evidence(result: Any) -> bytes:
    """Read ``/broadcast_evidence``: the hash of what was taken.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
    """
    fields = _fields(result, "broadcast_evidence")
    digest = fields.base64("hash", HASH_BYTES)
    if len(digest) != HASH_BYTES:
        raise fields.malformed("hash", f"{len(digest)} bytes", f"{HASH_BYTES} bytes")
    return digest


def read_tx(result: Any) -> TxAnswer:
    """Read ``/tx`` with its proof. The result beside it is not read: ``read_results`` gives provable ones.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID.
    """
    fields = _fields(result, "tx")
    proof = fields.inner("proof").inner("proof")
    aunts = [
        _fields({"aunt": aunt}, f"tx.proof.aunts[{i}]").base64("aunt", HASH_BYTES)
        for i, aunt in enumerate(proof.items("aunts", _AUNTS_MAX))
    ]
    return TxAnswer(
        height=fields.int64("height"),
        tx=fields.base64("tx", ENVELOPE_BYTES_MAX),
        proof=InclusionProof(proof.int64("total"), proof.int64("index"), tuple(aunts)),
    )


def read_block_txs(result: Any, height: int) -> tuple[bytes, ...]:
    """Read the transactions of ``/block``, in block order.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID, also for another height.
    """
    fields = _fields(result, "block").inner("block")
    header = fields.inner("header")
    if header.int64("height") != height:
        raise header.malformed("height", header.get("height"), str(height))
    return tuple(
        _fields({"tx": tx}, f"block.data.txs[{i}]").base64("tx", ENVELOPE_BYTES_MAX)
        for i, tx in enumerate(fields.inner("data").items("txs", _RESULTS_MAX))
    )


def read_results(result: Any, height: int) -> tuple[TxResult, ...]:
    """Read the transaction results of ``/block_results``, in block order.

    Raises:
        EnvironmentFault: RPC_ANSWER_INVALID, also for another height.
    """
    fields = _fields(result, "block_results")
    if fields.int64("height") != height:
        raise fields.malformed("height", fields.get("height"), str(height))
    return tuple(_result(v, i) for i, v in enumerate(fields.items("txs_results", _RESULTS_MAX)))


def _result(value: Any, index: int) -> TxResult:
    fields = _fields(value, f"block_results.txs_results[{index}]")
    return TxResult(
        code=fields.small("code", _CODE_MAX),
        data=fields.base64("data", _RESULT_DATA_BYTES_MAX),
        gas_wanted=fields.int64("gas_wanted"),
        gas_used=fields.int64("gas_used"),
        log=_log(fields),
    )


def _log(fields: Fields) -> str:
    """Read the explanation for people, cut rather than refused: nothing depends on it."""
    value = fields.get("log")
    return value[:_LOG_BYTES_MAX] if isinstance(value, str) else ""
