"""Digests of what went in and what came out, in place of the content.

Promises that equal JSON has equal digests within one log, that nobody without the log's key can test a guess
of what was digested, and that any value a transport can bring has a digest. Pure: the key is an argument.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256

from ledger import canonical
from ledger.errors import Refused
from ledger.types import Json, JsonObject

KEY_BYTES = 32
PLAIN = "sha256"
KEYED = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class Digest:
    """What stands for a JSON value: the bytes of its canonical form, and their digest in hex."""

    size: int
    hex: str


@dataclass(frozen=True, slots=True)
class Digester:
    """Makes digests; with ``key`` keyed ones (HMAC-SHA-256), without it plain ones (SHA-256)."""

    key: bytes | None = None

    @property
    def name(self) -> str:
        """What a segment's header says of its digests: of a keyed one also which key, by a digest of that."""
        if self.key is None:
            return PLAIN
        return f"{KEYED}:{sha256(b'conclave-audit-digest-key/1' + self.key).hexdigest()[:16]}"

    def of(self, value: Json) -> Digest:
        """Digest a value."""
        content = _bytes_of(value)
        if self.key is None:
            return Digest(len(content), sha256(content).hexdigest())
        return Digest(len(content), hmac.new(self.key, content, sha256).hexdigest())


def digest_json(digest: Digest | None) -> JsonObject | None:
    """Give a digest as a record has it."""
    return None if digest is None else {"bytes": digest.size, "digest": digest.hex}


def _bytes_of(value: Json) -> bytes:
    try:
        return canonical.dump(value)
    except (Refused, UnicodeEncodeError):
        pass
    try:
        # No canonical form (a lone surrogate, a number out of range): still the same text for the same value.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr).encode()
    except (TypeError, ValueError, RecursionError):
        return b""
