"""The published proofs of cosmos/ics23, accepted as they are and refused after any one change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.errors import VerificationFailed
from state.proof import SPECS, parse_proof, verify_membership, verify_non_membership
from tests.conformance.suites import ics23
from tests.vectors.state.shared import cases

PROOFS = cases("ics23/iavl") + cases("ics23/tendermint")


def _read(path: Path) -> tuple[str, bytes, bytes, bytes, bytes]:
    case = json.loads(path.read_text())
    root, key, value, proof = (bytes.fromhex(case[name]) for name in ("root", "key", "value", "proof"))
    return path.parent.name, root, key, value, proof


def _accepts(spec: str, root: bytes, key: bytes, value: bytes, proof: bytes) -> bool:
    try:
        if value:
            verify_membership(SPECS[spec], root, parse_proof(proof), key, value)
        else:
            verify_non_membership(SPECS[spec], root, parse_proof(proof), key)
    except VerificationFailed:
        return False
    return True


@pytest.mark.requires("state.ics23-vectors")
@pytest.mark.parametrize("path", PROOFS)
def test_published_proof_verifies_under_its_own_format_only(path: Path) -> None:
    spec, root, key, value, proof = _read(path)
    assert _accepts(spec, root, key, value, proof)
    assert not any(_accepts(other, root, key, value, proof) for other in SPECS if other != spec)


@pytest.mark.requires("state.ics23-vectors")
@pytest.mark.parametrize("path", PROOFS)
def test_published_proof_proves_nothing_else(path: Path) -> None:
    spec, root, key, value, proof = _read(path)
    assert not _accepts(spec, root[:-1] + bytes((root[-1] ^ 1,)), key, value, proof)
    assert not _accepts(spec, root[:-1], key, value, proof)
    assert not _accepts(spec, b"", key, value, proof)
    if value:
        assert not _accepts(spec, root, key + b"x", value, proof)
        assert not _accepts(spec, root, key, value + b"x", proof)
        assert not _accepts(spec, root, key, b"", proof)
    else:
        assert not _accepts(spec, root, key, b"value", proof)
        nonexist = parse_proof(proof).nonexist
        for neighbour in (nonexist.left, nonexist.right):
            assert not neighbour.key or not _accepts(spec, root, neighbour.key, b"", proof)


@pytest.mark.requires("state.ics23-mutations")
@pytest.mark.parametrize("path", PROOFS)
def test_every_flipped_bit_is_refused(path: Path) -> None:
    spec, root, key, value, proof = _read(path)
    # An absence proof names its key once more, for readers; the key that counts is the caller's.
    ignored = range(0)
    if not value:
        at = proof.find(key)
        ignored = range(at, at + len(key))
    for at in range(len(proof)):
        for mask in (0x01, 0x80):
            mutated = proof[:at] + bytes((proof[at] ^ mask,)) + proof[at + 1 :]
            assert at in ignored or not _accepts(spec, root, key, value, mutated), (at, mask)


@pytest.mark.requires("state.ics23-strict-bytes")
@pytest.mark.parametrize("path", PROOFS)
def test_only_the_minimal_encoding_is_read(path: Path) -> None:
    _, _, _, _, proof = _read(path)
    for other in (
        proof + b"\x28\x01",
        proof + proof,
        b"\x1a\x00",
        b"\x22\x00",
        b"",
        proof[:-1],
        proof + b"\x0a\x00",
    ):
        with pytest.raises(VerificationFailed):
            parse_proof(other)


@pytest.mark.requires("state.conformance-door")
@pytest.mark.parametrize("path", PROOFS)
def test_the_door_answers_as_published(path: Path) -> None:
    spec, root, key, value, proof = _read(path)
    case: dict[str, object] = {"spec": spec, "root": root.hex(), "key": key.hex(), "proof": proof.hex()}
    case["value"] = value.hex() or None
    assert ics23.answer(case) == {"verdict": "valid"}
    assert ics23.answer({**case, "root": "00" * 32})["verdict"] == "invalid"
    assert ics23.answer({**case, "proof": "zz"}) == {"verdict": "refused"}
