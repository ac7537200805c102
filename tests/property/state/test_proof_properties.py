"""The verifier under any bytes and any change of a good proof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Code, VerificationFailed
from ledger.pb.proof_pb2 import CommitmentProof, ExistenceProof, InnerOp, LeafOp, NonExistenceProof
from state.merkle import leaf_hash, merkle_root, prove, verify_inclusion
from state.proof import SMT, SPECS, parse_proof, verify_membership, verify_non_membership
from state.tree import Tree

CONTENT = {b"key/%d" % number: b"value %d" % number for number in range(30)}
TREE = Tree.build(CONTENT.items())
KEYS = st.integers(0, 60).map(lambda number: b"key/%d" % number)
SMALL = st.binary(max_size=40)
NUMBERS = st.integers(0, 9)
LEAVES = st.builds(
    LeafOp, hash=NUMBERS, prehash_key=NUMBERS, prehash_value=NUMBERS, length=NUMBERS, prefix=SMALL
)
STEPS = st.builds(InnerOp, hash=st.integers(0, 2), prefix=SMALL, suffix=SMALL)
EXISTENCES = st.builds(
    ExistenceProof, key=SMALL, value=SMALL, leaf=st.none() | LEAVES, path=st.lists(STEPS, max_size=4)
)
ABSENCES = st.builds(NonExistenceProof, key=SMALL, left=st.none() | EXISTENCES, right=st.none() | EXISTENCES)


def _verdict(spec: str, proof: bytes, key: bytes, value: bytes | None) -> bool:
    try:
        if value is None:
            verify_non_membership(SPECS[spec], TREE.root, parse_proof(proof), key)
        else:
            verify_membership(SPECS[spec], TREE.root, parse_proof(proof), key, value)
    except VerificationFailed as failure:
        return failure.code is not Code.PROOF_INVALID
    return True


@pytest.mark.requires("state.ics23-any-bytes")
@given(st.sampled_from(sorted(SPECS)), st.binary(max_size=400), SMALL, st.none() | SMALL)
def test_any_bytes(spec: str, proof: bytes, key: bytes, value: bytes | None) -> None:
    assert not _verdict(spec, proof, key, value)


@pytest.mark.requires("state.ics23-any-bytes")
@given(
    st.sampled_from(sorted(SPECS)),
    st.builds(CommitmentProof, exist=EXISTENCES) | st.builds(CommitmentProof, nonexist=ABSENCES),
    SMALL,
    st.none() | SMALL,
)
def test_any_message(spec: str, proof: CommitmentProof, key: bytes, value: bytes | None) -> None:
    if value is not None and proof.HasField("exist"):
        key, value = proof.exist.key, proof.exist.value
    assert not _verdict(spec, proof.SerializeToString(), key, value)


@pytest.mark.requires("state.ics23-mutations")
@given(KEYS, st.data())
def test_a_changed_proof_proves_nothing_false(key: bytes, data: st.DataObject) -> None:
    good = TREE.prove(key, CONTENT.__getitem__).SerializeToString()
    at = data.draw(st.integers(0, len(good) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "insert"]))
    byte = data.draw(st.integers(1, 255))
    if kind == "flip":
        bad = good[:at] + bytes((good[at] ^ byte,)) + good[at + 1 :]
    elif kind == "drop":
        bad = good[:at] + good[at + 1 :]
    else:
        bad = good[:at] + bytes((byte,)) + good[at:]
    if key in CONTENT:
        assert not _verdict("smt", bad, key, CONTENT[key])
        assert not _verdict("smt", bad, key, None)
    else:
        assert not _verdict("smt", bad, key, b"value")


@pytest.mark.requires("state.proof-forgery")
@given(KEYS, st.sampled_from(sorted(CONTENT)), st.sampled_from(sorted(CONTENT)))
def test_no_two_leaves_prove_a_present_key_absent(key: bytes, left: bytes, right: bytes) -> None:
    proofs = [TREE.prove(end, CONTENT.__getitem__).exist for end in (left, right)]
    for absent in (
        NonExistenceProof(left=proofs[0], right=proofs[1]),
        NonExistenceProof(left=proofs[0]),
        NonExistenceProof(right=proofs[1]),
    ):
        raw = CommitmentProof(nonexist=absent).SerializeToString()
        assert key not in CONTENT or not _verdict("smt", raw, key, None)
    assert SMT.hashed_order


@pytest.mark.requires("state.merkle-root")
@given(st.lists(st.binary(max_size=3), min_size=1, max_size=20), st.data())
def test_inclusion_holds_for_its_place_alone(leaves: list[bytes], data: st.DataObject) -> None:
    root = merkle_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    aunts = prove(leaves, index)
    verify_inclusion(root, leaf_hash(leaves[index]), index, len(leaves), aunts)
    other = data.draw(st.integers(0, len(leaves) + 1))
    if other != index and (other >= len(leaves) or leaves[other] != leaves[index]):
        with pytest.raises(VerificationFailed):
            verify_inclusion(root, leaf_hash(leaves[index]), other, len(leaves), aunts)
