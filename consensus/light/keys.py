"""Validator keys by type: their sizes, their addresses, and when one of their signatures is right.

Owns the two types whose signatures CometBFT's own light clients of every line can judge: ed25519 by ZIP-215,
and secp256k1 (ECDSA over SHA-256, R‖S, low S). Promises CometBFT's verdict for any bytes as key, message and
signature, and never an exception. Any other type is refused where a set is read.

Sources: crypto/ed25519, crypto/secp256k1 of CometBFT v0.34-v0.40; SEC 1 §2.3.4 (compressed points).
"""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ledger.keys import verify_ed25519

ADDRESS_BYTES = 20
SECP256K1_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class KeyType(enum.StrEnum):
    """The validator key types this client can judge, by their JSON name."""

    ED25519 = "tendermint/PubKeyEd25519"
    SECP256K1 = "tendermint/PubKeySecp256k1"


PUBLIC_KEY_BYTES: Mapping[KeyType, int] = {KeyType.ED25519: 32, KeyType.SECP256K1: 33}
PROTO_FIELDS: Mapping[KeyType, int] = {KeyType.ED25519: 1, KeyType.SECP256K1: 2}
"""Their places in the ``sum`` of tendermint.crypto.PublicKey."""


def has_addresses(key_type: KeyType) -> bool:
    """Tell whether this OpenSSL can compute a type's addresses: RIPEMD-160 may be left out of it."""
    return key_type is KeyType.ED25519 or _has_ripemd160()


def address_of(key_type: KeyType, public_key: bytes) -> bytes:
    """Give a key's address: SHA-256 cut to 20 bytes for ed25519, RIPEMD-160 of SHA-256 for secp256k1.

    Raises:
        ValueError: a type without ``has_addresses``; sets with it are never read.
    """
    digest = hashlib.sha256(public_key).digest()
    if key_type is KeyType.ED25519:
        return digest[:ADDRESS_BYTES]
    return hashlib.new("ripemd160", digest, usedforsecurity=False).digest()


def verify(key_type: KeyType, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Judge a validator's signature."""
    if key_type is KeyType.ED25519:
        return verify_ed25519(public_key, message, signature)
    return _verify_secp256k1(public_key, message, signature)


def _verify_secp256k1(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Judge R‖S, both modulo the order as decred's ``SetByteSlice`` takes them; a high S is wrong."""
    if len(signature) != 64:
        return False
    r = int.from_bytes(signature[:32], "big") % SECP256K1_ORDER
    s = int.from_bytes(signature[32:], "big") % SECP256K1_ORDER
    key = _secp256k1_key(public_key)
    if key is None or not r or not 0 < s <= SECP256K1_ORDER // 2:
        return False
    try:
        key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def _secp256k1_key(public_key: bytes) -> EllipticCurvePublicKey | None:
    """Give the point; None for bytes that are none, whose signatures are all wrong."""
    if len(public_key) != PUBLIC_KEY_BYTES[KeyType.SECP256K1]:
        return None
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256K1(), public_key)
    except ValueError:
        return None


@functools.lru_cache(maxsize=1)
def _has_ripemd160() -> bool:
    try:
        hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError:
        return False
    return True
