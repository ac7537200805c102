"""Composite signatures: both halves, one labelled digest, one context."""

from __future__ import annotations

import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from ledger.composite import LABEL, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, representative, verify_composite

PQ = MLDSA65PrivateKey.from_seed_bytes(b"\7" * 32)
ED = nacl.signing.SigningKey(b"\7" * 32)
PUBLIC = PQ.public_key().public_bytes_raw() + bytes(ED.verify_key)
MESSAGE, CONTEXT = b"message", b"context"


def sign(message: bytes = MESSAGE, context: bytes = CONTEXT, *, label: bytes = LABEL) -> bytes:
    signed = representative(message, context)
    return PQ.sign(signed, label) + ED.sign(signed).signature


@pytest.mark.requires("ledger.composite")
def test_both_halves_sign_the_labelled_digest() -> None:
    signature = sign()
    assert (len(PUBLIC), len(signature)) == (PUBLIC_KEY_BYTES, SIGNATURE_BYTES)
    assert verify_composite(PUBLIC, MESSAGE, signature, CONTEXT)
    assert verify_composite(PUBLIC, b"", sign(b"", b""), b"")


@pytest.mark.requires("ledger.composite")
@pytest.mark.parametrize("at", [0, 3308, 3309, SIGNATURE_BYTES - 1])
def test_a_changed_bit_in_either_half_is_invalid(at: int) -> None:
    changed = bytearray(sign())
    changed[at] ^= 1
    assert not verify_composite(PUBLIC, MESSAGE, bytes(changed), CONTEXT)


@pytest.mark.requires("ledger.composite")
def test_another_message_context_label_key_or_size_is_invalid() -> None:
    signature = sign()
    assert not verify_composite(PUBLIC, b"another", signature, CONTEXT)
    assert not verify_composite(PUBLIC, MESSAGE, signature, b"another")
    assert not verify_composite(PUBLIC, MESSAGE, sign(label=b"another"), CONTEXT)
    assert not verify_composite(PUBLIC[:-1], MESSAGE, signature, CONTEXT)
    assert not verify_composite(PUBLIC, MESSAGE, signature + b"\0", CONTEXT)
    assert not verify_composite(PUBLIC, MESSAGE, sign(context=b"c" * 255), b"c" * 256)
    other = MLDSA65PrivateKey.from_seed_bytes(b"\10" * 32).public_key().public_bytes_raw()
    assert not verify_composite(other + PUBLIC[-32:], MESSAGE, signature, CONTEXT)


@pytest.mark.requires("ledger.composite")
def test_halves_that_are_valid_alone_are_not_a_composite() -> None:
    alone = PQ.sign(MESSAGE) + ED.sign(MESSAGE).signature
    assert not verify_composite(PUBLIC, MESSAGE, alone, b"")
