"""A snapshot of the state: its bytes, its description, and what is believed of one.

Owns format 1: one stream of records in key order, cut into chunks of one size. Promises that the same height
and content give the same bytes on every node, that any bytes give either the records or
``VerificationFailed``, and that ``verified_tree`` returns only where the records have the app hash asked for.
Never touches disk.

Source: docs/spec/snapshot.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.limits import ABCI_MESSAGE_BYTES_MAX, STATE_KEY_BYTES_MAX
from state.limits import (
    SNAPSHOT_CHUNK_BYTES,
    SNAPSHOT_CHUNKS_MAX,
    STATE_VALUE_BYTES_MAX,
    check_key,
    check_value,
)
from state.tree import Tree

FORMAT = 1
HASH_BYTES = 32
_LENGTH_BYTES = 4
_HEIGHT_BYTES = 8
_HEIGHT_MAX = 2**63 - 1

assert SNAPSHOT_CHUNK_BYTES < ABCI_MESSAGE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The description of a snapshot: what a peer offers and what its chunks are checked against."""

    height: int
    chunk_hashes: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the metadata."""
        return hashlib.sha256(self.metadata).digest()

    @property
    def metadata(self) -> bytes:
        """The SHA-256 of every chunk, in order."""
        return b"".join(self.chunk_hashes)


def chunks_of(height: int, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Give the chunks of the snapshot of ``height``.

    Args:
        height: the height whose state this is, from 1.
        pairs: every key and its value, in key order.

    Raises:
        Refused: LIMIT_EXCEEDED, more than ``SNAPSHOT_CHUNKS_MAX`` chunks.
    """
    pending = bytearray(height.to_bytes(_HEIGHT_BYTES, "big"))
    count = 0
    for key, value in pairs:
        for part in (key, value):
            pending += len(part).to_bytes(_LENGTH_BYTES, "big")
            pending += part
        while len(pending) >= SNAPSHOT_CHUNK_BYTES:
            count += 1
            _check_count(count)
            yield bytes(pending[:SNAPSHOT_CHUNK_BYTES])
            del pending[:SNAPSHOT_CHUNK_BYTES]
    if pending:
        _check_count(count + 1)
        yield bytes(pending)


def check_format(number: int) -> None:
    """Check that a snapshot is of the format known here.

    Raises:
        VerificationFailed: SNAPSHOT_FORMAT_UNKNOWN.
    """
    if number != FORMAT:
        raise VerificationFailed(
            Code.SNAPSHOT_FORMAT_UNKNOWN,
            got=f"format {number}",
            expected=f"format {FORMAT}",
            todo="take the snapshot from a node of this version",
        )


def describe(height: int, metadata: bytes) -> Snapshot:
    """Give the description of a snapshot from its metadata.

    Raises:
        VerificationFailed: SNAPSHOT_INVALID, no height or no metadata of 1 to ``SNAPSHOT_CHUNKS_MAX`` hashes.
    """
    count, rest = divmod(len(metadata), HASH_BYTES)
    if rest or not 1 <= count <= SNAPSHOT_CHUNKS_MAX or not 1 <= height <= _HEIGHT_MAX:
        _invalid(f"height {height}, {len(metadata)} bytes of chunk hashes", "a height and whole chunk hashes")
    hashes = (metadata[at : at + HASH_BYTES] for at in range(0, len(metadata), HASH_BYTES))
    return Snapshot(height, tuple(hashes))


def check_chunk(snapshot: Snapshot, index: int, chunk: bytes) -> None:
    """Check that ``chunk`` is number ``index`` (from 0) of ``snapshot``.

    Raises:
        VerificationFailed: SNAPSHOT_CHUNK_INVALID.
    """
    known = 0 <= index < len(snapshot.chunk_hashes)
    if not known or len(chunk) > SNAPSHOT_CHUNK_BYTES:
        raise _wrong_chunk(snapshot, index, f"{len(chunk)} bytes")
    got = hashlib.sha256(chunk).digest()
    if got != snapshot.chunk_hashes[index]:
        raise _wrong_chunk(snapshot, index, got.hex())


def pairs_of(snapshot: Snapshot, chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Give the records of a snapshot, in strictly rising key order; every chunk is checked first.

    Raises:
        VerificationFailed: SNAPSHOT_CHUNK_INVALID, or SNAPSHOT_INVALID where the stream is none of format 1.
    """
    stream = _Stream(snapshot, chunks)
    height = int.from_bytes(stream.take(_HEIGHT_BYTES), "big")
    if height != snapshot.height:
        _invalid(f"records of height {height}", f"height {snapshot.height}")
    last = b""
    while not stream.at_end():
        key = stream.part(STATE_KEY_BYTES_MAX)
        value = stream.part(STATE_VALUE_BYTES_MAX)
        try:
            check_key(key)
            check_value(key, value)
        except Refused as refusal:
            raise caused(VerificationFailed, Code.SNAPSHOT_INVALID, refusal) from None
        if key <= last:
            _invalid(f"key {key.hex()} after {last.hex()}", "keys in rising order")
        last = key
        yield key, value


def verified_tree(snapshot: Snapshot, app_hash: bytes, chunks: Iterable[bytes]) -> Tree:
    """Build the tree of a snapshot's records and compare its root with ``app_hash``, which must be trusted.

    Raises:
        VerificationFailed: SNAPSHOT_ROOT_MISMATCH, and as ``pairs_of``.
    """
    tree = Tree.build(pairs_of(snapshot, chunks))
    if tree.root != app_hash:
        raise VerificationFailed(
            Code.SNAPSHOT_ROOT_MISMATCH,
            got=tree.root,
            expected=app_hash.hex(),
            todo="take the snapshot from another node",
            height=snapshot.height,
        )
    return tree


class _Stream:
    """The bytes of the chunks, one after the other; never more than a record and a chunk at a time."""

    __slots__ = ("_at", "_chunks", "_index", "_pending", "_snapshot")

    def __init__(self, snapshot: Snapshot, chunks: Iterable[bytes]) -> None:
        self._snapshot, self._chunks = snapshot, iter(chunks)
        self._index, self._pending, self._at = 0, b"", 0

    def at_end(self) -> bool:
        return self._at == len(self._pending) and not self._fill()

    def part(self, bytes_max: int) -> bytes:
        length = int.from_bytes(self.take(_LENGTH_BYTES), "big")
        if length > bytes_max:
            _invalid(f"a part of {length} bytes", f"at most {bytes_max}")
        return self.take(length)

    def take(self, length: int) -> bytes:
        while len(self._pending) - self._at < length:
            if not self._fill():
                _invalid("a stream that ends within a record", "whole records")
        taken = self._pending[self._at : self._at + length]
        self._at += length
        return taken

    def _fill(self) -> bool:
        if self._index == len(self._snapshot.chunk_hashes):
            return False
        chunk = next(self._chunks, b"")
        check_chunk(self._snapshot, self._index, chunk)
        is_last = self._index == len(self._snapshot.chunk_hashes) - 1
        if not chunk or (len(chunk) != SNAPSHOT_CHUNK_BYTES and not is_last):
            _invalid(f"chunk {self._index} of {len(chunk)} bytes", "whole chunks, but for the last")
        self._pending = self._pending[self._at :] + chunk
        self._at = 0
        self._index += 1
        return True


def _check_count(count: int) -> None:
    if count > SNAPSHOT_CHUNKS_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=f"chunk {count}", expected=f"at most {SNAPSHOT_CHUNKS_MAX} chunks"
        )


def _wrong_chunk(snapshot: Snapshot, index: int, got: str) -> VerificationFailed:
    return VerificationFailed(
        Code.SNAPSHOT_CHUNK_INVALID,
        got=got,
        expected="the chunk its snapshot names",
        todo="fetch the chunk from another peer, or copy it again",
        height=snapshot.height,
        chunk=index,
    )


def _invalid(got: str, expected: str) -> NoReturn:
    raise VerificationFailed(
        Code.SNAPSHOT_INVALID, got=got, expected=expected, todo="take the snapshot from another node"
    )
