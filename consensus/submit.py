"""Sending an envelope and coming back with proof of what became of it.

Owns the wait from broadcast to a proven receipt. Promises that a receipt is believed only when the
transaction is proven to be in the verified header's block and its result in the next verified header's
results hash; that sending the same envelope again is harmless, also where a node's index lost it; and that a
timeout says what is known. Never retries with other bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from consensus.answers import TxAnswer, TxResult
from consensus.included import find_in_blocks
from consensus.light.types import Trusted
from consensus.reader import VerifiedReader
from consensus.results import result_at, verify_transaction
from consensus.rpc import Rpc
from ledger import envelope as envelopes
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.receipt import Receipt, code_of, from_bytes
from ledger.types import sha256

T = TypeVar("T")

NOT_TAKEN_SECONDS = 5.0
"""How long to look for a transaction the node would not take: it may have it already."""
USED_SECONDS = 1.0
"""How long to look for one that CheckTx calls used up: it may be this very envelope, sent before."""
SEARCH_SECONDS = 20.0
"""How long to go through blocks for one that the node's index does not know."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how.

    Attributes:
        timeout_seconds: from broadcast to the proven receipt.
        poll_seconds: between questions.
        monotonic: gives seconds.
        sleep: waits seconds.
    """

    timeout_seconds: float = 60.0
    poll_seconds: float = 0.05
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class ProvenReceipt:
    """What an included envelope did, proven.

    Attributes:
        receipt: the ledger's answer.
        height: the block that includes the envelope.
        index: its place there, from 0.
        tx_hash: the transaction's SHA-256.
        time_ns: the time of the header that proves the result.
    """

    receipt: Receipt
    height: int
    index: int
    tx_hash: bytes
    time_ns: int


def submit(rpc: Rpc, reader: VerifiedReader, tx: bytes, *, patience: Patience | None = None) -> ProvenReceipt:
    """Offer an envelope to the ledger and wait for its proven receipt.

    Args:
        rpc: where to send it.
        reader: verifies the headers.
        tx: the envelope's bytes.
        patience: how long to wait.

    Raises:
        Refused: with the ledger's own code, from CheckTx or from the proven result; TX_REFUSED for a code
            this version does not know.
        VerificationFailed: TX_PROOF_INVALID, RESULTS_HASH_MISMATCH, LEDGER_RECORD_INVALID, or a header's.
        EnvironmentFault: TIMEOUT, RPC_UNREACHABLE, or RPC_REFUSED where the node would not take it and it is
            not on the ledger.
    """
    chosen = patience or Patience()
    end = chosen.monotonic() + chosen.timeout_seconds
    not_taken = _broadcast(rpc, tx)
    if not_taken is None:
        found = _poll(lambda: _find(rpc, tx), chosen, end, "sent; not seen in a block", tx)
    else:
        known = _find_soon(rpc, tx, chosen, end, not_taken) or _find_in_blocks(rpc, reader, tx, chosen, end)
        if known is None:
            raise not_taken
        found = known
    seen = f"said to be in block {found.height}; not proven"
    proving = _poll(lambda: _header(reader, found.height + 1), chosen, end, seen, tx)
    verify_transaction(tx, found.proof, reader.header(found.height).header.data_hash)
    results = _poll(lambda: rpc.block_results(found.height), chosen, end, seen, tx)
    result = result_at(results, found.proof, proving.header.last_results_hash)
    receipt = _receipt(result, tx, found.height)
    return ProvenReceipt(receipt, found.height, found.proof.index, sha256(tx), proving.header.time_ns)


def _broadcast(rpc: Rpc, tx: bytes) -> EnvironmentFault | Refused | None:
    """Send; give the refusal of a node that would not even check it, or that says it is used up."""
    try:
        answer = rpc.broadcast_tx_sync(tx)
    except EnvironmentFault as fault:
        # "Already in cache" is told apart from other trouble in words only, which are never parsed.
        if fault.code is not Code.RPC_REFUSED:
            raise
        return fault
    if answer.code == 0:
        return None
    refusal = _refusal(answer.code, answer.log, "CheckTx of one node")
    # A restarted node has forgotten what it took before and judges an included envelope anew.
    if refusal.code not in _USED:
        raise refusal
    return refusal


def _find(rpc: Rpc, tx: bytes) -> TxAnswer:
    found = rpc.tx(sha256(tx))
    if found.tx != tx or found.height < 1:
        raise VerificationFailed(
            Code.TX_PROOF_INVALID, got=sha256(found.tx), expected=f"transaction {sha256(tx).hex()}"
        )
    return found


def _find_soon(
    rpc: Rpc, tx: bytes, patience: Patience, end: float, not_taken: EnvironmentFault | Refused
) -> TxAnswer | None:
    """Ask the index for a while; None where it says that it does not know the envelope."""
    seconds = USED_SECONDS if isinstance(not_taken, Refused) else NOT_TAKEN_SECONDS
    soon = min(end, patience.monotonic() + seconds)
    try:
        return _poll(lambda: _find(rpc, tx), patience, soon, "not taken by the node", tx)
    except EnvironmentFault as fault:
        # A node that went away meanwhile has not said that the ledger lacks it.
        if fault.code is not Code.TIMEOUT or fault.facts.get("last") == Code.RPC_UNREACHABLE.name:
            raise
        return None


def _find_in_blocks(
    rpc: Rpc, reader: VerifiedReader, tx: bytes, patience: Patience, end: float
) -> TxAnswer | None:
    soon = min(end, patience.monotonic() + SEARCH_SECONDS)
    return find_in_blocks(rpc, reader.newest_height(), tx, lambda: patience.monotonic() >= soon)


def _header(reader: VerifiedReader, height: int) -> Trusted | None:
    return reader.header(height) if reader.newest_height() >= height else None


def _poll(ask: Callable[[], T | None], patience: Patience, end: float, known: str, tx: bytes) -> T:
    """Ask until there is an answer; a node that is away, behind or does not know yet is asked again."""
    last: ConclaveError | None = None
    while True:
        try:
            answer = ask()
        except (EnvironmentFault, VerificationFailed) as error:
            if error.code not in _TRANSIENT:
                raise
            last, answer = error, None
        if answer is not None:
            return answer
        if patience.monotonic() >= end:
            raise EnvironmentFault(
                Code.TIMEOUT,
                got=known,
                expected=f"a proven receipt within {patience.timeout_seconds} s",
                todo="send the same envelope again: it takes effect at most once",
                tx=sha256(tx).hex(),
                last=last.code.name if last else None,
            )
        patience.sleep(patience.poll_seconds)


_TRANSIENT = frozenset({Code.RPC_REFUSED, Code.RPC_UNREACHABLE, Code.STALE})
_USED = frozenset({Code.NONCE_REPLAYED, Code.NONCE_TOO_OLD, Code.ENVELOPE_EXPIRED})
"""What CheckTx says of an envelope that is on the ledger already."""


def _receipt(result: TxResult, tx: bytes, height: int) -> Receipt:
    if result.code != 0:
        raise _refusal(result.code, result.log, f"block {height}")
    try:
        receipt = from_bytes(result.data)
        identifier = envelopes.envelope_id(envelopes.decode(tx))
    except Refused as refusal:
        raise VerificationFailed(
            Code.LEDGER_RECORD_INVALID, got=refusal.got, expected="a receipt", cause=refusal.code.name
        ) from None
    if (receipt.envelope, receipt.height) != (identifier, height):
        raise VerificationFailed(
            Code.LEDGER_RECORD_INVALID,
            got=f"a receipt of envelope {receipt.envelope} at {receipt.height}",
            expected=f"envelope {identifier} at {height}",
        )
    return receipt


def _refusal(number: int, log: str, by: str) -> Refused:
    code = code_of(number)
    return Refused(
        code or Code.TX_REFUSED,
        got=log[:300] or f"code {number}",
        expected="an envelope the ledger accepts",
        by=by,
        number=number,
    )
