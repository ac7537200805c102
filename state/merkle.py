"""The Merkle tree of RFC 6962, which is CometBFT's (crypto/merkle): transactions, results, header fields.

Owns its root, its inclusion proofs and their verification; leaf = sha256(00 ‖ leaf), inner =
sha256(01 ‖ left ‖ right), the root of nothing is sha256 of nothing. Promises no recursion. Never decides
what a leaf means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from state.limits import MERKLE_AUNTS_MAX, MERKLE_TOTAL_MAX
from state.refusal import refuse

HASH_BYTES = 32
_EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Give sha256(00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Give sha256(01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Give the 32-byte root over ``leaves`` in their order (RFC 6962 §2.1)."""
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _level_above(level)
    return level[0] if level else _EMPTY_ROOT


def prove(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Give the aunts of leaf ``index`` (from 0), the nearest first (RFC 6962 §2.1.1).

    Raises:
        IndexError: no such leaf: our own bug.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    aunts: list[bytes] = []
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            aunts.append(level[sibling])
        level = _level_above(level)
        index >>= 1
    return aunts


def verify_inclusion(root: bytes, leaf_hash: bytes, index: int, total: int, aunts: Sequence[bytes]) -> None:
    """Check that the leaf with ``leaf_hash`` is number ``index`` (from 0) of ``total`` under ``root``.

    The rule is RFC 9162 §2.1.3.2; aunts come nearest first, as in CometBFT's Proof.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    if not 0 <= index < total <= MERKLE_TOTAL_MAX:
        raise refuse(
            "index",
            got="an index or total out of range",
            expected=f"0 <= index < total <= {MERKLE_TOTAL_MAX}",
        )
    if len(aunts) > MERKLE_AUNTS_MAX:
        raise refuse("aunts", got=len(aunts), expected=f"at most {MERKLE_AUNTS_MAX} aunts")
    if any(len(part) != HASH_BYTES for part in (root, leaf_hash, *aunts)):
        raise refuse("hash-size", expected="32 bytes for the root, the leaf's hash and every aunt")
    node, last = leaf_hash, total - 1
    for aunt in aunts:
        if last == 0:
            raise refuse("aunts", got=len(aunts), expected="fewer aunts for this index and total")
        # A node without a right sibling rises until it is itself a right child.
        while index == last and not index & 1:
            index >>= 1
            last >>= 1
        node = inner_hash(aunt, node) if index & 1 else inner_hash(node, aunt)
        index >>= 1
        last >>= 1
    if last != 0:
        raise refuse("aunts", got=len(aunts), expected="more aunts for this index and total")
    if node != root:
        raise refuse("root", got=node, expected=f"root {root.hex()}")


def _level_above(level: list[bytes]) -> list[bytes]:
    # Pairing from the left and lifting an odd last node gives RFC 6962's split at the largest power of two.
    above = [inner_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        above.append(level[-1])
    return above
