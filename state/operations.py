"""What the operations of an ICS-23 path compute.

Owns leaf and inner hashing for the operations our formats use (SHA-256, no length or a varint length); any
other is refused, never guessed. Judges no form: ``state.spec`` does that first.
"""

from __future__ import annotations

import hashlib

from ledger.pb.proof_pb2 import NO_HASH, NO_PREFIX, SHA256, VAR_PROTO, ExistenceProof, InnerOp, LeafOp
from state.refusal import refuse


def root_of(proof: ExistenceProof) -> bytes:
    """Compute the root that an existence proof leads to, whatever its format.

    Raises:
        VerificationFailed: PROOF_INVALID: no leaf, empty key or value, an operation no format of ours uses.
    """
    if not proof.HasField("leaf"):
        raise refuse("leaf-missing", expected="a leaf operation")
    node = leaf_hash(proof.leaf, proof.key, proof.value)
    for step in proof.path:
        node = inner_hash(step, node)
    return node


def leaf_hash(op: LeafOp, key: bytes, value: bytes) -> bytes:
    """Apply a leaf operation: hash(prefix ‖ length(prehash key) ‖ length(prehash value)).

    Raises:
        VerificationFailed: PROOF_INVALID: empty key or value, or an operation that no format of ours uses.
    """
    if not key or not value:
        raise refuse("leaf-empty", expected="a key and a value of at least one byte")
    content = (
        op.prefix + _prepare(op.prehash_key, op.length, key) + _prepare(op.prehash_value, op.length, value)
    )
    return _hash(op.hash, content)


def inner_hash(op: InnerOp, child: bytes) -> bytes:
    """Apply an inner operation: hash(prefix ‖ child ‖ suffix).

    Raises:
        VerificationFailed: PROOF_INVALID: empty child, or an operation that no format of ours uses.
    """
    if not child:
        raise refuse("child-empty", expected="the hash of a child")
    return _hash(op.hash, op.prefix + child + op.suffix)


def _prepare(prehash: int, length: int, content: bytes) -> bytes:
    hashed = content if prehash == NO_HASH else _hash(prehash, content)
    if length == NO_PREFIX:
        return hashed
    if length == VAR_PROTO:
        return _varint(len(hashed)) + hashed
    raise refuse("length-operation", got=length, expected="NO_PREFIX or VAR_PROTO")


def _hash(operation: int, content: bytes) -> bytes:
    if operation != SHA256:
        raise refuse("hash-operation", got=operation, expected="SHA256")
    return hashlib.sha256(content).digest()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
