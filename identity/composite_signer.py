"""Composite private keys MLDSA65-Ed25519: both halves sign one labelled digest.

Owns the signing half of ``ledger.composite``. Promises that what it signs verifies there, and that no half
ever signs anything else. Never shows a private half, never touches a file.

Source: docs/spec/identities.md §1; draft-ietf-lamps-pq-composite-sigs, id-MLDSA65-Ed25519-SHA512.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from ledger.composite import CONTEXT_BYTES_MAX, LABEL, representative
from ledger.errors import Code, Refused
from ledger.keys import Algorithm, PublicKey


@dataclass(frozen=True, slots=True)
class CompositeSigner:
    """An ML-DSA-65 key and an ed25519 key that sign as one."""

    public_key: bytes
    key_id: str
    algorithm: Algorithm
    _mldsa: MLDSA65PrivateKey = field(repr=False, compare=False)
    _ed25519: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def did(self) -> str:
        """A composite key has no did:key: its id holds a hash, no key.

        Raises:
            Refused: KEY_INVALID.
        """
        raise Refused(
            Code.KEY_INVALID,
            got=f"composite key {self.key_id}",
            expected="an ed25519 key, which alone has a did:key",
            todo="make a did:conclave of the key with `conclave key identity`",
        )

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """Sign ``message`` in ``context``; gives 3373 bytes, ML-DSA-65 ‖ ed25519.

        Raises:
            Refused: LIMIT_EXCEEDED if the context is longer than 255 bytes.
        """
        if len(context) > CONTEXT_BYTES_MAX:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=f"{len(context)} bytes",
                expected=f"at most {CONTEXT_BYTES_MAX}",
                field="context",
            )
        signed = representative(message, context)
        return self._mldsa.sign(signed, LABEL) + self._ed25519.sign(signed)


def composite_signer(mldsa: MLDSA65PrivateKey, ed25519: Ed25519PrivateKey) -> CompositeSigner:
    """Join two private keys into one signer."""
    public = mldsa.public_key().public_bytes_raw() + ed25519.public_key().public_bytes_raw()
    key_id = PublicKey(Algorithm.COMPOSITE, public).key_id
    return CompositeSigner(public, key_id, Algorithm.COMPOSITE, mldsa, ed25519)
