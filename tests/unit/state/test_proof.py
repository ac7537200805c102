"""Forged and oversized proofs."""

from __future__ import annotations

import hashlib

import pytest

from ledger.errors import Code, VerificationFailed
from ledger.pb.proof_pb2 import (
    SHA256,
    VAR_PROTO,
    CommitmentProof,
    ExistenceProof,
    InnerOp,
    LeafOp,
    NonExistenceProof,
)
from state.limits import PROOF_BYTES_MAX, TREE_DEPTH_MAX
from state.merkle import merkle_root
from state.proof import SMT, TENDERMINT, parse_proof, verify_membership, verify_non_membership
from state.tree import Tree

CONTENT = {b"key/%d" % number: b"value %d" % number for number in range(64)}
TREE = Tree.build(CONTENT.items())
ORDER = sorted(CONTENT, key=lambda key: hashlib.sha256(key).digest())


def _exist(key: bytes) -> ExistenceProof:
    return TREE.prove(key, CONTENT.__getitem__).exist


def _absence_refused(key: bytes, proof: NonExistenceProof, rule: str) -> None:
    with pytest.raises(VerificationFailed) as failure:
        verify_non_membership(SMT, TREE.root, CommitmentProof(nonexist=proof), key)
    assert (failure.value.code, failure.value.facts["rule"]) == (Code.PROOF_INVALID, rule)


def _between(low: int, high: int) -> bytes:
    """Find an absent key whose hash lies between those of two keys in ``ORDER``."""
    bounds = [hashlib.sha256(ORDER[at]).digest() for at in (low, high)]
    for number in range(100_000):
        key = b"absent/%d" % number
        if bounds[0] < hashlib.sha256(key).digest() < bounds[1]:
            return key
    raise AssertionError("no key between")


@pytest.mark.requires("state.proof-forgery")
def test_a_present_key_is_not_proven_absent() -> None:
    for at in range(1, len(ORDER) - 1):
        wide = NonExistenceProof(key=ORDER[at], left=_exist(ORDER[at - 1]), right=_exist(ORDER[at + 1]))
        _absence_refused(ORDER[at], wide, "not-neighbours")
    _absence_refused(ORDER[0], NonExistenceProof(right=_exist(ORDER[1])), "left-neighbour-missing")
    _absence_refused(ORDER[-1], NonExistenceProof(left=_exist(ORDER[-2])), "right-neighbour-missing")


@pytest.mark.requires("state.proof-forgery")
def test_neighbours_must_surround_the_key() -> None:
    key = _between(10, 11)
    here, there = _exist(ORDER[10]), _exist(ORDER[11])
    verify_non_membership(
        SMT, TREE.root, CommitmentProof(nonexist=NonExistenceProof(left=here, right=there)), key
    )
    _absence_refused(key, NonExistenceProof(left=there, right=here), "left-neighbour")
    _absence_refused(key, NonExistenceProof(right=here), "right-neighbour")
    _absence_refused(key, NonExistenceProof(left=here, right=_exist(ORDER[12])), "not-neighbours")
    _absence_refused(key, NonExistenceProof(left=here), "right-neighbour-missing")
    _absence_refused(key, NonExistenceProof(right=there), "left-neighbour-missing")
    _absence_refused(key, NonExistenceProof(key=key), "neighbours-missing")
    _absence_refused(ORDER[10], NonExistenceProof(left=here, right=there), "left-neighbour")


@pytest.mark.requires("state.proof-forgery")
def test_neighbours_of_one_path_are_refused() -> None:
    single = Tree.build([(b"k", b"v")])
    leaf = single.prove(b"k", lambda _: b"v").exist
    forged = CommitmentProof(nonexist=NonExistenceProof(left=leaf, right=leaf))
    with pytest.raises(VerificationFailed):
        verify_non_membership(SMT, single.root, forged, b"other")


@pytest.mark.requires("state.proof-forgery")
def test_kinds_are_not_exchanged() -> None:
    exist, absent = TREE.prove(b"key/1", CONTENT.__getitem__), TREE.prove(b"absent", CONTENT.__getitem__)
    with pytest.raises(VerificationFailed):
        verify_non_membership(SMT, TREE.root, exist, b"key/1")
    for spec, proof, key in (
        (SMT, absent, b"absent"),
        (SMT, CommitmentProof(), b"key/1"),
        (TENDERMINT, exist, b"key/1"),
        (SMT, exist, b"key/2"),
    ):
        with pytest.raises(VerificationFailed) as failure:
            verify_membership(spec, TREE.root, proof, key, b"value 1")
        assert failure.value.code is Code.PROOF_INVALID


@pytest.mark.requires("state.tendermint-leaf-prefix")
def test_a_longer_keys_tail_is_not_a_key() -> None:
    digest = hashlib.sha256(b"v").digest()
    root = merkle_root([b"\x05abc\x01d" + b"\x20" + digest])
    leaf = LeafOp(hash=SHA256, prehash_value=SHA256, length=VAR_PROTO, prefix=b"\x00")
    honest = ExistenceProof(key=b"abc\x01d", value=b"v", leaf=leaf)
    verify_membership(TENDERMINT, root, CommitmentProof(exist=honest), b"abc\x01d", b"v")
    leaf.prefix = b"\x00\x05abc"
    forged = CommitmentProof(exist=ExistenceProof(key=b"d", value=b"v", leaf=leaf))
    with pytest.raises(VerificationFailed) as failure:
        verify_membership(TENDERMINT, root, forged, b"d", b"v")
    assert failure.value.facts["rule"] == "leaf-prefix"


@pytest.mark.requires("state.ics23-bounded")
def test_oversized_proofs_are_refused_before_they_are_built() -> None:
    step = b"\x22\x00"
    path = step * (TREE_DEPTH_MAX + 4)
    for raw in (
        b"\x0a" + _size(path) + path,
        b"\x12" + _size(b"\x12" + _size(path) + path) + b"\x12" + _size(path) + path,
        b"\x0a" + _size(step * 100_000) + step * 100_000,
        bytes(PROOF_BYTES_MAX + 1),
    ):
        with pytest.raises(VerificationFailed) as failure:
            parse_proof(raw)
        assert failure.value.facts["rule"] in ("encoding", "size")


@pytest.mark.requires("state.ics23-bounded")
def test_a_path_deeper_than_the_format_is_refused() -> None:
    proof = TREE.prove(b"key/1", CONTENT.__getitem__)
    proof.exist.path.extend([InnerOp(hash=SHA256, prefix=b"\x01", suffix=bytes(32))] * TREE_DEPTH_MAX)
    with pytest.raises(VerificationFailed) as failure:
        verify_membership(SMT, TREE.root, proof, b"key/1", b"value 1")
    assert failure.value.facts["rule"] == "depth"


@pytest.mark.requires("state.ics23-strict-bytes")
def test_unknown_fields_at_any_depth_and_second_readings_are_refused() -> None:
    good = TREE.prove(b"key/1", CONTENT.__getitem__)
    raw = good.SerializeToString()
    assert parse_proof(raw) == good
    leaf = good.exist.leaf.SerializeToString()
    fields = b"\x0a\x05key/1\x12\x07value 1"
    for body in (
        fields + b"\x1a" + _size(leaf + b"\x30\x01") + leaf + b"\x30\x01",
        fields + b"\x1a" + _size(leaf) + leaf + b"\x2a\x02\x08\x01",
        fields + b"\x1a" + _size(leaf) + leaf + fields,
        b"\x12\x07value 1\x0a\x05key/1\x1a" + _size(leaf) + leaf,
        fields + b"\x1a" + _size(leaf + b"\x10\x00") + leaf + b"\x10\x00",
    ):
        with pytest.raises(VerificationFailed) as failure:
            parse_proof(b"\x0a" + _size(body) + body)
        assert failure.value.facts["rule"] == "encoding-not-minimal"


def _size(content: bytes) -> bytes:
    number, out = len(content), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes((number,))
