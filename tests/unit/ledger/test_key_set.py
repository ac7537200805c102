"""Key ids of both algorithms, key objects and commitments."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger import key_set, keys
from ledger.errors import Code
from ledger.keys import Algorithm, PublicKey
from tests.support.key_rings import ALL, MOST, composite, plain, presented, public
from tests.support.refusal import refusal_of

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SMALL_ORDER = (1).to_bytes(32, "little")


def base58_decode(text: str) -> bytes:
    """Decode independently of the module under test; no leading zeros."""
    number = 0
    for character in text:
        number = number * 58 + ALPHABET.index(character)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@pytest.mark.requires("ledger.key-ids")
def test_a_composite_key_id_is_the_multihash_of_the_key() -> None:
    key = public(composite("alice"))
    assert key.key_id[0] == "z"
    assert base58_decode(key.key_id[1:]) == b"\x12\x20" + hashlib.sha256(key.raw).digest()
    assert PublicKey(Algorithm.ED25519, key.raw[-32:]).key_id == keys.key_id(key.raw[-32:])


@pytest.mark.requires("ledger.key-ids")
@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x7f"])
def test_a_key_id_tells_its_algorithm_whatever_the_key(filler: bytes) -> None:
    multihash = "z" + keys.base58_encode(b"\x12\x20" + filler * 32)
    assert keys.algorithm_of(multihash) is Algorithm.COMPOSITE
    assert keys.algorithm_of(keys.key_id(filler * 32)) is Algorithm.ED25519
    refusal_of(lambda: keys.public_key_of(multihash), Code.KEY_INVALID)


@pytest.mark.requires("ledger.key-registrable")
def test_a_composite_key_is_registrable_only_if_both_halves_are() -> None:
    good = composite("alice").public_key
    keys.check_registrable(PublicKey(Algorithm.COMPOSITE, good))
    for algorithm, raw in (
        (Algorithm.COMPOSITE, good[:-32] + SMALL_ORDER),
        (Algorithm.COMPOSITE, good[:-1]),
        (Algorithm.COMPOSITE, good + b"\0"),
        (Algorithm.COMPOSITE, good[-32:]),
        (Algorithm.ED25519, SMALL_ORDER),
        (Algorithm.ED25519, good),
        (Algorithm.ED25519, b""),
    ):
        refusal_of(lambda a=algorithm, r=raw: keys.check_registrable(PublicKey(a, r)), Code.KEY_INVALID)  # type: ignore[misc]


KEYS = presented(plain("a"), composite("b"))
WRITTEN = [key.to_json() for key in KEYS]
PLAIN = next(i for i, key in enumerate(KEYS) if key.public_key.algorithm is Algorithm.ED25519)


def edited(**fields: Any) -> list[Any]:
    """Give the key set with fields of its ed25519 key changed; None removes one."""
    found: list[Any] = json.loads(json.dumps(WRITTEN))
    found[PLAIN] = {name: v for name, v in (found[PLAIN] | fields).items() if v is not None}
    return found


@pytest.mark.requires("ledger.key-objects")
def test_key_objects_read_as_they_are_written() -> None:
    assert key_set.read_key_objects(WRITTEN, "keys") == KEYS
    one = presented(plain("a"), purposes=ALL)
    assert key_set.read_key_objects([one[0].to_json()], "keys") == one
    assert set(WRITTEN[0]) == {"keyId", "algorithm", "publicKey", "purposes"}


def text(raw: bytes) -> str:
    """Give base64."""
    return base64.b64encode(raw).decode()


@pytest.mark.requires("ledger.key-objects")
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, Code.FIELD_INVALID),
        ([], Code.FIELD_INVALID),
        (WRITTEN[::-1], Code.FIELD_INVALID),
        (WRITTEN[:1] * 2, Code.FIELD_INVALID),
        ([k.to_json() for k in presented(*(plain(str(i)) for i in range(5)))], Code.LIMIT_EXCEEDED),
        (edited(keyId=plain("other").key_id), Code.FIELD_INVALID),
        (edited(keyId=7), Code.FIELD_INVALID),
        (edited(keyId=None), Code.FIELD_MISSING),
        (edited(since=1), Code.FIELD_UNKNOWN),
        (edited(algorithm="rsa"), Code.FIELD_INVALID),
        (edited(algorithm="mldsa65-ed25519"), Code.FIELD_INVALID),
        (edited(publicKey=text(plain("other").public_key)), Code.FIELD_INVALID),
        (edited(publicKey=text(plain("a").public_key)[:-1]), Code.FIELD_INVALID),
        (edited(publicKey=text(plain("a").public_key) + "\n"), Code.LIMIT_EXCEEDED),
        (edited(publicKey="é" * 20), Code.FIELD_INVALID),
        (edited(publicKey=text(SMALL_ORDER), keyId=keys.key_id(SMALL_ORDER)), Code.KEY_INVALID),
        (edited(purposes=[]), Code.FIELD_INVALID),
        (edited(purposes=["rotate", "approve"]), Code.FIELD_INVALID),
        (edited(purposes=["rotate", "rotate"]), Code.FIELD_INVALID),
        (edited(purposes=["fly"]), Code.FIELD_INVALID),
        (edited(purposes=[["rotate"]]), Code.FIELD_INVALID),
        (edited(purposes="rotate"), Code.FIELD_INVALID),
    ],
)
def test_any_other_key_set_is_refused(value: Any, code: Code) -> None:
    refusal_of(lambda: key_set.read_key_objects(value, "keys"), code)


@pytest.mark.requires("ledger.key-objects")
def test_another_spelling_of_the_same_base64_is_refused() -> None:
    written = text(plain("a").public_key)
    last = ALPHABET64[ALPHABET64.index(written[-2]) + 1]
    loose = written[:-2] + last + "="
    assert base64.b64decode(loose, validate=True) == plain("a").public_key
    refusal_of(lambda: key_set.read_key_objects(edited(publicKey=loose), "keys"), Code.FIELD_INVALID)


ALPHABET64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@pytest.mark.requires("ledger.key-objects")
def test_validators_sign_with_ed25519_only() -> None:
    key = presented(composite("v"), purposes=("validate",))[0]
    refusal_of(lambda: key_set.read_key_objects([key.to_json()], "keys"), Code.FIELD_INVALID)


@pytest.mark.requires("ledger.key-objects")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda n: [*n[1:], n[-1]], Code.FIELD_INVALID),
        (lambda n: n[::-1], Code.FIELD_INVALID),
        (lambda n: [n[0].upper()], Code.FIELD_INVALID),
        (lambda n: [7], Code.FIELD_INVALID),
        (lambda n: {"a": 1}, Code.FIELD_INVALID),
        (lambda n: [f"{i:064x}" for i in range(9)], Code.LIMIT_EXCEEDED),
    ],
)
def test_commitments_are_sorted_digests_of_key_ids(change: Callable[[list[str]], Any], code: Code) -> None:
    key_id = plain("a").key_id
    assert key_set.commitment(key_id) == hashlib.sha256(key_id.encode()).hexdigest()
    following = sorted(f"ab{i:062x}" for i in range(8))
    assert key_set.read_next(following, "next") == tuple(following)
    assert key_set.read_next([], "next") == ()
    refusal_of(lambda: key_set.read_next(change(following), "next"), code)


@pytest.mark.requires("ledger.key-objects")
def test_keys_an_envelope_brings_are_known_before_they_are_registered() -> None:
    known = {composite("old").key_id: public(composite("old"))}
    resolve = key_set.resolve_first(presented(composite("new"), purposes=MOST), known.get)
    for name in ("old", "new"):
        assert resolve(composite(name).key_id) == public(composite(name))
    assert resolve(composite("other").key_id) is None
