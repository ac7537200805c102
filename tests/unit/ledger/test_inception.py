"""did:conclave: the hash of its inception, wanted by every key, and the Identity object that carries it."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

import pytest

from ledger import inception
from ledger.errors import Code
from ledger.identity import IdentityRecord, read_identity_object
from ledger.types import JsonObject
from tests.support.key_rings import CHAIN_ID, committed, composite, identity_spec, plain
from tests.support.refusal import refusal_of
from tests.unit.ledger.test_key_set import base58_decode

FIRST, NEXT = (plain("a"), composite("b")), (plain("c"),)
SPEC = identity_spec(FIRST, NEXT)


def read(spec: Any, chain_id: str = CHAIN_ID) -> IdentityRecord:
    """Read the spec as of height 7."""
    return read_identity_object("alice", spec, "spec", chain_id=chain_id, height=7)


def edited(path: str, value: Any) -> JsonObject:
    """Give the spec with one field changed."""
    found: JsonObject = json.loads(json.dumps(SPEC))
    *parents, last = path.split(".")
    at: Any = found
    for name in parents:
        at = at[int(name) if name.isdigit() else name]
    at[int(last) if last.isdigit() else last] = value
    return found


@pytest.mark.requires("ledger.inception")
def test_the_did_is_the_hash_of_ledger_and_inception() -> None:
    """docs/spec/identities.md §2, recomputed with json and hashlib alone."""
    content = json.dumps(
        {"ledger": CHAIN_ID, "inception": SPEC["inception"]}, sort_keys=True, separators=(",", ":")
    )
    method, name, ledger, scid = SPEC["did"].split(":")
    assert (method, name, ledger) == ("did", "conclave", CHAIN_ID)
    assert base58_decode(scid) == hashlib.sha256(content.encode()).digest()


@pytest.mark.requires("ledger.inception")
def test_an_inception_makes_the_first_version() -> None:
    made = read(SPEC)
    assert (made.did, made.name, made.version, made.height, made.sequence) == (SPEC["did"], "alice", 1, 7, 0)
    assert [key.key_id for key in made.keys] == sorted(key.key_id for key in FIRST)
    assert all((key.since, key.until, key.state) == (7, None, "active") for key in made.keys)
    assert made.next == committed(*NEXT)
    assert made.is_active
    assert made.is_living


@pytest.mark.requires("ledger.inception")
def test_each_key_signs_the_did_in_its_chain() -> None:
    parts = (b"conclave/inception/v1", CHAIN_ID.encode(), SPEC["did"].encode())
    expected = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    assert inception.inception_sign_bytes(CHAIN_ID, SPEC["did"]) == expected
    by_id = {proof["keyId"]: base64.b64decode(proof["signature"]) for proof in SPEC["proofs"]}
    assert by_id[FIRST[0].key_id] == FIRST[0].sign(expected)
    unwilling = identity_spec((plain("a"),))
    unwilling["proofs"] = [
        {"keyId": plain("a").key_id, "signature": base64.b64encode(plain("x").sign(expected)).decode()}
    ]
    refusal_of(lambda: read(unwilling), Code.INCEPTION_INVALID)


OTHER = identity_spec(FIRST, ())


@pytest.mark.requires("ledger.inception")
@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (edited("did", OTHER["did"]), Code.INCEPTION_INVALID),
        (edited("did", "did:web:example"), Code.INCEPTION_INVALID),
        (edited("did", plain("a").did), Code.INCEPTION_INVALID),
        (edited("inception.next", []), Code.INCEPTION_INVALID),
        (edited("inception.salt", "00" * 32), Code.INCEPTION_INVALID),
        (edited("inception.salt", "00" * 31), Code.FIELD_INVALID),
        (edited("inception.keys.0.purposes", ["rotate"]), Code.INCEPTION_INVALID),
        (edited("inception.keys", []), Code.FIELD_INVALID),
        (edited("inception", None), Code.FIELD_INVALID),
        (edited("inception.more", 1), Code.FIELD_UNKNOWN),
        (edited("proofs", []), Code.INCEPTION_INVALID),
        (edited("proofs", SPEC["proofs"][::-1]), Code.INCEPTION_INVALID),
        (edited("proofs", OTHER["proofs"]), Code.INCEPTION_INVALID),
        (edited("proofs.0.signature", OTHER["proofs"][0]["signature"]), Code.INCEPTION_INVALID),
        (edited("proofs.0.signature", "AAAA"), Code.FIELD_INVALID),
        (edited("proofs.0.signature", "A" * 9000), Code.LIMIT_EXCEEDED),
        (edited("proofs.0.keyId", {}), Code.INCEPTION_INVALID),
        (edited("proofs.0", "x"), Code.FIELD_INVALID),
        (edited("kind", "robot"), Code.FIELD_INVALID),
        (edited("organisation", ""), Code.FIELD_INVALID),
        (edited("cluster", "East"), Code.FIELD_INVALID),
        (edited("name", "bob"), Code.FIELD_UNKNOWN),
        (None, Code.FIELD_INVALID),
    ],
)
def test_any_other_inception_is_refused(spec: Any, code: Code) -> None:
    read(SPEC)
    refusal_of(lambda: read(spec), code)


@pytest.mark.requires("ledger.inception")
def test_an_inception_is_for_one_ledger() -> None:
    refusal_of(lambda: read(SPEC, chain_id="other"), Code.INCEPTION_INVALID)
    moved = identity_spec(FIRST, NEXT, chain_id="other")
    moved["proofs"] = SPEC["proofs"]
    refusal_of(lambda: read(moved, chain_id="other"), Code.INCEPTION_INVALID)


@pytest.mark.requires("ledger.inception")
def test_a_did_key_needs_no_inception_and_has_one_key_for_everything() -> None:
    spec = SPEC | {"did": plain("a").did, "inception": None, "proofs": []}
    made = read(spec)
    (key,) = made.keys
    assert made.next == ()
    assert (key.key_id, key.since) == (plain("a").key_id, 7)
    assert key.purposes == ("approve", "authenticate", "guard", "propose", "report", "rotate", "validate")
    refusal_of(lambda: read(spec | {"proofs": SPEC["proofs"]}), Code.INCEPTION_INVALID)
    refusal_of(lambda: read(spec | {"did": plain("a").did + "1"}), Code.KEY_INVALID)
