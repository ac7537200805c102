"""The bytes of an append-only log of which every record counts.

Owns the framing. Promises that of any bytes whole records come back exactly as they were written, in order,
from the first on; that a record broken off at the end, or with a hole in it (a write that was never
acknowledged), is left out; and that anything else, a flipped bit anywhere included, is ``Damaged`` with its
place. Pure.

A record is one line: ``number length check hash content``. The check is over number and length, so that a
damaged length is not taken for a write broken off; the hash is over the hash before it, number, length and
content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.types import sha256

_BEGINNING = sha256(b"conclave-trust-log/1").hex()
_CHECK_CHARACTERS = 16
_HEAD_BYTES = 10 + 1 + 8 + 1 + _CHECK_CHARACTERS + 1
_HASH_BYTES = 64 + 1
RECORD_BYTES_MAX = 10**8 - 1
NAMING_BYTES = _HEAD_BYTES + _HASH_BYTES
"""Of a record, from where it begins: what tells it, and all before it, from any other."""
_HOLE = b"\0\0"
"""No record holds a zero byte, and no flipped bit makes two."""


class Damaged(Exception):
    """The bytes are not what was written: ``line`` from 1, ``offset`` in bytes, and what is wrong."""

    def __init__(self, line: int, offset: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.offset, self.problem = line, offset, problem


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a log ends.

    Attributes:
        number: of the last record; 0 before the first.
        hash: the last record's.
        begun: the offset where that begins.
        end: the offset after its content.
        is_closed: whether its line end is there.
    """

    number: int = 0
    hash: str = _BEGINNING
    begun: int = 0
    end: int = 0
    is_closed: bool = True

    def is_named_by(self, naming: bytes) -> bool:
        """Tell whether ``naming``, the ``NAMING_BYTES`` from ``begun`` on, are the last record's."""
        return naming[_HEAD_BYTES:] == f"{self.hash} ".encode()


def framed(contents: Iterable[bytes], tip: Tip) -> tuple[bytes, Tip]:
    """Give the bytes that go to ``tip.end`` for ``contents``, which hold no line end, and the tip then."""
    written = bytearray(b"" if tip.is_closed else b"\n")
    number, digest, begun = tip.number, tip.hash, tip.begun
    for content in contents:
        number, begun = number + 1, tip.end + len(written)
        place = f"{number:010d} {len(content):08d}"
        check, digest = _check(digest, place), _hash(digest, place, content)
        written += f"{place} {check} {digest} ".encode() + content + b"\n"
    return bytes(written), Tip(number, digest, begun, tip.end + len(written))


def scan(content: bytes) -> tuple[list[bytes], Tip]:
    """Give the contents of the whole records of a log, and where they end.

    Raises:
        Damaged: where the bytes are not a log's, or not as they were written.
    """
    # A file system may have grown the file and not filled it: a record holds no zero byte.
    content = content.rstrip(b"\0")
    found: list[bytes] = []
    tip = Tip()
    at = 0
    while at < len(content):
        line = len(found) + 1
        try:
            whole = _whole(content, tip, line, at)
        except Damaged:
            if not _is_torn(content[at:]):
                raise
            break
        if whole is None:
            break
        record, digest = whole
        end = at + NAMING_BYTES + len(record)
        is_closed = content[end : end + 1] == b"\n"
        if end < len(content) and not is_closed:
            raise Damaged(line, end, "a record without its line end")
        found.append(record)
        begun, at = at, end + is_closed
        tip = Tip(line, digest, begun, at, is_closed)
    return found, tip


def _is_torn(rest: bytes) -> bool:
    """Tell whether a last record has a hole: a power cut may leave later blocks of it and not the earlier."""
    return _HOLE in rest and b"\n" not in rest[:-1]


def _whole(content: bytes, tip: Tip, line: int, at: int) -> tuple[bytes, str] | None:
    """Give the record that begins at ``at`` and its hash; None for one broken off."""
    size = _size(content[at : at + _HEAD_BYTES], tip, line, at)
    start = at + NAMING_BYTES
    if size is None or start + size > len(content):
        return None
    record = content[start : start + size]
    digest = _hash(tip.hash, content[at : at + 19].decode(), record)
    if content[at + _HEAD_BYTES : start] != f"{digest} ".encode():
        raise Damaged(line, at, "a record with another hash")
    return record, digest


def _size(head: bytes, tip: Tip, line: int, at: int) -> int | None:
    """Give the length a record's head names; None for a head broken off."""
    if len(head) < _HEAD_BYTES:
        return None
    place = head[:19].decode("ascii", "replace")
    expected = f"{tip.number + 1:010d} "
    if head[19:] != f" {_check(tip.hash, place)} ".encode() or not place.startswith(expected):
        raise Damaged(line, at, "a record with another head")
    if not place[11:].isdecimal():
        raise Damaged(line, at, "a record with no length")
    return int(place[11:])


def _check(before: str, place: str) -> str:
    return sha256(f"{before} {place}".encode()).hex()[:_CHECK_CHARACTERS]


def _hash(before: str, place: str, content: bytes) -> str:
    return sha256(f"{before} {place} ".encode() + content).hex()
