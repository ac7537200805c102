"""Public keys: their text forms and the verification of signatures. No private half ever comes here.

Owns key ids and did:key, and the rule by which a signature is judged: ZIP-215, PyNaCl first because
what it accepts is always accepted by ZIP-215, the exact rule for what it refuses.

Sources: did:key method §3.1 (multibase base58btc, multicodec ed25519-pub 0xed01), ZIP-215.
"""

from __future__ import annotations

import nacl.bindings
import nacl.exceptions

from ledger.ed25519 import is_registrable, verify_zip215
from ledger.errors import Code, Refused
from ledger.limits import KEY_ID_BYTES_MAX
from ledger.types import Did

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519_MULTICODEC = b"\xed\x01"
DID_KEY_PREFIX = "did:key:"


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes, *, exact: bool = True) -> bool:
    """Judge an ed25519 signature.

    Args:
        public_key: 32 bytes.
        message: the signed bytes.
        signature: 64 bytes.
        exact: decide by ZIP-215 what the fast library refuses. CheckTx alone may pass False: it
            spares 4 ms per hostile signature and is no part of consensus.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return exact and verify_zip215(public_key, message, signature)
    return True


def key_id(public_key: bytes) -> str:
    """Give the key id of a 32-byte ed25519 key: ``z`` + base58btc(0xed01 ‖ key)."""
    return "z" + _base58_encode(_ED25519_MULTICODEC + public_key)


def did_key(public_key: bytes) -> Did:
    """Give the did:key of a 32-byte ed25519 public key."""
    return Did(DID_KEY_PREFIX + key_id(public_key))


def public_key_of(identifier: str) -> bytes:
    """Decode a key id or a did:key into the 32-byte ed25519 key.

    Raises:
        Refused: KEY_INVALID if it is not the one canonical spelling of an ed25519 key that may be registered.
    """
    text = identifier.removeprefix(DID_KEY_PREFIX)
    raw = _base58_decode(text[1:]) if text[:1] == "z" and len(text) <= KEY_ID_BYTES_MAX else None
    if raw is None or raw[:2] != _ED25519_MULTICODEC or len(raw) != 34 or key_id(raw[2:]) != text:
        raise Refused(
            Code.KEY_INVALID,
            got=identifier,
            expected="z + base58btc of the multicodec bytes ed 01 and 32 key bytes",
            todo="use the key id that `conclave key show` prints",
        )
    if not is_registrable(raw[2:]):
        raise Refused(
            Code.KEY_INVALID,
            got=identifier,
            expected="a canonical key of prime order",
            todo="make a new key with `conclave key new`",
        )
    return raw[2:]


def _base58_encode(content: bytes) -> str:
    number, digits = int.from_bytes(content, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _ALPHABET[rest] + digits
    zeros = len(content) - len(content.lstrip(b"\0"))
    return "1" * zeros + digits


def _base58_decode(text: str) -> bytes | None:
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            return None
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
