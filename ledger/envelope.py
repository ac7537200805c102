"""The envelope: a body, who says it, and exactly what is signed.

Owns sealing and opening. Promises that an opened envelope re-encodes to the very bytes received, that nothing
is ever signed or hashed over a re-encoding of the body, and that whether the signatures verify depends on the
envelope's bytes and on immutable keys only, so that the verdict may be remembered. Never reads state: whether
the signer exists, holds the keys and may speak is judged elsewhere (``ledger.identity.check_signers``).

Source: docs/spec/ledger.md §1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from google.protobuf.message import DecodeError, EncodeError

from ledger import composite, keys
from ledger.errors import Code, Refused
from ledger.keys import SIGNATURE_BYTES, Algorithm, PublicKey, algorithm_of
from ledger.limits import (
    CHAIN_ID_BYTES_MAX,
    DID_BYTES_MAX,
    ENVELOPE_BYTES_MAX,
    KEY_ID_BYTES_MAX,
    NONCE_MAX,
    SIGNATURES_PER_ENVELOPE_MAX,
)
from ledger.pb import envelope_pb2
from ledger.types import Did, sha256

DOMAIN = b"conclave/envelope/v1"

Resolve = Callable[[str], PublicKey | None]
"""Gives the public key that a composite key id stands for, or None if nobody registered it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: the key id it verifies under, and its bytes, as many as the key's algorithm has."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope as it travels.

    Attributes:
        body: canonical JSON bytes.
        chain_id: the chain it is meant for.
        signer: who speaks.
        nonce: unique per signer.
        not_after_height: the last height that may include it.
        signatures: at least one.
    """

    body: bytes
    chain_id: str
    signer: Did
    nonce: int
    not_after_height: int
    signatures: tuple[Signature, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 of the body, hex."""
        return sha256(self.body).hex()


def sign_bytes(chain_id: str, signer: str, nonce: int, not_after_height: int, body: bytes) -> bytes:
    """Give the bytes that every signature of an envelope covers (docs/spec/ledger.md §1.2)."""
    return join(
        DOMAIN,
        chain_id.encode(),
        signer.encode(),
        nonce.to_bytes(8, "big"),
        not_after_height.to_bytes(8, "big"),
        sha256(body),
    )


def join(*parts: bytes) -> bytes:
    """Give the parts, each after its length in four bytes: no byte can pass from one to the next."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def sign_bytes_of(envelope: Envelope) -> bytes:
    """Give the bytes that the signatures of ``envelope`` cover."""
    return sign_bytes(
        envelope.chain_id, envelope.signer, envelope.nonce, envelope.not_after_height, envelope.body
    )


def envelope_id(envelope: Envelope) -> str:
    """Give the id: SHA-256 (hex) of what is signed, so that no signature can change it."""
    return sha256(sign_bytes_of(envelope)).hex()


class SigningKey(Protocol):
    """The private half behind a key id, wherever it lives (``identity.signer``)."""

    @property
    def key_id(self) -> str:
        """The key id a verifier will look up."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Give the signature over ``message``."""
        ...


class ContextSigningKey(Protocol):
    """The private half behind a composite key id: its signatures are bound to a context."""

    @property
    def key_id(self) -> str:
        """The key id a verifier will look up."""
        ...

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Give the signature over ``message`` in ``context``."""
        ...


AnySigningKey = SigningKey | ContextSigningKey


def sign_with(key: AnySigningKey, message: bytes, chain_id: str) -> bytes:
    """Sign ``message`` for a chain: composite keys sign in the context of its id, ed25519 has none."""
    if algorithm_of(key.key_id) is Algorithm.COMPOSITE:
        return cast("ContextSigningKey", key).sign(message, chain_id.encode())
    return cast("SigningKey", key).sign(message)


def seal(
    body: bytes,
    *,
    chain_id: str,
    signer: str,
    nonce: int,
    not_after_height: int,
    key: AnySigningKey | Sequence[AnySigningKey],
) -> bytes:
    """Sign ``body`` and give the envelope's bytes.

    Args:
        body: canonical JSON.
        chain_id: the chain it is meant for.
        signer: DID of the subject that speaks.
        nonce: 1 … 2^53-1, unused by the signer.
        not_after_height: the last height that may include it.
        key: one of the signer's keys, or several.
    """
    signing = sorted(key if isinstance(key, Sequence) else (key,), key=lambda one: one.key_id)
    message = sign_bytes(chain_id, signer, nonce, not_after_height, body)
    signatures = tuple(Signature(one.key_id, sign_with(one, message, chain_id)) for one in signing)
    return encode(Envelope(body, chain_id, Did(signer), nonce, not_after_height, signatures))


def encode(envelope: Envelope) -> bytes:
    """Give the envelope's protobuf bytes."""
    return envelope_pb2.Envelope(
        body=envelope.body,
        chain_id=envelope.chain_id,
        signer=envelope.signer,
        nonce=envelope.nonce,
        not_after_height=envelope.not_after_height,
        signatures=[envelope_pb2.Signature(key_id=s.key_id, value=s.value) for s in envelope.signatures],
    ).SerializeToString(deterministic=True)


def decode(content: bytes) -> Envelope:
    """Open an envelope's bytes. The body is not parsed.

    Raises:
        Refused: ENVELOPE_TOO_LARGE, ENVELOPE_UNREADABLE, ENVELOPE_NOT_MINIMAL, SIGNATURE_MISSING,
            SIGNATURE_INVALID, FIELD_MISSING or LIMIT_EXCEEDED.
    """
    if len(content) > ENVELOPE_BYTES_MAX:
        raise Refused(
            Code.ENVELOPE_TOO_LARGE, got=f"{len(content)} bytes", expected=f"at most {ENVELOPE_BYTES_MAX}"
        )
    message = envelope_pb2.Envelope()
    try:
        message.ParseFromString(content)
        minimal = message.SerializeToString(deterministic=True) == content
    except (DecodeError, EncodeError, ValueError, RecursionError):
        raise Refused(Code.ENVELOPE_UNREADABLE, got=content[:20], expected="a protobuf Envelope") from None
    # Unknown fields survive re-encoding; they show in the size once discarded.
    message.DiscardUnknownFields()
    if not minimal or message.ByteSize() != len(content):
        raise Refused(
            Code.ENVELOPE_NOT_MINIMAL,
            got=content[:20],
            expected="known fields only, in their shortest encoding",
        )
    _check_fields(message)
    return Envelope(
        body=message.body,
        chain_id=message.chain_id,
        signer=Did(message.signer),
        nonce=message.nonce,
        not_after_height=message.not_after_height,
        signatures=tuple(Signature(s.key_id, s.value) for s in message.signatures),
    )


def _check_fields(message: envelope_pb2.Envelope) -> None:
    for field, size, bytes_max in (
        ("chain_id", len(message.chain_id.encode()), CHAIN_ID_BYTES_MAX),
        ("signer", len(message.signer.encode()), DID_BYTES_MAX),
        ("body", len(message.body), ENVELOPE_BYTES_MAX),
    ):
        if not size:
            raise Refused(Code.FIELD_MISSING, got="nothing", expected=f"{field} in the envelope", field=field)
        if size > bytes_max:
            raise Refused(
                Code.LIMIT_EXCEEDED, got=f"{size} bytes", expected=f"at most {bytes_max}", field=field
            )
    if not 1 <= message.nonce <= NONCE_MAX or not 1 <= message.not_after_height <= NONCE_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"nonce {message.nonce}, not_after_height {message.not_after_height}",
            expected=f"1 … {NONCE_MAX}",
            field="nonce",
        )
    if not message.signatures:
        raise Refused(Code.SIGNATURE_MISSING, got="no signature", expected="at least one")
    if len(message.signatures) > SIGNATURES_PER_ENVELOPE_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=len(message.signatures),
            expected=f"at most {SIGNATURES_PER_ENVELOPE_MAX}",
            field="signatures",
        )
    key_ids = [signature.key_id for signature in message.signatures]
    if key_ids != sorted(set(key_ids)):
        # Else anybody could repeat a signature and so give the same envelope another transaction hash.
        raise Refused(Code.SIGNATURE_INVALID, got=", ".join(key_ids), expected="each key once, sorted")
    for signature in message.signatures:
        expected = SIGNATURE_BYTES[algorithm_of(signature.key_id)]
        if not 0 < len(signature.key_id) <= KEY_ID_BYTES_MAX or len(signature.value) != expected:
            raise Refused(
                Code.SIGNATURE_INVALID,
                got=f"{len(signature.value)} bytes",
                expected=f"a key id and {expected} bytes",
            )


def no_key(key_id: str) -> PublicKey | None:
    """Resolve nothing: where only ed25519 keys can be."""
    del key_id
    return None


def verify_signatures(
    envelope: Envelope,
    *,
    chain_id: str,
    resolve: Resolve = no_key,
    signer_keys: frozenset[str] | None = None,
    exact: bool = True,
) -> str:
    """Verify every signature of ``envelope``; give its id. Whose the keys are is not asked.

    Args:
        envelope: as decoded.
        chain_id: the chain this verifier belongs to.
        resolve: asked for composite keys only; an ed25519 key is in its id.
        signer_keys: if given, the only key ids that may sign.
        exact: see ``keys.verify_ed25519``.

    Raises:
        Refused: CHAIN_ID_MISMATCH, KEY_NOT_OF_SIGNER, KEY_INVALID, SIGNATURE_INVALID.
    """
    if envelope.chain_id != chain_id:
        raise Refused(
            Code.CHAIN_ID_MISMATCH,
            got=envelope.chain_id,
            expected=chain_id,
            todo="sign for this ledger's chain id",
        )
    message = sign_bytes_of(envelope)
    for signature in envelope.signatures:
        if signer_keys is not None and signature.key_id not in signer_keys:
            raise _not_of_signer(envelope, signature)
        if algorithm_of(signature.key_id) is Algorithm.ED25519:
            raw = _ed25519_key(signature.key_id)
            verified = keys.verify_ed25519(raw, message, signature.value, exact=exact)
        else:
            public_key = resolve(signature.key_id)
            if public_key is None or public_key.key_id != signature.key_id:
                raise _not_of_signer(envelope, signature)
            verified = composite.verify(
                public_key, message, signature.value, context=chain_id.encode(), exact=exact
            )
        if not verified:
            raise Refused(
                Code.SIGNATURE_INVALID,
                got=signature.value,
                expected="a signature over the envelope's sign bytes",
                todo="sign again; a changed body, nonce or height needs a new signature",
                signer=envelope.signer,
            )
    return sha256(message).hex()


def _not_of_signer(envelope: Envelope, signature: Signature) -> Refused:
    return Refused(
        Code.KEY_NOT_OF_SIGNER,
        got=signature.key_id,
        expected="a key of the signer",
        signer=envelope.signer,
    )


@functools.lru_cache(maxsize=4096)
def _ed25519_key(identifier: str) -> bytes:
    """Decode a key id, remembering the work."""
    return keys.public_key_of(identifier)
