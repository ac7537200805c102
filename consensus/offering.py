"""One node and one envelope: offering it, and asking the index for it.

Owns what a node's answers to that mean. Promises that a refusal by the ledger's rules is told apart from a
node that is away, full, or has the envelope already, by codes and never by words. Believes nothing.
"""

from __future__ import annotations

from consensus.answers import TxAnswer
from consensus.rpc import Rpc
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.receipt import code_of
from ledger.types import sha256

NOT_TAKEN = (
    Code.MEMPOOL_BUSY,
    Code.RPC_REFUSED,
    Code.RPC_UNREACHABLE,
    Code.RPC_ANSWER_INVALID,
    Code.RPC_ANSWER_TOO_LARGE,
)
"""Why a node did not take an envelope; of several reasons, the first says most of what to do."""
USED = frozenset({Code.NONCE_REPLAYED, Code.NONCE_TOO_OLD, Code.ENVELOPE_EXPIRED})
"""What CheckTx says of an envelope that is on the ledger already."""


def broadcast(node: Rpc, tx: bytes) -> ConclaveError | None:
    """Send; give the refusal of a node that is away, full, would not even check it, or says it is used up.

    Raises:
        Refused: the ledger's own code.
    """
    try:
        answer = node.broadcast_tx_sync(tx)
    except EnvironmentFault as fault:
        # "Already in cache" is told apart from other trouble in words only, which are never parsed.
        if fault.code not in NOT_TAKEN:
            raise
        return fault
    if answer.code == 0:
        return None
    refusal = refusal_of(answer.code, answer.log, "CheckTx of one node")
    # A restarted node has forgotten what it took before and judges an included envelope anew.
    if refusal.code in USED or refusal.code is Code.MEMPOOL_BUSY:
        return refusal
    raise refusal


def find(node: Rpc, tx: bytes) -> TxAnswer:
    """Ask the index; what it gives is this envelope, said to be in a block, unproven.

    Raises:
        VerificationFailed: TX_PROOF_INVALID for another transaction.
        EnvironmentFault: RPC_REFUSED where it does not know it, and whatever else it does not answer.
    """
    found = node.tx(sha256(tx))
    if found.tx != tx or found.height < 1:
        raise VerificationFailed(
            Code.TX_PROOF_INVALID, got=sha256(found.tx), expected=f"transaction {sha256(tx).hex()}"
        )
    return found


def refusal_of(number: int, log: str, by: str) -> Refused:
    """Make the refusal of a result that is not 0."""
    code = code_of(number)
    return Refused(
        code or Code.TX_REFUSED,
        got=log[:300] or f"code {number}",
        expected="an envelope the ledger accepts",
        by=by,
        number=number,
    )
