"""Looking for an envelope in blocks, where a node's index does not know it.

CometBFT writes the index of ``/tx`` after the block and not with it, so ``kill -9`` leaves transactions in
the chain that the index lacks for ever. Owns the bounded search through recent blocks. Promises an answer
like that of ``/tx``: unverified, with an inclusion proof that must hold against a verified header.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.answers import InclusionProof, TxAnswer
from consensus.rpc import Rpc
from ledger import envelope as envelopes
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.types import sha256
from state.merkle import prove

SEARCHED_BLOCKS = 1000
"""As long as the envelopes of our own clients are valid."""


def find_in_blocks(rpc: Rpc, newest: int, tx: bytes, is_over: Callable[[], bool]) -> TxAnswer | None:
    """Look for ``tx`` in the last blocks that may include it, the newest first; None where it is in none.

    Args:
        rpc: a node.
        newest: the height of its newest block.
        tx: the envelope's bytes.
        is_over: tells that the time for looking is over.

    Raises:
        EnvironmentFault: the node does not answer, or answers nonsense.
    """
    try:
        last = min(newest, envelopes.decode(tx).not_after_height)
    except Refused:
        return None
    for height in range(last, max(0, last - SEARCHED_BLOCKS), -1):
        if is_over():
            return None
        try:
            found = find_in_block(rpc, height, tx)
        except EnvironmentFault as fault:
            # A node may have pruned the block, or not have it yet.
            if fault.code is not Code.RPC_REFUSED:
                raise
            continue
        if found is not None:
            return found
    return None


def find_in_block(rpc: Rpc, height: int, tx: bytes) -> TxAnswer | None:
    """Look for ``tx`` in the block of ``height``; None where it is not there.

    Raises:
        EnvironmentFault: RPC_REFUSED where the node has no such block, and whatever else it does not answer.
    """
    txs = rpc.block_txs(height)
    if tx not in txs:
        return None
    index = txs.index(tx)
    aunts = prove([sha256(each) for each in txs], index)
    return TxAnswer(height, tx, InclusionProof(len(txs), index, tuple(aunts)))
