"""Each rule of the specifications, by a step that breaks it alone."""

from __future__ import annotations

import pytest

from ledger.errors import VerificationFailed
from ledger.pb.proof_pb2 import (
    NO_HASH,
    NO_PREFIX,
    SHA256,
    SHA512,
    VAR_PROTO,
    HashOp,
    InnerOp,
    LeafOp,
    LengthOp,
)
from state.spec import IAVL, SMT, TENDERMINT, ProofSpec, check_inner, check_leaf

H = bytes(32)
IAVL_SIBLING = b"\x20" + H + b"\x20"
"""A left sibling after height, size and version: its length byte and hash, then the child's length byte."""


def _inner(prefix: bytes, suffix: bytes = b"", operation: HashOp = SHA256) -> InnerOp:
    return InnerOp(hash=operation, prefix=prefix, suffix=suffix)


@pytest.mark.requires("state.ics23-forms")
@pytest.mark.parametrize(
    ("spec", "op", "layer"),
    [
        (SMT, _inner(b"\x01", H), 1),
        (SMT, _inner(b"\x01" + H), 256),
        (TENDERMINT, _inner(b"\x01", H), 1),
        (TENDERMINT, _inner(b"\x01" + H), 1),
        (IAVL, _inner(b"\x02\x04\x06\x20", b"\x20" + H), 1),
        (IAVL, _inner(b"\x04\x04\x06" + IAVL_SIBLING), 2),
    ],
)
def test_right_inner_steps(spec: ProofSpec, op: InnerOp, layer: int) -> None:
    check_inner(spec, op, layer)


@pytest.mark.requires("state.ics23-forms")
@pytest.mark.parametrize(
    ("spec", "op", "layer", "rule"),
    [
        (SMT, _inner(b"\x01", H, SHA512), 1, "inner-hash"),
        (SMT, _inner(b"\x00", H), 1, "inner-prefix-of-leaf"),
        (SMT, _inner(b"", H), 1, "inner-prefix-length"),
        (SMT, _inner(b"\x01" + H + b"x"), 1, "inner-prefix-length"),
        (SMT, _inner(b"\x01", H[1:]), 1, "inner-suffix-length"),
        (TENDERMINT, _inner(b"\x02", H), 1, "inner-prefix"),
        (TENDERMINT, _inner(b"\x02" + H), 1, "inner-prefix"),
        (TENDERMINT, _inner(b"\x01" + H, H), 1, "inner-prefix"),
        (TENDERMINT, _inner(b"", b""), 1, "inner-prefix"),
        (IAVL, _inner(b"\x02\x04\x06\x20", b"\x20" + H), 2, "iavl-height"),
        (IAVL, _inner(b"\x03\x04\x06\x20", b"\x20" + H), 1, "iavl-height"),
        (IAVL, _inner(b"\x02\x03\x06\x20", b"\x20" + H), 1, "iavl-height"),
        (IAVL, _inner(b"\x02\x04\x05\x20", b"\x20" + H), 1, "iavl-height"),
        (IAVL, _inner(b"\x02\x04\x06", b"\x20" + H), 1, "iavl-inner"),
        (IAVL, _inner(b"\x02\x04\x06" + IAVL_SIBLING + b"x"), 1, "iavl-inner"),
        (IAVL, _inner(b"\x02\x04", b"\x20" + H), 1, "iavl-varint"),
        (IAVL, _inner(b"\x02\x04" + b"\xff" * 9 + b"\x02\x20", b"\x20" + H), 1, "iavl-varint"),
        (IAVL, _inner(b"\x02\x04" + b"\xff" * 11, b"\x20" + H), 1, "iavl-varint"),
    ],
)
def test_wrong_inner_steps(spec: ProofSpec, op: InnerOp, layer: int, rule: str) -> None:
    with pytest.raises(VerificationFailed) as failure:
        check_inner(spec, op, layer)
    assert failure.value.facts["rule"] == rule


@pytest.mark.requires("state.ics23-forms")
@pytest.mark.parametrize(
    ("spec", "key_hash", "length", "prefix", "rule"),
    [
        (SMT, SHA256, NO_PREFIX, b"\x00", None),
        (SMT, NO_HASH, NO_PREFIX, b"\x00", "leaf-operations"),
        (SMT, SHA256, VAR_PROTO, b"\x00", "leaf-operations"),
        (SMT, SHA256, NO_PREFIX, b"\x01", "leaf-prefix"),
        (SMT, SHA256, NO_PREFIX, b"\x00\x00", "leaf-prefix"),
        (SMT, SHA256, NO_PREFIX, b"", "leaf-prefix"),
        (TENDERMINT, NO_HASH, VAR_PROTO, b"\x00", None),
        (TENDERMINT, NO_HASH, VAR_PROTO, b"\x00a", "leaf-prefix"),
        (IAVL, NO_HASH, VAR_PROTO, b"\x00\x02\x06", None),
        (IAVL, NO_HASH, VAR_PROTO, b"\x00\x02\x06a", "iavl-leaf"),
        (IAVL, NO_HASH, VAR_PROTO, b"\x02\x02\x06", "iavl-leaf"),
        (IAVL, NO_HASH, VAR_PROTO, b"\x00\x04\x06", "iavl-leaf"),
        (IAVL, NO_HASH, VAR_PROTO, b"\x00\x02\x05", "iavl-height"),
        (IAVL, NO_HASH, VAR_PROTO, b"\x00", "iavl-varint"),
    ],
)
def test_leaf_steps(
    spec: ProofSpec, key_hash: HashOp, length: LengthOp, prefix: bytes, rule: str | None
) -> None:
    op = LeafOp(hash=SHA256, prehash_key=key_hash, prehash_value=SHA256, length=length, prefix=prefix)
    if rule is None:
        check_leaf(spec, op)
        return
    with pytest.raises(VerificationFailed) as failure:
        check_leaf(spec, op)
    assert failure.value.facts["rule"] == rule
