"""Public keys: their text forms, which of them may be registered, and the ed25519 rule.

Owns key ids and did:key, and the rule by which an ed25519 signature is judged: ZIP-215, PyNaCl first because
what it accepts is always accepted by ZIP-215, the exact rule for what it refuses. Promises that a key id
names one key: an ed25519 id holds the key, a composite one its hash. No private half ever comes here.

Sources: docs/spec/identities.md §1; did:key method §3.1 (multibase base58btc, multicodec ed25519-pub 0xed01);
multihash (sha2-256 0x12, 32 bytes); ZIP-215.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import nacl.bindings
import nacl.exceptions

from ledger.ed25519 import is_registrable, verify_zip215
from ledger.errors import Code, Refused
from ledger.limits import KEY_ID_BYTES_MAX
from ledger.types import Did, sha256

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519_MULTICODEC = b"\xed\x01"
_SHA256_MULTIHASH = b"\x12\x20"
_COMPOSITE_ID_START = "zQm"
"""How the base58btc of every 34 bytes that begin with the multihash prefix begins, and of no ed25519 key."""
DID_KEY_PREFIX = "did:key:"


class Algorithm(enum.StrEnum):
    """The signature algorithms of the ledger."""

    ED25519 = "ed25519"
    COMPOSITE = "mldsa65-ed25519"


PUBLIC_KEY_BYTES: Mapping[Algorithm, int] = {Algorithm.ED25519: 32, Algorithm.COMPOSITE: 1952 + 32}
SIGNATURE_BYTES: Mapping[Algorithm, int] = {Algorithm.ED25519: 64, Algorithm.COMPOSITE: 3309 + 64}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: its algorithm and its bytes, for a composite key ML-DSA-65 ‖ ed25519."""

    algorithm: Algorithm
    raw: bytes

    @property
    def key_id(self) -> str:
        """The one text that names the key (docs/spec/identities.md §1)."""
        if self.algorithm is Algorithm.ED25519:
            return key_id(self.raw)
        return "z" + base58_encode(_SHA256_MULTIHASH + sha256(self.raw))


def algorithm_of(identifier: str) -> Algorithm:
    """Give the algorithm that a key id says it is of. Whether it is a key id at all is judged elsewhere."""
    return Algorithm.COMPOSITE if identifier.startswith(_COMPOSITE_ID_START) else Algorithm.ED25519


def check_registrable(public_key: PublicKey) -> None:
    """Check that a key may come onto the ledger: its size, and its ed25519 half canonical and of prime order.

    Raises:
        Refused: KEY_INVALID.
    """
    expected = PUBLIC_KEY_BYTES[public_key.algorithm]
    if len(public_key.raw) != expected:
        raise Refused(
            Code.KEY_INVALID,
            got=f"{len(public_key.raw)} bytes",
            expected=f"{expected} bytes of {public_key.algorithm.value}",
        )
    if not _of_prime_order(public_key.raw[-32:]):
        raise Refused(
            Code.KEY_INVALID,
            got=public_key.raw[-32:],
            expected="an ed25519 key, canonical and of prime order",
            todo="make a new key with `conclave key new`",
        )


@functools.lru_cache(maxsize=4096)
def _of_prime_order(public_key: bytes) -> bool:
    """Ask libsodium first, thirty times faster: it accepts only what the exact rule accepts."""
    return nacl.bindings.crypto_core_ed25519_is_valid_point(public_key) or is_registrable(public_key)


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes, *, exact: bool = True) -> bool:
    """Judge an ed25519 signature.

    Args:
        public_key: 32 bytes.
        message: the signed bytes.
        signature: 64 bytes.
        exact: decide by ZIP-215 what the fast library refuses. CheckTx and ProcessProposal alone may pass
            False: it spares 4 ms per hostile signature where a node judges for itself.
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
    return "z" + base58_encode(_ED25519_MULTICODEC + public_key)


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
    check_registrable(PublicKey(Algorithm.ED25519, raw[2:]))
    return raw[2:]


def base58_encode(content: bytes) -> str:
    """Give base58btc: every leading zero byte is a ``1``."""
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
