"""The envelope: what is signed, its one encoding, and each refusal with its code."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable

import pytest
from nacl.signing import SigningKey

from ledger import envelope, keys
from ledger.envelope import Envelope, Signature
from ledger.errors import Code, Refused
from ledger.limits import (
    CHAIN_ID_BYTES_MAX,
    DID_BYTES_MAX,
    ENVELOPE_BYTES_MAX,
    KEY_ID_BYTES_MAX,
    NONCE_MAX,
)
from ledger.types import Did
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE, BOB, CHAIN_ID, seal

BODY = b'{"a":1}'
TX = seal(ALICE, BODY, 7, not_after=900)
OPENED = envelope.decode(TX)
KEYS = frozenset({ALICE.key_id})


def field(number: int, content: bytes) -> bytes:
    """Encode one length-delimited protobuf field."""
    assert len(content) < 0x4000
    size = (
        bytes((len(content),)) if len(content) < 128 else bytes((len(content) & 127 | 128, len(content) >> 7))
    )
    return bytes((number << 3 | 2,)) + size + content


@pytest.mark.requires("ledger.envelope-sign-bytes")
def test_sign_bytes_golden_vector() -> None:
    """docs/spec/ledger.md §1.2, recomputed with struct and hashlib alone."""

    def part(content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + content

    expected = (
        part(b"conclave/envelope/v1")
        + part(b"chain-1")
        + part(b"did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH")
        + part(struct.pack(">Q", 5))
        + part(struct.pack(">Q", 1000))
        + part(hashlib.sha256(b"{}").digest())
    )
    did = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"
    assert envelope.sign_bytes("chain-1", did, 5, 1000, b"{}") == expected
    assert hashlib.sha256(expected).hexdigest() == (
        "bb463e8376572b31b09b40a7dff901491e53c68b9ea8b0967b8c9fc8545ee9db"
    )


@pytest.mark.requires("ledger.envelope-sign-bytes")
def test_sealed_bytes_golden_vector() -> None:
    """The whole envelope of a known seed, encoded by hand."""
    private = SigningKey(bytes(range(32)))
    public_key = bytes(private.verify_key)
    did = keys.did_key(public_key)
    signed = envelope.sign_bytes("chain-1", did, 5, 1000, b"{}")
    signature = field(1, keys.key_id(public_key).encode()) + field(2, private.sign(signed).signature)
    expected = (
        field(1, b"{}")
        + field(2, b"chain-1")
        + field(3, did.encode())
        + b"\x20\x05"
        + b"\x28\xe8\x07"
        + field(6, signature)
    )
    opened = envelope.decode(expected)
    assert envelope.encode(opened) == expected
    envelope.verify_signatures(opened, chain_id="chain-1")
    assert hashlib.sha256(expected).hexdigest() == (
        "f4ecd8a03ced1f1d8c8297c03c84ecdb2434beb4b8e61142eba67045fdae623d"
    )


@pytest.mark.requires("ledger.envelope-id-unsigned")
def test_id_is_of_what_is_signed_and_of_no_signature() -> None:
    other = dataclasses.replace(OPENED, signatures=(Signature(BOB.key_id, bytes(64)),))
    assert envelope.envelope_id(other) == envelope.envelope_id(OPENED)
    ids = {
        envelope.envelope_id(changed)
        for changed in (
            OPENED,
            dataclasses.replace(OPENED, body=b"{}"),
            dataclasses.replace(OPENED, chain_id="other"),
            dataclasses.replace(OPENED, signer=BOB.did),
            dataclasses.replace(OPENED, nonce=8),
            dataclasses.replace(OPENED, not_after_height=901),
        )
    }
    assert len(ids) == 6


@pytest.mark.requires("ledger.envelope-id-unsigned")
def test_moving_a_byte_between_fields_changes_the_id() -> None:
    one = envelope.sign_bytes("chain", "did:key:z", 1, 2, b"{}")
    other = envelope.sign_bytes("chaind", "id:key:z", 1, 2, b"{}")
    assert one != other


ENCODINGS: list[tuple[str, Callable[[bytes], bytes], Code]] = [
    ("unknown field", lambda tx: tx + field(7, b"x"), Code.ENVELOPE_NOT_MINIMAL),
    ("unknown varint", lambda tx: tx + b"\x40\x01", Code.ENVELOPE_NOT_MINIMAL),
    ("unknown group", lambda tx: tx + b"\x43\x44", Code.ENVELOPE_NOT_MINIMAL),
    ("unknown high field", lambda tx: tx + b"\x82\x7d\x01x", Code.ENVELOPE_NOT_MINIMAL),
    ("field of another wire type", lambda tx: tx + b"\x08\x01", Code.ENVELOPE_NOT_MINIMAL),
    ("duplicate nonce", lambda tx: tx + b"\x20\x07", Code.ENVELOPE_NOT_MINIMAL),
    ("duplicate body", lambda tx: field(1, BODY) + tx, Code.ENVELOPE_NOT_MINIMAL),
    ("long varint", lambda tx: tx.replace(b"\x20\x07", b"\x20\x87\x00"), Code.ENVELOPE_NOT_MINIMAL),
    ("long tag", lambda tx: tx.replace(b"\x20\x07", b"\xa0\x00\x07"), Code.ENVELOPE_NOT_MINIMAL),
    ("fields out of order", lambda tx: tx.replace(b"\x20\x07", b"") + b"\x20\x07", Code.ENVELOPE_NOT_MINIMAL),
    ("explicit zero", lambda tx: tx.replace(b"\x20\x07", b"\x20\x00"), Code.ENVELOPE_NOT_MINIMAL),
    ("empty field", lambda tx: tx + b"\x0a\x00", Code.ENVELOPE_NOT_MINIMAL),
    ("trailing zero", lambda tx: tx + b"\x00", Code.ENVELOPE_UNREADABLE),
    ("trailing end of group", lambda tx: tx + b"\x0c", Code.ENVELOPE_UNREADABLE),
    ("cut short", lambda tx: tx[:-1], Code.ENVELOPE_UNREADABLE),
    ("twice", lambda tx: tx + tx, Code.ENVELOPE_NOT_MINIMAL),
    (
        "not UTF-8",
        lambda tx: tx.replace(CHAIN_ID.encode(), b"\xff" * len(CHAIN_ID)),
        Code.ENVELOPE_UNREADABLE,
    ),
    ("text", lambda tx: b"hello", Code.ENVELOPE_UNREADABLE),
    ("too large", lambda tx: tx + bytes(ENVELOPE_BYTES_MAX), Code.ENVELOPE_TOO_LARGE),
]


@pytest.mark.requires("ledger.envelope-one-encoding")
@pytest.mark.parametrize(("change", "code"), [c[1:] for c in ENCODINGS], ids=[c[0] for c in ENCODINGS])
def test_an_envelope_has_one_encoding(change: Callable[[bytes], bytes], code: Code) -> None:
    assert change(TX) != TX
    refusal_of(lambda: envelope.decode(change(TX)), code)


@pytest.mark.requires("ledger.envelope-one-encoding")
def test_an_unknown_field_inside_a_signature_is_refused() -> None:
    plain = envelope.encode(dataclasses.replace(OPENED, signatures=()))
    inner = field(1, ALICE.key_id.encode()) + field(2, OPENED.signatures[0].value)
    assert plain + field(6, inner) == TX
    for hidden in (inner + field(3, b"x"), inner + b"\x18\x01", field(2, b"") + inner):
        refusal_of(lambda hidden=hidden: envelope.decode(plain + field(6, hidden)), Code.ENVELOPE_NOT_MINIMAL)  # type: ignore[misc]


def with_signatures(*signatures: tuple[str, bytes]) -> Envelope:
    """Give the envelope with other signatures."""
    return dataclasses.replace(OPENED, signatures=tuple(Signature(k, v) for k, v in signatures))


VALUE = OPENED.signatures[0].value
FIELDS: list[tuple[str, Envelope, Code]] = [
    ("no body", dataclasses.replace(OPENED, body=b""), Code.FIELD_MISSING),
    ("no chain", dataclasses.replace(OPENED, chain_id=""), Code.FIELD_MISSING),
    ("no signer", dataclasses.replace(OPENED, signer=Did("")), Code.FIELD_MISSING),
    ("long chain", dataclasses.replace(OPENED, chain_id="c" * (CHAIN_ID_BYTES_MAX + 1)), Code.LIMIT_EXCEEDED),
    ("wide chain", dataclasses.replace(OPENED, chain_id="é" * CHAIN_ID_BYTES_MAX), Code.LIMIT_EXCEEDED),
    ("long signer", dataclasses.replace(OPENED, signer=Did("x" * DID_BYTES_MAX + "x")), Code.LIMIT_EXCEEDED),
    ("nonce 0", dataclasses.replace(OPENED, nonce=0), Code.LIMIT_EXCEEDED),
    ("nonce 2^53", dataclasses.replace(OPENED, nonce=NONCE_MAX + 1), Code.LIMIT_EXCEEDED),
    ("height 0", dataclasses.replace(OPENED, not_after_height=0), Code.LIMIT_EXCEEDED),
    ("height 2^64-1", dataclasses.replace(OPENED, not_after_height=2**64 - 1), Code.LIMIT_EXCEEDED),
    ("unsigned", with_signatures(), Code.SIGNATURE_MISSING),
    ("nine", with_signatures(*((f"z{i}", VALUE) for i in range(9))), Code.LIMIT_EXCEEDED),
    ("twice", with_signatures((ALICE.key_id, VALUE), (ALICE.key_id, VALUE)), Code.SIGNATURE_INVALID),
    ("unsorted", with_signatures(("zb", VALUE), ("za", VALUE)), Code.SIGNATURE_INVALID),
    ("no key", with_signatures(("", VALUE)), Code.SIGNATURE_INVALID),
    ("long key", with_signatures(("z" * (KEY_ID_BYTES_MAX + 1), VALUE)), Code.SIGNATURE_INVALID),
    ("short value", with_signatures((ALICE.key_id, VALUE[:63])), Code.SIGNATURE_INVALID),
    ("long value", with_signatures((ALICE.key_id, VALUE + b"\0")), Code.SIGNATURE_INVALID),
]


@pytest.mark.requires("ledger.envelope-limits")
@pytest.mark.parametrize(("changed", "code"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_fields_are_bounded(changed: Envelope, code: Code) -> None:
    refusal_of(lambda: envelope.decode(envelope.encode(changed)), code)


@pytest.mark.requires("ledger.envelope-limits")
def test_values_at_their_bounds_pass() -> None:
    widest = dataclasses.replace(
        OPENED,
        chain_id="c" * CHAIN_ID_BYTES_MAX,
        nonce=NONCE_MAX,
        not_after_height=NONCE_MAX,
        signatures=tuple(Signature(f"z{i}", VALUE) for i in range(8)),
    )
    assert envelope.decode(envelope.encode(widest)) == widest


@pytest.mark.requires("ledger.envelope-signatures")
def test_each_signature_must_verify_under_a_key_of_the_signer() -> None:
    def verify(changed: Envelope, chain_id: str = CHAIN_ID, signer_keys: frozenset[str] = KEYS) -> None:
        envelope.verify_signatures(changed, chain_id=chain_id, signer_keys=signer_keys)

    verify(OPENED)
    refusal_of(lambda: verify(OPENED, chain_id="other"), Code.CHAIN_ID_MISMATCH)
    refusal_of(lambda: verify(OPENED, signer_keys=frozenset({BOB.key_id})), Code.KEY_NOT_OF_SIGNER)
    refusal_of(lambda: verify(dataclasses.replace(OPENED, body=b"{}")), Code.SIGNATURE_INVALID)
    refusal_of(lambda: verify(dataclasses.replace(OPENED, nonce=8)), Code.SIGNATURE_INVALID)
    refusal_of(lambda: verify(dataclasses.replace(OPENED, not_after_height=1)), Code.SIGNATURE_INVALID)
    both = KEYS | {BOB.key_id}
    message = envelope.sign_bytes_of(OPENED)
    good = (BOB.key_id, BOB.sign(message))
    verify(with_signatures((ALICE.key_id, VALUE), good), signer_keys=both)
    one_bad = with_signatures((ALICE.key_id, VALUE), (BOB.key_id, VALUE))
    refusal_of(lambda: verify(one_bad, signer_keys=both), Code.SIGNATURE_INVALID)
    crafted = keys.key_id((1).to_bytes(32, "little"))
    weak = with_signatures((crafted, (1).to_bytes(32, "little") + bytes(32)))
    refusal_of(lambda: verify(weak, signer_keys=frozenset({crafted})), Code.KEY_INVALID)


def accepted(tx: bytes) -> bool:
    """Open and verify as the machine does, but for the slow exact rule."""
    try:
        opened = envelope.decode(tx)
        envelope.verify_signatures(opened, chain_id=CHAIN_ID, exact=False)
    except Refused:
        return False
    return True


@pytest.mark.requires("ledger.envelope-mutation")
def test_no_byte_of_an_envelope_can_be_changed_inserted_or_removed() -> None:
    """There is no exception to list: every single bit counts."""
    assert accepted(TX)
    flipped = [TX[:i] + bytes((TX[i] ^ 1 << bit,)) + TX[i + 1 :] for i in range(len(TX)) for bit in range(8)]
    removed = [TX[:i] + TX[i + 1 :] for i in range(len(TX))]
    inserted = [TX[:i] + new + TX[i:] for i in range(len(TX) + 1) for new in (b"\0", b"\x01", b"a")]
    doubled = [TX[:i] + TX[i : i + 1] + TX[i:] for i in range(len(TX))]
    for changed in (*flipped, *removed, *inserted, *doubled):
        assert not accepted(changed), changed.hex()
