"""The bytes of an audit log: one record a line, each with its hash, each holding the hash before it.

Owns the framing and what a head's signature is over. Promises that any one changed byte of a line is found
from that line alone. Pure. Source: docs/spec/mcp-audit.md §1.

A line is ``{"hash":HASH,"record":RECORD}`` in RFC 8785 form; HASH is the SHA-256 of the format's name, a line
end and RECORD's bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ledger import canonical
from ledger.errors import Code, VerificationFailed
from ledger.keys import public_key_of, verify_ed25519
from ledger.types import sha256
from mcp_server.audit.records import FORMAT, Body, Head, Record

BEGINNING = sha256(f"{FORMAT}/beginning".encode()).hex()
_DOMAIN = f"{FORMAT}\n".encode()
_HEAD_DOMAIN = f"{FORMAT}/head\n".encode()
_OPENING, _MIDDLE, _CLOSING = b'{"hash":"', b'","record":', b"}"
_HASH = re.compile(rb"[0-9a-f]{64}")
_BODY_START = len(_OPENING) + 64 + len(_MIDDLE)


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a log ends: the last record's place, 0 before the first, and its hash."""

    sequence: int = 0
    hash: str = BEGINNING


def framed(body: Body, tip: Tip, time_ns: int) -> tuple[bytes, Tip]:
    """Give the line, with its end, of the record that follows ``tip``, and the tip then."""
    content = canonical.dump(Record(tip.sequence + 1, tip.hash, time_ns, body).to_json())
    digest = _digest(content)
    line = b"".join((_OPENING, digest.encode(), _MIDDLE, content, _CLOSING, b"\n"))
    return line, Tip(tip.sequence + 1, digest)


def unframed(line: bytes) -> tuple[bytes, str]:
    """Give a line's record and its hash; the line comes without its end.

    Raises:
        VerificationFailed: AUDIT_RECORD_INVALID.
    """
    digest, content = line[len(_OPENING) : len(_OPENING) + 64], line[_BODY_START : -len(_CLOSING)]
    is_framed = (
        line.startswith(_OPENING)
        and _HASH.fullmatch(digest) is not None
        and line[len(_OPENING) + 64 : _BODY_START] == _MIDDLE
        and line.endswith(_CLOSING)
    )
    if not is_framed:
        raise VerificationFailed(Code.AUDIT_RECORD_INVALID, got="another line", expected="a record")
    if _digest(content) != digest.decode():
        raise VerificationFailed(
            Code.AUDIT_RECORD_INVALID,
            got=f"a record whose hash is {_digest(content)}",
            expected=digest.decode(),
        )
    return content, digest.decode()


def sealed(tip: Tip, time_ns: int, sign: Callable[[bytes], bytes], *, closes: bool) -> Head:
    """Sign everything up to ``tip``."""
    unsigned = Record(tip.sequence + 1, tip.hash, time_ns, Head(bytes(64), closes))
    return Head(sign(_signed_bytes(unsigned)), closes)


def is_signed_by(record: Record, head: Head, key_id: str) -> bool:
    """Tell whether ``head`` is the body of ``record`` signed with an ed25519 key.

    Raises:
        Refused: KEY_INVALID for an id of no ed25519 key.
    """
    return verify_ed25519(public_key_of(key_id), _signed_bytes(record), head.signature)


def _signed_bytes(record: Record) -> bytes:
    """What a head's signature is over: the record without it. ``previous`` binds everything before."""
    value = record.to_json()
    del value["signature"]
    return _HEAD_DOMAIN + canonical.dump(value)


def _digest(content: bytes) -> str:
    return sha256(_DOMAIN + content).hex()
