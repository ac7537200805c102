"""What one committed version is, and the exact records that make it durable.

Owns the record layout: ``s/``key → value; ``u/``be64(height)``/``key → presence byte and previous value
(undo); ``r/``be64(height) → root; ``m`` → be64 height ‖ app hash ‖ be64 app version; ``i`` while a snapshot
is being restored: what lies beside it counts for nothing. Promises that the same version gives the same
records in the same order. Never reads or writes a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ledger.errors import Code, EnvironmentFault, Refused
from state.tree import Tree

STATE_PREFIX = b"s/"
UNDO_PREFIX = b"u/"
ROOT_PREFIX = b"r/"
MARKER_KEY = b"m"
RESTORING_KEY = b"i"

_HEIGHT_BYTES = 8
_HASH_BYTES = 32
_MARKER_BYTES = _HEIGHT_BYTES + _HASH_BYTES + 8
_ABSENT, _PRESENT = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class Committed:
    """A version that is durable. Height 0 with the empty tree is the state before the first commit."""

    height: int = 0
    tree: Tree = field(default_factory=Tree)
    app_version: int = 0

    @property
    def app_hash(self) -> bytes:
        """The 32-byte root of the tree."""
        return self.tree.root


@dataclass(frozen=True, slots=True)
class Staged:
    """A version that is computed and not yet durable: what FinalizeBlock leaves for Commit."""

    parent_app_hash: bytes
    version: Committed
    changes: Mapping[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Write:
    """One record to write; value None deletes it."""

    key: bytes
    value: bytes | None


def stage(
    committed: Committed, height: int, app_version: int, changes: Mapping[bytes, bytes | None]
) -> Staged:
    """Compute the version that ``changes`` make of ``committed``. Pure: it may be called any number of times.

    Raises:
        Refused: HEIGHT_NOT_AVAILABLE where ``height`` does not follow the committed one (the first version
            may have any height from 1), or a key or value the state cannot hold.
    """
    lowest = committed.height + 1
    if height < 1 or (committed.height and height != lowest):
        raise Refused(Code.HEIGHT_NOT_AVAILABLE, got=height, expected=f"height {lowest}")
    changed = Committed(height, committed.tree.update(changes), app_version)
    return Staged(committed.app_hash, changed, dict(changes))


def writes_of(staged: Staged, previous: Callable[[bytes], bytes | None]) -> list[Write]:
    """List the records of a version in the order they are written, the marker last.

    Args:
        staged: the version.
        previous: gives the value a key had in the parent version.
    """
    version = staged.version
    writes: list[Write] = []
    for key, value in sorted(staged.changes.items()):
        before = previous(key)
        if before == value:
            continue
        writes.append(Write(STATE_PREFIX + key, value))
        writes.append(Write(undo_key(version.height, key), _ABSENT if before is None else _PRESENT + before))
    return [*writes, *_seal_of(version)]


def restored_writes(version: Committed) -> list[Write]:
    """List the records that end a restore: from here on the records written before are the state."""
    return [Write(RESTORING_KEY, None), *_seal_of(version)]


def rollback_writes(version: Committed, newest: int, undo: Iterable[tuple[bytes, bytes]]) -> list[Write]:
    """List the records that make ``version`` the newest again by undoing the height ``newest`` after it.

    Args:
        version: the height before ``newest``.
        newest: the height to undo.
        undo: the undo records of ``newest``, as stored.
    """
    writes: list[Write] = []
    for record_key, record in undo:
        key, before = undone(record_key, record)
        writes += [Write(STATE_PREFIX + key, before), Write(record_key, None)]
    return [*writes, Write(root_key(newest), None), *_seal_of(version)]


def root_key(height: int) -> bytes:
    """Give the key of the root record of ``height``."""
    return ROOT_PREFIX + _be64(height)


def undo_key(height: int, key: bytes = b"") -> bytes:
    """Give the key of the undo record of ``key`` at ``height``; without a key, where that height's begin."""
    return UNDO_PREFIX + _be64(height) + b"/" + key


def height_of(record_key: bytes) -> int:
    """Give the height of an undo or root record.

    Raises:
        EnvironmentFault: STATE_CORRUPT.
    """
    raw = record_key[2 : 2 + _HEIGHT_BYTES]
    if len(raw) != _HEIGHT_BYTES:
        raise corrupt("a record key without a height", record=record_key.hex())
    return int.from_bytes(raw, "big")


def undone(record_key: bytes, record: bytes) -> tuple[bytes, bytes | None]:
    """Read an undo record: (key, the value before or None).

    Raises:
        EnvironmentFault: STATE_CORRUPT.
    """
    key = record_key[len(UNDO_PREFIX) + _HEIGHT_BYTES + 1 :]
    if record == _ABSENT:
        return key, None
    if record[:1] != _PRESENT or len(record) < 2:
        raise corrupt("an undo record without a presence byte", record=record_key.hex())
    return key, record[1:]


def read_marker(raw: bytes) -> tuple[int, bytes, int]:
    """Read the marker record: (height, app hash, app version).

    Raises:
        EnvironmentFault: STATE_CORRUPT.
    """
    if len(raw) != _MARKER_BYTES:
        raise corrupt("a marker of the wrong size", size=len(raw))
    split = _HEIGHT_BYTES + _HASH_BYTES
    return (
        int.from_bytes(raw[:_HEIGHT_BYTES], "big"),
        raw[_HEIGHT_BYTES:split],
        int.from_bytes(raw[split:], "big"),
    )


def corrupt(got: str, **facts: object) -> EnvironmentFault:
    """Make the fault of a stored state that cannot be what was written."""
    return EnvironmentFault(
        Code.STATE_CORRUPT,
        got=got,
        expected="the records this application wrote",
        todo="check the disk; remove this node's state and CometBFT data together, then sync from peers",
        **facts,
    )


def _seal_of(version: Committed) -> list[Write]:
    marker = _be64(version.height) + version.app_hash + _be64(version.app_version)
    return [Write(root_key(version.height), version.app_hash), Write(MARKER_KEY, marker)]


def _be64(number: int) -> bytes:
    return number.to_bytes(8, "big")
