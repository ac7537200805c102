"""Key ids, did:key, registrable keys and the signature rule."""

from __future__ import annotations

import pytest

from ledger import ed25519, keys
from ledger.errors import Code
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE

P = 2**255 - 19
SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
]
"""The points of order 1, 2, 4 and 8 (RFC 7748 §7, as ed25519 encodes them)."""


def encode(point: ed25519.Point) -> bytes:
    """Compress a point (RFC 8032 §5.1.2)."""
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


@pytest.mark.requires("ledger.did-key")
def test_published_did_key() -> None:
    """The did:key method's own ed25519 example, whose key it also gives in plain base58."""
    public_key = bytes.fromhex("94966b7c08e405775f8de6cc1c4508f6eb227403e1025b2c8ad2d7477398c5b2")
    did = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"
    assert keys.did_key(public_key) == did
    assert keys.public_key_of(did) == keys.public_key_of(did.removeprefix("did:key:")) == public_key


@pytest.mark.requires("ledger.key-one-spelling")
@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "z",
        lambda text: text[1:],
        lambda text: "1" + text,
        lambda text: "z1" + text[1:],
        lambda text: text + "1",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("z6Mk", "z6MK"),
        lambda text: text[:-1] + "0",
        lambda text: text[:-1] + "l",
        lambda text: "u" + text[1:],
        lambda text: "did:key:did:key:" + text,
        lambda text: "z" + "1" * 5000,
        lambda text: "z" + "é" * 40,
        lambda text: keys.key_id(keys.public_key_of(text)[:31]),
        lambda text: keys.key_id(keys.public_key_of(text) + b"\0"),
        lambda text: "z" + keys.base58_encode(b"\xec\x01" + keys.public_key_of(text)),
    ],
)
def test_a_key_has_one_spelling(change: object) -> None:
    assert callable(change)
    refusal_of(lambda: keys.public_key_of(change(ALICE.key_id)), Code.KEY_INVALID)


@pytest.mark.requires("ledger.key-registrable")
@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda k: k.hex()[:8])
def test_small_order_keys_are_refused(key: bytes) -> None:
    assert not ed25519.is_registrable(key)
    refusal_of(lambda: keys.public_key_of(keys.key_id(key)), Code.KEY_INVALID)


@pytest.mark.requires("ledger.key-registrable")
@pytest.mark.parametrize("torsion", SMALL_ORDER[:1] + SMALL_ORDER[2:], ids=lambda k: k.hex()[:8])
def test_mixed_order_keys_are_refused(torsion: bytes) -> None:
    honest, small = ed25519._decompress(ALICE.public_key), ed25519._decompress(torsion)
    assert honest is not None
    assert small is not None
    assert ed25519.is_registrable(ALICE.public_key)
    assert not ed25519.is_registrable(encode(ed25519._add(honest, small)))


@pytest.mark.requires("ledger.key-registrable")
def test_keys_that_are_not_canonical_or_not_on_the_curve_are_refused() -> None:
    off_curve = next(
        y.to_bytes(32, "little")
        for y in range(2, 50)
        if ed25519._decompress(y.to_bytes(32, "little")) is None
    )
    overflowing = [
        (y + P).to_bytes(32, "little")
        for y in range(19)
        if ed25519._decompress(y.to_bytes(32, "little")) is not None
    ]
    negative_zero = (1 | 1 << 255).to_bytes(32, "little")
    assert overflowing
    for key in (off_curve, *overflowing, negative_zero, b"", bytes(31), bytes(33)):
        assert not ed25519.is_registrable(key)


@pytest.mark.requires("ledger.ed25519-zip215")
def test_signature_rule_at_its_edges() -> None:
    signature = ALICE.sign(b"message")
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    order = 2**252 + 27742317777372353535851937790883648493
    assert ed25519.verify_zip215(ALICE.public_key, b"message", signature)
    for forged in (
        r + (s + order).to_bytes(32, "little"),
        r + bytes(32),
        bytes(32) + signature[32:],
        signature[:63],
        signature + b"\0",
        b"",
    ):
        assert not keys.verify_ed25519(ALICE.public_key, b"message", forged)
        assert not ed25519.verify_zip215(ALICE.public_key, b"message", forged)
    assert not keys.verify_ed25519(ALICE.public_key[:31], b"message", signature)
    assert not keys.verify_ed25519(ALICE.public_key, b"massage", signature)


@pytest.mark.requires("ledger.ed25519-zip215")
def test_the_exact_rule_decides_what_the_fast_library_refuses() -> None:
    """With a key and R of small order the cofactored equation holds for S = 0; libsodium refuses the key."""
    small = SMALL_ORDER[-1]
    signature = SMALL_ORDER[1] + bytes(32)
    assert keys.verify_ed25519(small, b"any", signature)
    assert not keys.verify_ed25519(small, b"any", signature, exact=False)
