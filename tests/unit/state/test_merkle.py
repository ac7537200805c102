"""RFC 6962 trees against the recursive definition, for every small size."""

from __future__ import annotations

import hashlib

import pytest

from ledger.errors import VerificationFailed
from state.limits import MERKLE_AUNTS_MAX, MERKLE_TOTAL_MAX
from state.merkle import leaf_hash, merkle_root, prove, verify_inclusion
from tests.conformance.suites import ics23, merkle


def _by_definition(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _by_definition(leaves[:split]) + _by_definition(leaves[split:])).digest()


@pytest.mark.requires("state.merkle-root")
@pytest.mark.parametrize("total", range(34))
def test_root_and_every_proof(total: int) -> None:
    leaves = [b"leaf %d" % number for number in range(total)]
    root = merkle_root(leaves)
    assert root == _by_definition(leaves)
    for index in range(total):
        aunts = prove(leaves, index)
        verify_inclusion(root, leaf_hash(leaves[index]), index, total, aunts)
        wrong = [
            (leaf_hash(b"other"), index, total, aunts),
            (leaf_hash(leaves[index]), index, total, [*aunts, root]),
            (leaf_hash(leaves[index]), total, total, aunts),
            (leaf_hash(leaves[index]), -1, total, aunts),
            *([(leaf_hash(leaves[index]), index, total, aunts[:-1])] if aunts else []),
            *([(leaf_hash(leaves[index]), index ^ 1, total, aunts)] if aunts else []),
        ]
        for case in wrong:
            with pytest.raises(VerificationFailed):
                verify_inclusion(root, *case)
    with pytest.raises(IndexError):
        prove(leaves, total)


@pytest.mark.requires("state.merkle-root")
def test_limits_and_sizes_are_refused() -> None:
    leaf = leaf_hash(b"x")
    for root, leaf_digest, index, total, aunts in (
        (leaf, leaf, 0, MERKLE_TOTAL_MAX + 1, []),
        (leaf, leaf, 0, MERKLE_TOTAL_MAX, [leaf] * (MERKLE_AUNTS_MAX + 1)),
        (leaf[:-1], leaf, 0, 1, []),
        (b"", b"", 0, 1, []),
        (leaf, leaf, 0, 2, [leaf + b"x"]),
        (leaf, leaf, 10**5000, 10**5000 + 1, []),
    ):
        with pytest.raises(VerificationFailed) as failure:
            verify_inclusion(root, leaf_digest, index, total, aunts)
        assert str(failure.value)
    verify_inclusion(leaf, leaf, 0, 1, [])


@pytest.mark.requires("state.conformance-door")
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"leaf": 1, "index": 0, "total": 1, "root": ""},
        {"leaf": "00", "index": True, "total": 1, "root": ""},
        {"leaf": "00", "index": 0, "total": "x", "root": ""},
        {"leaf": "00", "index": 0, "total": 1.0, "root": ""},
        {"leaf": "00", "index": 0, "total": 1, "root": "", "aunts": "00"},
        {"leaf": "00", "index": 0, "total": 1, "root": "", "aunts": [None]},
        {"spec": "smt", "root": "", "key": "", "value": 1, "proof": ""},
        {"spec": ["smt"], "root": "", "key": "", "value": None, "proof": ""},
    ],
)
def test_unreadable_cases_are_refused(case: dict[str, object]) -> None:
    assert merkle.answer(case) == {"verdict": "refused"}
    assert ics23.answer(case) == {"verdict": "refused"}


@pytest.mark.requires("state.conformance-door")
def test_readable_cases_are_judged() -> None:
    root = merkle_root([b"a", b"b"])
    case: dict[str, object] = {
        "leaf": b"a".hex(),
        "index": 0,
        "total": "2",
        "aunts": [leaf_hash(b"b").hex()],
        "root": root.hex(),
    }
    assert merkle.answer(case) == {"verdict": "valid"}
    assert merkle.answer({**case, "index": 1})["verdict"] == "invalid"
    assert merkle.answer({**case, "root": ""})["verdict"] == "invalid"
    empty: dict[str, object] = {"spec": "smt", "root": "", "key": "", "value": None, "proof": ""}
    assert ics23.answer(empty)["verdict"] == "invalid"
