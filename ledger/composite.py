"""Composite signatures MLDSA65-Ed25519: one key, one signature, two algorithms; both halves must verify.

Owns the construction. Promises that neither half is valid by itself or under another context: both sign one
labelled digest. Private keys never come here.

Source: draft-ietf-lamps-pq-composite-sigs, id-MLDSA65-Ed25519-SHA512; FIPS 204; the ed25519 half by ZIP-215.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from ledger import keys
from ledger.keys import Algorithm, PublicKey, verify_ed25519

PREFIX = b"CompositeAlgorithmSignatures2025"
LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
CONTEXT_BYTES_MAX = 255
PUBLIC_KEY_BYTES = keys.PUBLIC_KEY_BYTES[Algorithm.COMPOSITE]
SIGNATURE_BYTES = keys.SIGNATURE_BYTES[Algorithm.COMPOSITE]
_MLDSA_KEY_BYTES, _MLDSA_SIGNATURE_BYTES = PUBLIC_KEY_BYTES - 32, SIGNATURE_BYTES - 64


def representative(message: bytes, context: bytes) -> bytes:
    """Give what both halves sign: prefix ‖ label ‖ length of context ‖ context ‖ SHA-512 of the message.

    Args:
        message: any length.
        context: at most 255 bytes.
    """
    return PREFIX + LABEL + bytes([len(context)]) + context + hashlib.sha512(message).digest()


def verify(
    public_key: PublicKey, message: bytes, signature: bytes, *, context: bytes, exact: bool = True
) -> bool:
    """Judge a signature by the algorithm of its key.

    Args:
        public_key: of either algorithm.
        message: the signed bytes.
        signature: of the algorithm's size, else it is invalid.
        context: what a composite signature is bound to, at most 255 bytes; ed25519 has none.
        exact: see ``keys.verify_ed25519``.
    """
    if public_key.algorithm is Algorithm.ED25519:
        return verify_ed25519(public_key.raw, message, signature, exact=exact)
    return verify_composite(public_key.raw, message, signature, context, exact=exact)


def verify_composite(
    public_key: bytes, message: bytes, signature: bytes, context: bytes, *, exact: bool = True
) -> bool:
    """Judge a composite signature.

    Args:
        public_key: 1984 bytes, ML-DSA-65 ‖ ed25519.
        message: any length.
        signature: 3373 bytes, ML-DSA-65 ‖ ed25519.
        context: at most 255 bytes.
        exact: of the ed25519 half, see ``keys.verify_ed25519``.
    """
    sizes = (len(public_key), len(signature))
    if sizes != (PUBLIC_KEY_BYTES, SIGNATURE_BYTES) or len(context) > CONTEXT_BYTES_MAX:
        return False
    signed = representative(message, context)
    half = signature[_MLDSA_SIGNATURE_BYTES:]
    if not verify_ed25519(public_key[_MLDSA_KEY_BYTES:], signed, half, exact=exact):
        return False
    try:
        key = MLDSA65PublicKey.from_public_bytes(public_key[:_MLDSA_KEY_BYTES])
        key.verify(signature[:_MLDSA_SIGNATURE_BYTES], signed, LABEL)
    except (InvalidSignature, ValueError):
        return False
    return True
