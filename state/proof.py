"""ICS-23 commitment proofs: does this root hold this key and value, or lack this key?

Owns the strict reading of CommitmentProof bytes and the verification of existence and absence under the
specifications of ``state.spec``. Promises that any bytes are answered with acceptance or PROOF_INVALID, in
work bounded by ``PROOF_BYTES_MAX`` and the specification's depth. Never takes a root, key or value
from a proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from ledger.pb.proof_pb2 import CommitmentProof, ExistenceProof, InnerOp, NonExistenceProof
from state.limits import PROOF_BYTES_MAX
from state.operations import root_of
from state.refusal import refuse
from state.spec import IAVL, SMT, SPECS, TENDERMINT, ProofSpec, check_existence
from state.wire import check_fields

__all__ = [
    "IAVL",
    "SMT",
    "SPECS",
    "TENDERMINT",
    "ProofSpec",
    "left_is_empty",
    "parse_proof",
    "right_is_empty",
    "verify_membership",
    "verify_non_membership",
]


def parse_proof(raw: bytes) -> CommitmentProof:
    """Read a CommitmentProof, one existence or one absence; batch forms are refused.

    Only the bytes that encoding the message gives again are accepted: no unknown field, no repeated singular
    field, no explicit default. So every protobuf library reads the same proof.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    if not 0 < len(raw) <= PROOF_BYTES_MAX:
        raise refuse("size", got=len(raw), expected=f"1 to {PROOF_BYTES_MAX} bytes")
    check_fields(raw)
    proof = CommitmentProof()
    try:
        proof.ParseFromString(raw)
    except DecodeError:
        raise refuse("encoding", expected="a protobuf CommitmentProof") from None
    proof.DiscardUnknownFields()
    if proof.SerializeToString(deterministic=True) != raw:
        raise refuse("encoding-not-minimal", expected="the bytes its own encoding gives")
    return proof


def verify_membership(spec: ProofSpec, root: bytes, proof: CommitmentProof, key: bytes, value: bytes) -> None:
    """Check that the tree with ``root`` holds ``value`` under ``key``.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    if proof.WhichOneof("proof") != "exist":
        raise refuse("kind", got=proof.WhichOneof("proof"), expected="an existence proof")
    exist = proof.exist
    if exist.key != key:
        raise refuse("key", got=exist.key, expected=f"a proof of key {key.hex()}")
    if exist.value != value:
        raise refuse("value", got=exist.value, expected="a proof of the value claimed")
    _verify_existence(spec, root, exist)


def verify_non_membership(spec: ProofSpec, root: bytes, proof: CommitmentProof, key: bytes) -> None:
    """Check that the tree with ``root`` does not hold ``key``: its neighbours exist and nothing is between.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    if proof.WhichOneof("proof") != "nonexist":
        raise refuse("kind", got=proof.WhichOneof("proof"), expected="an absence proof")
    absent = proof.nonexist
    wanted = _order(spec, key)
    if absent.HasField("left"):
        _verify_existence(spec, root, absent.left)
        if wanted <= _order(spec, absent.left.key):
            raise refuse("left-neighbour", got=absent.left.key, expected="a left neighbour before the key")
    if absent.HasField("right"):
        _verify_existence(spec, root, absent.right)
        if wanted >= _order(spec, absent.right.key):
            raise refuse("right-neighbour", got=absent.right.key, expected="a right neighbour after the key")
    _check_nothing_between(spec, absent)


def left_is_empty(spec: ProofSpec, op: InnerOp) -> bool:
    """Tell whether the left child of a step that comes from the right is the format's empty child."""
    empty = spec.inner.empty_child
    return bool(empty) and _comes_from_right(spec, op) and op.prefix[-spec.inner.child_size :] == empty


def right_is_empty(spec: ProofSpec, op: InnerOp) -> bool:
    """Tell whether the right child of a step that comes from the left is the format's empty child."""
    empty = spec.inner.empty_child
    return bool(empty) and not _comes_from_right(spec, op) and op.suffix == empty


def _verify_existence(spec: ProofSpec, root: bytes, proof: ExistenceProof) -> None:
    check_existence(spec, proof)
    computed = root_of(proof)
    if computed != root:
        raise refuse("root", got=computed, expected=f"root {root.hex()}")


def _check_nothing_between(spec: ProofSpec, absent: NonExistenceProof) -> None:
    if not absent.HasField("left") and not absent.HasField("right"):
        raise refuse("neighbours-missing", expected="at least one neighbour")
    if not absent.HasField("left"):
        if not _is_left_most(spec, absent.right.path):
            raise refuse("left-neighbour-missing", expected="a right neighbour that is the left-most leaf")
        return
    if not absent.HasField("right"):
        if not _is_right_most(spec, absent.left.path):
            raise refuse("right-neighbour-missing", expected="a left neighbour that is the right-most leaf")
        return
    if not _are_neighbours(spec, absent.left.path, absent.right.path):
        raise refuse("not-neighbours", expected="two leaves with nothing between them")


def _are_neighbours(spec: ProofSpec, left: Sequence[InnerOp], right: Sequence[InnerOp]) -> bool:
    # From the root down, the steps both paths share say nothing; where they part, left must go left.
    shared = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one.prefix != other.prefix or one.suffix != other.suffix:
            break
        shared += 1
    if shared in (len(left), len(right)):
        return False
    fork_left, fork_right = len(left) - 1 - shared, len(right) - 1 - shared
    return (
        not _comes_from_right(spec, left[fork_left])
        and _comes_from_right(spec, right[fork_right])
        and _is_right_most(spec, left[:fork_left])
        and _is_left_most(spec, right[:fork_right])
    )


def _is_left_most(spec: ProofSpec, path: Sequence[InnerOp]) -> bool:
    return all(not _comes_from_right(spec, step) or left_is_empty(spec, step) for step in path)


def _is_right_most(spec: ProofSpec, path: Sequence[InnerOp]) -> bool:
    return all(_comes_from_right(spec, step) or right_is_empty(spec, step) for step in path)


def _comes_from_right(spec: ProofSpec, op: InnerOp) -> bool:
    """Tell from the room around the child whether it is the right one of the two.

    Raises:
        VerificationFailed: PROOF_INVALID where it is neither.
    """
    inner = spec.inner
    left_bytes = 0 if len(op.suffix) == inner.child_size else inner.child_size
    if len(op.suffix) + left_bytes == inner.child_size:
        own = len(op.prefix) - left_bytes
        if inner.min_prefix_bytes <= own <= inner.max_prefix_bytes:
            return left_bytes > 0
    raise refuse("position", got=(len(op.prefix), len(op.suffix)), expected="room for exactly one sibling")


def _order(spec: ProofSpec, key: bytes) -> bytes:
    return hashlib.sha256(key).digest() if spec.hashed_order else key
