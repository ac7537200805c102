"""The durable state: LevelDB, and the only file of this part that touches disk.

Owns the database, the committed version and its recent past. Promises that a version is written whole, synced
and in one transaction, or not at all; that the root of the whole state is verified at every opening; and that
every database error leaves here as an ``EnvironmentFault``. Holds no rule of the ledger; never logs.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import plyvel

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import HISTORY_HEIGHTS
from ledger.pb.proof_pb2 import CommitmentProof
from state.batch import (
    MARKER_KEY,
    RESTORING_KEY,
    STATE_PREFIX,
    Committed,
    Staged,
    Write,
    corrupt,
    height_of,
    read_marker,
    restored_writes,
    rollback_writes,
    root_key,
    undo_key,
    writes_of,
)
from state.history import RecentTrees, check_height, rebuild, unavailable, value_at
from state.limits import PRUNE_KEYS_MAX, RESTORE_BATCH_BYTES
from state.tree import Tree

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK_SIGNS = (os.strerror(errno.EAGAIN), "already held by process")
_OWNER_FILE = "owner.lock"


class Store:
    """An open state. One process at a time; commits come from one thread, reads may come from any."""

    __slots__ = ("_committed", "_db", "_failed", "_owner", "_path", "_pruned_below", "_recent", "_records")

    def __init__(self, path: Path, db: Any, owner: int) -> None:
        self._path = path
        self._db = db
        self._owner = owner
        self._records = _LevelRecords(db, path)
        self._recent = RecentTrees()
        self._pruned_below = 0
        self._failed: EnvironmentFault | None = None
        self._committed = self._load()
        if self._committed.height:
            self._recent.keep(self._committed.height, self._committed.tree, 0)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open or create the state in the folder ``path``, reading all of it to verify its root.

        Raises:
            EnvironmentFault: STATE_LOCKED, STATE_CORRUPT, DISK_FULL, STATE_IO_FAILED.
        """
        folder = Path(path)
        owner = _own(folder)
        try:
            # Without paranoid checks LevelDB drops a damaged record of its log and applies the ones after it.
            db = plyvel.DB(str(folder), create_if_missing=True, paranoid_checks=True, bloom_filter_bits=10)
        except plyvel.Error as error:
            os.close(owner)
            raise _fault(error, folder) from error
        try:
            return cls(folder, db, owner)
        except BaseException:
            db.close()
            os.close(owner)
            raise

    @property
    def committed(self) -> Committed:
        """The newest durable version."""
        return self._committed

    def get(self, key: bytes) -> bytes | None:
        """Give the committed value of ``key``, or None.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        return self._records.get(STATE_PREFIX + key)

    def get_at(self, key: bytes, height: int) -> bytes | None:
        """Give the value of ``key`` at one of the last ``HISTORY_HEIGHTS`` heights, or None.

        Raises:
            Refused: HEIGHT_NOT_AVAILABLE.
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        # A commit in another thread must not come between the undo records and the present value.
        with closing(self._db.snapshot()) as snapshot:
            records = _LevelRecords(snapshot, self._path)
            marker = records.get(MARKER_KEY)
            newest = read_marker(marker)[0] if marker is not None else 0
            check_height(records, height, newest)
            return value_at(records, key, height, newest)

    def tree_at(self, height: int) -> Tree:
        """Give the tree of one of the last ``HISTORY_HEIGHTS`` heights, from RAM or from undo records.

        Raises:
            Refused: HEIGHT_NOT_AVAILABLE: not kept, or too many changes lie between.
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        newest = self._committed
        if not newest.height - HISTORY_HEIGHTS < height <= newest.height:
            raise unavailable(height, newest.height)
        kept = self._recent.get(height)
        if kept is not None:
            return kept
        check_height(self._records, height, newest.height)
        above, tree = self._recent.nearest_above(height) or (newest.height, newest.tree)
        older = rebuild(self._records, tree, height, above)
        self._recent.keep_rebuilt(height, older)
        return older

    def prove_at(self, key: bytes, height: int) -> tuple[bytes | None, CommitmentProof]:
        """Give the value of ``key`` at ``height`` (None: absent) with its ICS-23 ``smt`` proof.

        Raises:
            Refused: HEIGHT_NOT_AVAILABLE, PROOF_MISSING (empty state), or no key the state can hold.
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """

        def value_of(wanted: bytes) -> bytes:
            value = self.get_at(wanted, height)
            if value is None:
                raise corrupt("a key in the tree without a value", key=wanted.hex(), height=height)
            return value

        proof = self.tree_at(height).prove(key, value_of)
        return (proof.exist.value if proof.HasField("exist") else None), proof

    def commit(self, staged: Staged) -> Committed:
        """Make a staged version durable in one synced transaction, then show it to readers.

        After a fault nothing of the version is visible and the store takes no further commit until reopened.

        Raises:
            Refused: HEIGHT_NOT_AVAILABLE where the version was staged on another one than the newest.
            EnvironmentFault: DISK_FULL, STATE_CORRUPT, STATE_IO_FAILED.
        """
        if self._failed is not None:
            raise self._failed
        newest, version = self._committed, staged.version
        follows = version.height == newest.height + 1 or not newest.height
        if not follows or staged.parent_app_hash != newest.app_hash:
            expected = f"a version staged on height {newest.height}"
            raise Refused(Code.HEIGHT_NOT_AVAILABLE, got=version.height, expected=expected)
        try:
            self._prune(newest.height)
            self._write(writes_of(staged, self.get), sync=True)
        except EnvironmentFault as fault:
            self._failed = fault
            raise
        self._recent.keep(version.height, version.tree, len(staged.changes))
        self._committed = version
        return version

    def freeze(self) -> FrozenState:
        """Give the newest version, held as it is now: later commits and pruning do not change it.

        Close it before the store. It may be read in another thread.
        """
        return FrozenState(self._committed, self._db.snapshot(), self._path)

    def restore(self, version: Committed, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Fill this empty state with ``pairs``, whose tree is ``version.tree``; history begins there.

        Until the last, synced write an opening finds an empty state.

        Raises:
            Refused: STATE_NOT_EMPTY.
            EnvironmentFault: DISK_FULL, STATE_CORRUPT (the pairs are not of that tree), STATE_IO_FAILED.
            ConclaveError: what ``pairs`` raises; nothing is restored then.
        """
        if self._committed.height:
            raise Refused(
                Code.STATE_NOT_EMPTY,
                got=f"a state of height {self._committed.height}",
                expected="an empty state",
                todo="move the node's app folder away, then try again",
                path=str(self._path),
            )
        if self._failed is not None:
            raise self._failed
        try:
            self._discard_unfinished()
            self._fill(pairs)
            self._check_filled(version.app_hash)
            self._write(restored_writes(version), sync=True)
        except EnvironmentFault as fault:
            self._failed = fault
            raise
        except BaseException:
            self._discard_unfinished()
            raise
        self._committed = version
        self._recent.keep(version.height, version.tree, 0)

    def roll_back(self) -> Committed:
        """Go back one height, in one synced transaction; give the version that is the newest then.

        Raises:
            Refused: ROLLBACK_IMPOSSIBLE where the height before is not kept.
            EnvironmentFault: DISK_FULL, STATE_CORRUPT, STATE_IO_FAILED.
        """
        newest = self._committed
        height = newest.height - 1
        if height < 1 or self._records.get(root_key(height)) is None:
            raise Refused(
                Code.ROLLBACK_IMPOSSIBLE,
                got=f"a state whose history begins at height {newest.height}",
                expected=f"height {height} kept",
                todo="restore this node by state sync",
                path=str(self._path),
            )
        older = Committed(
            height, rebuild(self._records, newest.tree, height, newest.height), newest.app_version
        )
        undo = self._records.scan(undo_key(newest.height), undo_key(newest.height + 1))
        self._write(rollback_writes(older, newest.height, undo), sync=True)
        self._recent = RecentTrees()
        self._recent.keep(older.height, older.tree, 0)
        self._committed = older
        return older

    def close(self) -> None:
        """Close the database; a second time is no error."""
        self._db.close()
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> Committed:
        marker = self._records.get(MARKER_KEY)
        if marker is None:
            self._discard_unfinished()
            if next(self._records.scan(b"", b"\xff"), None) is not None:
                raise corrupt("records without a marker", path=str(self._path))
            return Committed()
        height, app_hash, app_version = read_marker(marker)
        try:
            tree = self._stored_tree()
        except Refused as refusal:
            raise corrupt("a record the state cannot hold", path=str(self._path), height=height) from refusal
        if tree.root != app_hash or self._records.get(root_key(height)) != app_hash:
            facts = {"path": str(self._path), "height": height, "app_hash": app_hash.hex()}
            raise corrupt(f"a state with root {tree.root.hex()}", **facts)
        return Committed(height, tree, app_version)

    def _prune(self, newest: int) -> None:
        """Remove some records that no answerable height needs, in a batch of their own."""
        oldest = newest - HISTORY_HEIGHTS + 1
        if oldest <= 1 or oldest <= self._pruned_below:
            return
        # Undo records of the oldest height lead to the height before it, which is no longer answerable.
        undo = self._records.scan(undo_key(self._pruned_below), undo_key(oldest + 1))
        expired = [Write(key, None) for key, _ in islice(undo, PRUNE_KEYS_MAX)]
        reached = oldest if len(expired) < PRUNE_KEYS_MAX else height_of(expired[-1].key)
        roots = self._records.scan(root_key(self._pruned_below), root_key(reached))
        expired += [Write(key, None) for key, _ in roots]
        self._write(expired, sync=False)
        self._pruned_below = reached

    def _discard_unfinished(self) -> None:
        """Remove what a restore left that did not end; the mark of it goes last."""
        if self._records.get(RESTORING_KEY) is None:
            return
        while keys := [key for key, _ in islice(self._state_records(), PRUNE_KEYS_MAX)]:
            self._write([Write(key, None) for key in keys], sync=False)
        self._write([Write(RESTORING_KEY, None)], sync=True)

    def _fill(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the state's records in bounded batches, after the mark that they count for nothing yet."""
        self._write([Write(RESTORING_KEY, b"1")], sync=True)
        writes: list[Write] = []
        weight = 0
        for key, value in pairs:
            writes.append(Write(STATE_PREFIX + key, value))
            weight += len(key) + len(value)
            if weight >= RESTORE_BATCH_BYTES:
                self._write(writes, sync=False)
                writes, weight = [], 0
        self._write(writes, sync=True)

    def _check_filled(self, app_hash: bytes) -> None:
        written = self._stored_tree()
        if written.root != app_hash:
            raise corrupt(f"a state with root {written.root.hex()}", path=str(self._path))

    def _stored_tree(self) -> Tree:
        prefix = len(STATE_PREFIX)
        return Tree.build((key[prefix:], value) for key, value in self._state_records())

    def _state_records(self) -> Iterator[tuple[bytes, bytes]]:
        return self._records.scan(STATE_PREFIX, _after(STATE_PREFIX))

    def _write(self, writes: list[Write], *, sync: bool) -> None:
        try:
            # Without transaction=True an exception inside the block would write the half batch.
            with self._db.write_batch(transaction=True, sync=sync) as batch:
                for write in writes:
                    if write.value is None:
                        batch.delete(write.key)
                    else:
                        batch.put(write.key, write.value)
        except plyvel.Error as error:
            raise _fault(error, self._path) from error


class FrozenState:
    """One version of the state as it was when it was frozen. Close it; one thread at a time reads it."""

    __slots__ = ("_path", "_snapshot", "committed")

    def __init__(self, committed: Committed, snapshot: Any, path: Path) -> None:
        self.committed = committed
        self._snapshot = snapshot
        self._path = path

    def pairs(self) -> Generator[tuple[bytes, bytes], None, None]:
        """Go through every key and its value, in key order.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        prefix = len(STATE_PREFIX)
        records = _LevelRecords(self._snapshot, self._path)
        for key, value in records.scan(STATE_PREFIX, _after(STATE_PREFIX)):
            yield key[prefix:], value

    def close(self) -> None:
        """Let the database forget this version."""
        self._snapshot.close()


class _LevelRecords:
    """``Records`` over a LevelDB database or a snapshot of one, every checksum verified."""

    __slots__ = ("_path", "_source")

    def __init__(self, source: Any, path: Path) -> None:
        self._source = source
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _fault(error, self._path) from error
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with closing(
                self._source.iterator(start=start, stop=stop, verify_checksums=True, fill_cache=False)
            ) as records:
                yield from records
        except plyvel.Error as error:
            raise _fault(error, self._path) from error


def _after(prefix: bytes) -> bytes:
    """Give the first key after all keys with ``prefix``."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def _own(folder: Path) -> int:
    """Take the folder for this opening; gives the file that holds it while it is open.

    LevelDB has a lock too, but a second try in the same process, though refused, releases that one.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = os.open(folder / _OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _fault(error, folder) from error
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(owner)
        raise (
            _locked(str(error), folder) if isinstance(error, BlockingIOError) else _fault(error, folder)
        ) from error
    return owner


def _locked(text: str, path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        Code.STATE_LOCKED,
        got=text,
        expected="one process with this state open",
        todo="stop the other node that uses this folder, or give this one a folder of its own",
        path=str(path),
    )


def _fault(error: Exception, path: Path) -> EnvironmentFault:
    """Translate what LevelDB or the file system said; LevelDB gives its causes as text only."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
    # LevelDB reads where a damaged file points, and the system calls that an invalid argument.
    if isinstance(error, plyvel.CorruptionError) or os.strerror(errno.EINVAL) in text:
        return corrupt(text, path=str(path))
    if "/LOCK" in text and any(sign in text for sign in _LOCK_SIGNS):
        return _locked(text, path)
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_ROOM or any(os.strerror(code) in text for code in _NO_ROOM):
        todo = "free some space, then start the node again; nothing was half written"
        return EnvironmentFault(
            Code.DISK_FULL, got=text, expected="room on the disk", todo=todo, path=str(path)
        )
    todo = "check that the folder is on a healthy disk and belongs to this user"
    return EnvironmentFault(
        Code.STATE_IO_FAILED, got=text, expected="a working folder", todo=todo, path=str(path)
    )
