"""Composite signatures MLDSA65-Ed25519: one key, one signature, two algorithms; both halves must verify.

Owns the construction. Promises that neither half is valid by itself or under another context: both sign one
labelled digest. Private keys never come here.

Source: draft-ietf-lamps-pq-composite-sigs, id-MLDSA65-Ed25519-SHA512; FIPS 204; the ed25519 half by ZIP-215.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from ledger.keys import verify_ed25519

PREFIX = b"CompositeAlgorithmSignatures2025"
LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
CONTEXT_BYTES_MAX = 255
_MLDSA_KEY_BYTES, _MLDSA_SIGNATURE_BYTES = 1952, 3309
PUBLIC_KEY_BYTES = _MLDSA_KEY_BYTES + 32
SIGNATURE_BYTES = _MLDSA_SIGNATURE_BYTES + 64


def representative(message: bytes, context: bytes) -> bytes:
    """Give what both halves sign: prefix ‖ label ‖ length of context ‖ context ‖ SHA-512 of the message.

    Args:
        message: any length.
        context: at most 255 bytes.
    """
    return PREFIX + LABEL + bytes([len(context)]) + context + hashlib.sha512(message).digest()


def verify_composite(public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
    """Judge a composite signature.

    Args:
        public_key: 1984 bytes, ML-DSA-65 ‖ ed25519.
        message: any length.
        signature: 3373 bytes, ML-DSA-65 ‖ ed25519.
        context: at most 255 bytes.
    """
    sizes = (len(public_key), len(signature))
    if sizes != (PUBLIC_KEY_BYTES, SIGNATURE_BYTES) or len(context) > CONTEXT_BYTES_MAX:
        return False
    signed = representative(message, context)
    if not verify_ed25519(public_key[_MLDSA_KEY_BYTES:], signed, signature[_MLDSA_SIGNATURE_BYTES:]):
        return False
    try:
        key = MLDSA65PublicKey.from_public_bytes(public_key[:_MLDSA_KEY_BYTES])
        key.verify(signature[:_MLDSA_SIGNATURE_BYTES], signed, LABEL)
    except (InvalidSignature, ValueError):
        return False
    return True
