"""ICS-23 proof specifications, and whether one step of a proof has the form its specification names.

Owns the three specifications we verify (cosmos/ics23: ``IavlSpec``, ``TendermintSpec``, ``SmtSpec``), all of
them binary and SHA-256. Promises that a leaf can't pass for an inner node, nor the other way round.
Never hashes anything, never looks at a root.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ledger.pb.proof_pb2 import NO_HASH, NO_PREFIX, SHA256, VAR_PROTO, ExistenceProof, InnerOp, LeafOp
from state.limits import PROOF_DEPTH_DEFAULT_MAX, TREE_DEPTH_MAX
from state.refusal import refuse


class PrefixRule(enum.Enum):
    """What a format demands of prefixes beyond their lengths."""

    ANY = "any"
    EXACT_LEAF = "exact leaf"
    """The leaf's prefix is the specification's, to the byte."""
    TENDERMINT = "tendermint"
    """As EXACT_LEAF, and an inner prefix begins with 01 and is 01 where the sibling is on the right."""
    IAVL = "iavl"
    """Height, size and version as signed varints, then the room a sibling needs."""


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """The form of a leaf: hash operations and length operation by number, and how its prefix begins."""

    hash: int = NO_HASH
    prehash_key: int = NO_HASH
    prehash_value: int = NO_HASH
    length: int = NO_PREFIX
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class InnerSpec:
    """The form of a binary inner node; sizes in bytes, prefix lengths without the left child.

    ``empty_child`` is b"" where the format has no empty children.
    """

    child_size: int
    min_prefix_bytes: int
    max_prefix_bytes: int
    empty_child: bytes = b""
    hash: int = SHA256

    def __post_init__(self) -> None:
        assert self.child_size >= 1
        assert self.max_prefix_bytes < self.min_prefix_bytes + self.child_size, "a prefix could hide a child"


@dataclass(frozen=True, slots=True)
class ProofSpec:
    """One proof format. ``hashed_order`` says that keys are ordered by their hash."""

    name: str
    leaf: LeafSpec
    inner: InnerSpec
    min_depth: int = 0
    max_depth: int = PROOF_DEPTH_DEFAULT_MAX
    hashed_order: bool = False
    prefix_rule: PrefixRule = PrefixRule.ANY


_PLAIN_KEY_LEAF = LeafSpec(SHA256, NO_HASH, SHA256, VAR_PROTO, b"\x00")

IAVL: Final = ProofSpec("iavl", _PLAIN_KEY_LEAF, InnerSpec(33, 4, 12), prefix_rule=PrefixRule.IAVL)
TENDERMINT: Final = ProofSpec(
    "tendermint", _PLAIN_KEY_LEAF, InnerSpec(32, 1, 1), prefix_rule=PrefixRule.TENDERMINT
)
SMT: Final = ProofSpec(
    "smt",
    LeafSpec(SHA256, SHA256, SHA256, NO_PREFIX, b"\x00"),
    InnerSpec(32, 1, 1, empty_child=bytes(32)),
    max_depth=TREE_DEPTH_MAX,
    hashed_order=True,
    prefix_rule=PrefixRule.EXACT_LEAF,
)
SPECS: Final = {spec.name: spec for spec in (IAVL, TENDERMINT, SMT)}


def check_existence(spec: ProofSpec, proof: ExistenceProof) -> None:
    """Check every operation of a path against the specification (CheckAgainstSpec of cosmos/ics23).

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    if not proof.HasField("leaf"):
        raise refuse("leaf-missing", expected="a leaf operation")
    check_leaf(spec, proof.leaf)
    depth = len(proof.path)
    if not spec.min_depth <= depth <= spec.max_depth:
        raise refuse("depth", got=depth, expected=f"{spec.min_depth} to {spec.max_depth} inner operations")
    for layer, step in enumerate(proof.path, start=1):
        check_inner(spec, step, layer)


def check_leaf(spec: ProofSpec, op: LeafOp) -> None:
    """Check that a leaf operation is the specification's own.

    Stricter than cosmos/ics23 for ``tendermint`` and ``smt``: there a prefix may only begin with the right
    byte, so that part of a longer key could pass for the prefix of another key.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    leaf = spec.leaf
    if spec.prefix_rule is PrefixRule.IAVL:
        _check_iavl_prefix(op.prefix, 0)
    got = (op.hash, op.prehash_key, op.prehash_value, op.length)
    expected = (leaf.hash, leaf.prehash_key, leaf.prehash_value, leaf.length)
    if got != expected:
        raise refuse("leaf-operations", got=got, expected=f"hash, prehashes and length {expected}")
    exact = spec.prefix_rule in (PrefixRule.EXACT_LEAF, PrefixRule.TENDERMINT)
    if not op.prefix.startswith(leaf.prefix) or (exact and op.prefix != leaf.prefix):
        raise refuse("leaf-prefix", got=op.prefix, expected=f"prefix {leaf.prefix.hex()}")


def check_inner(spec: ProofSpec, op: InnerOp, layer: int) -> None:
    """Check that an inner operation has the specification's form, ``layer`` steps (from 1) above the leaf.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    inner = spec.inner
    if op.hash != inner.hash:
        raise refuse("inner-hash", got=op.hash, expected=f"hash operation {inner.hash}")
    if spec.prefix_rule is PrefixRule.IAVL:
        _check_iavl_prefix(op.prefix, layer)
    elif spec.prefix_rule is PrefixRule.TENDERMINT and not (
        op.prefix == b"\x01" if op.suffix else op.prefix.startswith(b"\x01")
    ):
        raise refuse("inner-prefix", got=op.prefix, expected="01, followed by the left child if there is one")
    if op.prefix.startswith(spec.leaf.prefix):
        raise refuse("inner-prefix-of-leaf", got=op.prefix, expected=f"not {spec.leaf.prefix.hex()}")
    if not inner.min_prefix_bytes <= len(op.prefix) <= inner.max_prefix_bytes + inner.child_size:
        raise refuse("inner-prefix-length", got=len(op.prefix), expected="room for at most one left child")
    if len(op.suffix) % inner.child_size:
        raise refuse("inner-suffix-length", got=len(op.suffix), expected=f"a multiple of {inner.child_size}")


def _check_iavl_prefix(prefix: bytes, layer: int) -> None:
    height, at = _signed_varint(prefix, 0)
    size, at = _signed_varint(prefix, at)
    version, at = _signed_varint(prefix, at)
    rest = len(prefix) - at
    if height < layer or size < 0 or version < 0:
        raise refuse(
            "iavl-height", got=(height, size, version), expected=f"height at least {layer}, none below 0"
        )
    if layer == 0 and (rest or height or size != 1):
        raise refuse(
            "iavl-leaf", got=(height, size, rest), expected="height 0, size 1, nothing after the version"
        )
    if layer and rest not in (1, 34):
        raise refuse("iavl-inner", got=rest, expected="1 or 34 bytes after the version")


def _signed_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read a zig-zag varint of at most 64 bits: (value, where it ends)."""
    value = 0
    for count in range(10):
        if at + count >= len(raw):
            break
        byte = raw[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >> 64:
                break
            return (value >> 1) ^ -(value & 1), at + count + 1
    raise refuse("iavl-varint", got=raw, expected="three varints of at most 64 bits")
