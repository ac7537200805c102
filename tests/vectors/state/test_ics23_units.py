"""The published unit cases of cosmos/ics23: operations, paths, specifications, empty branches."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from ledger.errors import Code, VerificationFailed
from ledger.pb.proof_pb2 import NO_HASH, NO_PREFIX, SHA256, VAR_PROTO, ExistenceProof, InnerOp, LeafOp
from state.operations import inner_hash, leaf_hash, root_of
from state.proof import left_is_empty, right_is_empty
from state.spec import IAVL, InnerSpec, LeafSpec, PrefixRule, ProofSpec, check_existence, check_leaf
from tests.vectors.state.shared import units

ANY_INNER = InnerSpec(32, 1, 1)


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _leaf_op(op: dict[str, Any]) -> LeafOp:
    return LeafOp(
        hash=op.get("hash", 0),
        prehash_key=op.get("prehash_key", 0),
        prehash_value=op.get("prehash_value", 0),
        length=op.get("length", 0),
        prefix=_bytes(op.get("prefix")),
    )


def _inner_op(op: dict[str, Any]) -> InnerOp:
    return InnerOp(hash=op.get("hash", 0), prefix=_bytes(op.get("prefix")), suffix=_bytes(op.get("suffix")))


def _existence(proof: dict[str, Any]) -> ExistenceProof:
    leaf = _leaf_op(proof["leaf"]) if "leaf" in proof else None
    path = [_inner_op(op) for op in proof.get("path", [])]
    return ExistenceProof(key=_bytes(proof["key"]), value=_bytes(proof["value"]), leaf=leaf, path=path)


def _spec(spec: dict[str, Any]) -> ProofSpec:
    leaf, inner = _leaf_op(spec["leaf_spec"]), spec["inner_spec"]
    assert inner["child_order"] == [0, 1]
    leaf_spec = LeafSpec(leaf.hash, leaf.prehash_key, leaf.prehash_value, leaf.length, leaf.prefix)
    sizes = (inner["child_size"], inner["min_prefix_length"], inner["max_prefix_length"])
    inner_spec = InnerSpec(*sizes, empty_child=_bytes(inner.get("empty_child")), hash=inner["hash"])
    # Upstream takes any specification with these sizes for IAVL (SpecEquals).
    rule = PrefixRule.IAVL if (leaf_spec, inner_spec) == (IAVL.leaf, IAVL.inner) else PrefixRule.ANY
    depths = {name: spec[name] for name in ("min_depth", "max_depth") if name in spec}
    return ProofSpec("published", leaf_spec, inner_spec, prefix_rule=rule, **depths)


def _refused(action: Callable[..., object], *arguments: object) -> bool:
    try:
        action(*arguments)
    except VerificationFailed as failure:
        return failure.code is Code.PROOF_INVALID
    return False


@pytest.mark.requires("state.ics23-vectors")
def test_leaf_operations() -> None:
    computed = 0
    for name, case in units("TestLeafOpData").items():
        op, key, value = _leaf_op(case["Op"]), _bytes(case["Key"]), _bytes(case["Value"])
        ours = (
            op.hash == SHA256
            and op.prehash_value in (NO_HASH, SHA256)
            and op.length in (NO_PREFIX, VAR_PROTO)
        )
        if case["IsErr"] or not ours:
            assert _refused(leaf_hash, op, key, value), name
        else:
            computed += 1
            assert leaf_hash(op, key, value) == _bytes(case["Expected"]), name
    assert computed == 4


@pytest.mark.requires("state.ics23-vectors")
def test_inner_operations() -> None:
    for name, case in units("TestInnerOpData").items():
        op, child = _inner_op(case["Op"]), _bytes(case["Child"])
        if case["IsErr"]:
            assert _refused(inner_hash, op, child), name
        else:
            assert inner_hash(op, child) == _bytes(case["Expected"]), name


@pytest.mark.requires("state.ics23-vectors")
def test_roots_of_paths() -> None:
    for name, case in units("TestExistenceProofData").items():
        proof = _existence(case["Proof"])
        if case["IsErr"]:
            assert _refused(root_of, proof), name
        else:
            assert root_of(proof) == _bytes(case["Expected"]), name


@pytest.mark.requires("state.ics23-vectors")
def test_leaves_against_specifications() -> None:
    for name, case in units("TestCheckLeafData").items():
        wanted = _leaf_op(case["Spec"])
        leaf = LeafSpec(wanted.hash, wanted.prehash_key, wanted.prehash_value, wanted.length, wanted.prefix)
        spec, op = ProofSpec("published", leaf, ANY_INNER), _leaf_op(case["Leaf"])
        assert _refused(check_leaf, spec, op) == case["IsErr"], name


@pytest.mark.requires("state.ics23-vectors")
def test_paths_against_specifications() -> None:
    for name, case in units("TestCheckAgainstSpecData").items():
        spec, proof = _spec(case["Spec"]), _existence(case["Proof"])
        refused = _refused(check_existence, spec, proof)
        assert refused == bool(case["Err"]), name


@pytest.mark.requires("state.ics23-vectors")
def test_empty_branches() -> None:
    for name, case in units("TestEmptyBranchData").items():
        spec, op = _spec(case["Spec"]), _inner_op(case["Op"])
        assert left_is_empty(spec, op) == case["IsLeft"], name
        assert right_is_empty(spec, op) == case["IsRight"], name
