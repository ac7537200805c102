"""Proofs about one transaction: that a block includes it, and what it resulted in.

Owns the check of inclusion against ``data_hash`` and of results against ``last_results_hash`` (notes
cometbft §3, types/results.go). Promises that the place of a transaction is bound to the number of
results, because a Merkle proof alone lets a liar shift the index. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.answers import InclusionProof, TxResult
from consensus.light.encoding import bytes_field, number_field
from ledger.errors import Code, VerificationFailed
from ledger.types import sha256
from state.merkle import leaf_hash, merkle_root, verify_inclusion


def result_bytes(result: TxResult) -> bytes:
    """Encode the deterministic part of an ExecTxResult: code, data, gas_wanted, gas_used."""
    return (
        number_field(1, result.code)
        + bytes_field(2, result.data)
        + number_field(5, result.gas_wanted)
        + number_field(6, result.gas_used)
    )


def verify_transaction(tx: bytes, proof: InclusionProof, data_hash: bytes) -> None:
    """Check that the block with ``data_hash`` includes ``tx`` at the proof's index.

    Raises:
        VerificationFailed: TX_PROOF_INVALID.
    """
    try:
        verify_inclusion(data_hash, leaf_hash(sha256(tx)), proof.index, proof.total, proof.aunts)
    except VerificationFailed as error:
        raise VerificationFailed(
            Code.TX_PROOF_INVALID, got=error.got, expected=error.expected, **error.facts
        ) from None


def result_at(results: Sequence[TxResult], proof: InclusionProof, last_results_hash: bytes) -> TxResult:
    """Give the result of the transaction that ``proof`` places, checked against the next header.

    Raises:
        VerificationFailed: RESULTS_HASH_MISMATCH; TX_PROOF_INVALID where the numbers of transactions and
            results differ.
    """
    root = merkle_root([result_bytes(result) for result in results])
    if root != last_results_hash:
        raise VerificationFailed(Code.RESULTS_HASH_MISMATCH, got=root, expected=last_results_hash.hex())
    if proof.total != len(results):
        raise VerificationFailed(
            Code.TX_PROOF_INVALID, got=f"a proof among {proof.total}", expected=f"{len(results)} transactions"
        )
    return results[proof.index]
