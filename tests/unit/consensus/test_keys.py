"""Validator keys by type: addresses, set hashes, and every edge of what a right secp256k1 signature is."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from consensus.light import encoding, keys
from consensus.light.keys import SECP256K1_ORDER, KeyType, address_of, verify
from consensus.light.parse import parse_light_block, parse_validators
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import Options, Validator, ValidatorSet
from consensus.light.verdict import Ok
from consensus.light.verifier import restored
from consensus.light.verifier import verify as judge
from ledger.errors import Code, VerificationFailed
from ledger.pb import comet_pb2 as pb
from state.merkle import merkle_root
from tests.support.chain import Chain, secp_signers, signers

(SIGNER,) = secp_signers("s")
PUBLIC = SIGNER.validator.public_key
MESSAGE = b"a vote"
_P = 2**256 - 2**32 - 977
_G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def joined(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def parts(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


@pytest.mark.requires("light.key-types")
def test_addresses() -> None:
    """The key and address of CometBFT's crypto/secp256k1/secp256k1_test.go."""
    key = bytes.fromhex("02950e1cdfcb133d6024109fd489f734eeb4502418e538c28481f22bce276f248c")
    assert address_of(KeyType.SECP256K1, key).hex() == "7c2bb42a8be69791ec763e51f5a49bcd41e82237"
    assert address_of(KeyType.ED25519, bytes(32)) == hashlib.sha256(bytes(32)).digest()[:20]


@pytest.mark.requires("light.key-types")
def test_a_set_of_both_types_is_hashed_by_type() -> None:
    mixed = ValidatorSet.of(
        (Validator(KeyType.SECP256K1, PUBLIC, 7), *(s.validator for s in signers("a", "b")))
    )
    leaves = []
    for validator in mixed.validators:
        field = "ed25519" if validator.key_type is KeyType.ED25519 else "secp256k1"
        key: Any = {field: validator.public_key}
        simple = pb.SimpleValidator(pub_key=pb.PublicKey(**key), voting_power=validator.power)
        leaves.append(simple.SerializeToString())
    assert encoding.validators_hash(mixed) == merkle_root(leaves)
    assert parse_validators(validators_json(mixed)) == mixed


@pytest.mark.requires("light.key-types")
def test_a_low_signature_is_right_and_nothing_near_it() -> None:
    good = SIGNER.sign(MESSAGE)
    r, s = parts(good)
    assert verify(KeyType.SECP256K1, PUBLIC, MESSAGE, good)
    wrong = {
        "high s": joined(r, SECP256K1_ORDER - s),
        "no r": joined(0, s),
        "no s": joined(r, 0),
        "r of the order": joined(SECP256K1_ORDER, s),
        "s of the order": joined(r, SECP256K1_ORDER),
        "another r": joined(r ^ 1, s),
        "another s": joined(r, s - 1),
        "a recovery byte": good + b"\x00",
        "cut": good[:63],
        "nothing": b"",
        "DER": encode_dss_signature(r, s)[:64],
        "all ones": b"\xff" * 64,
    }
    assert [name for name, one in wrong.items() if verify(KeyType.SECP256K1, PUBLIC, MESSAGE, one)] == []
    assert not verify(KeyType.SECP256K1, PUBLIC, MESSAGE + b"!", good)


@pytest.mark.requires("light.key-types")
@pytest.mark.parametrize(
    "key",
    [b"", b"\x00" * 33, b"\x02" + b"\xff" * 32, b"\x05" + PUBLIC[1:], PUBLIC[:32], b"\x04" + PUBLIC[1:] * 2],
)
def test_bytes_that_are_no_point_sign_nothing(key: bytes) -> None:
    assert not verify(KeyType.SECP256K1, key, MESSAGE, SIGNER.sign(MESSAGE))


@pytest.mark.requires("light.key-types")
def test_numbers_beyond_the_order_are_reduced_as_cometbft_does() -> None:
    """A key made for a signature of s = 1: ``1 + order`` is taken too (decred's ``SetByteSlice``)."""
    digest = int.from_bytes(hashlib.sha256(MESSAGE).digest(), "big")
    point = _times(5, _G)
    inverse = pow(point[0], -1, SECP256K1_ORDER)
    made = _plus(_times(inverse, point), _times(-digest * inverse % SECP256K1_ORDER, _G))
    key = bytes([2 + made[1] % 2]) + made[0].to_bytes(32, "big")
    assert verify(KeyType.SECP256K1, key, MESSAGE, joined(point[0], 1))
    assert verify(KeyType.SECP256K1, key, MESSAGE, joined(point[0], 1 + SECP256K1_ORDER))


def _plus(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, other
    slope = 3 * x1 * x1 * pow(2 * y1, -1, _P) if one == other else (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    total: tuple[int, int] | None = None
    for bit in f"{scalar:b}":
        total = total and _plus(total, total)
        if bit == "1":
            total = _plus(total, point) if total else point
    assert total
    return total


@pytest.mark.requires("light.key-types")
def test_without_ripemd160_the_type_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = validators_json(ValidatorSet.of((Validator(KeyType.SECP256K1, PUBLIC, 7),)))
    monkeypatch.setattr(keys, "_has_ripemd160", lambda: False)
    with pytest.raises(VerificationFailed) as refused:
        parse_validators(listed)
    assert refused.value.code is Code.KEY_TYPE_UNSUPPORTED
    assert refused.value.got == KeyType.SECP256K1
    assert refused.value.expected == KeyType.ED25519


@pytest.mark.requires("light.key-types")
def test_a_commit_of_ml_dsa_votes_is_refused_by_its_key_type() -> None:
    chain = Chain(signers("a"))
    chain.extend(2)
    case: Any = {
        "signed_header": signed_header_json(chain.blocks[2].signed_header),
        "validators": validators_json(chain.blocks[2].validators),
    }
    vote = case["signed_header"]["commit"]["signatures"][0]
    vote["signature"] = base64.b64encode(bytes(3309)).decode()
    with pytest.raises(VerificationFailed) as refused:
        parse_light_block(case)
    assert refused.value.code is Code.KEY_TYPE_UNSUPPORTED
    assert refused.value.facts["field"] == "commit.signatures[0].signature"


@pytest.mark.requires("light.key-types")
def test_a_chain_of_both_types_verifies() -> None:
    chain = Chain((*signers("a", "b"), *secp_signers("s", "t")))
    chain.extend(6)
    ground = restored(chain.blocks[1].header, chain.blocks[1].next_validators)
    for height in (2, 6):
        block = chain.forge(height, absent=chain.members[height][:1])
        assert isinstance(judge(block, ground, Options(), chain.now_ns), Ok)
