"""The durable state.

Owns the committed version and its recent past. Promises that a version is written whole, synced and in one
transaction, or not at all; that an opening finds the newest version that was acknowledged, or one after it,
and verifies the root of the whole state, or names the damage; and that every error leaves here as an
``EnvironmentFault``. Holds no rule of the ledger; never logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
from state.level import FrozenState, LevelRecords, after, open_database, write
from state.limits import PRUNE_KEYS_MAX, RESTORE_BATCH_BYTES
from state.owner import Owner
from state.tree import Tree

__all__ = ["FrozenState", "Store"]


class Store:
    """An open state. One process at a time; commits come from one thread, reads may come from any."""

    __slots__ = ("_committed", "_db", "_failed", "_owner", "_path", "_pruned_below", "_recent", "_records")

    def __init__(self, path: Path, db: Any, owner: Owner) -> None:
        self._path = path
        self._db = db
        self._owner = owner
        self._records = LevelRecords(db, path)
        self._recent = RecentTrees()
        self._pruned_below = 0
        self._failed: EnvironmentFault | None = None
        self._committed = self._load()
        owner.check(self._committed)
        owner.acknowledge(self._committed)
        if self._committed.height:
            self._recent.keep(self._committed.height, self._committed.tree, 0)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open or create the state in the folder ``path``, reading all of it to verify its root.

        Raises:
            EnvironmentFault: STATE_LOCKED, STATE_CORRUPT, DISK_FULL, STATE_IO_FAILED.
        """
        folder = Path(path)
        owner = Owner(folder)
        try:
            db = open_database(folder)
            try:
                return cls(folder, db, owner)
            except BaseException:
                db.close()
                raise
        except BaseException:
            owner.release()
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
            records = LevelRecords(snapshot, self._path)
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
        above, tree = self._recent.nearest_above(height) or (newest.height, newest.tree)
        # Commits in another thread may prune meanwhile; the records up to ``above`` are there by now.
        with closing(self._db.snapshot()) as snapshot:
            records = LevelRecords(snapshot, self._path)
            check_height(records, height, newest.height)
            older = rebuild(records, tree, height, above)
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
        self._owner.acknowledge(version)
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
        self._owner.acknowledge(version)
        self._committed = version
        self._recent.keep(version.height, version.tree, 0)

    def roll_back(self) -> Committed:
        """Go back one height, in one synced transaction; give the version that is the newest then.

        Raises:
            Refused: ROLLBACK_IMPOSSIBLE where the height before is not kept.
            EnvironmentFault: DISK_FULL, STATE_CORRUPT, STATE_IO_FAILED.
        """
        if self._failed is not None:
            raise self._failed
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
        try:
            self._owner.retract(older)
            self._write(rollback_writes(older, newest.height, undo), sync=True)
        except EnvironmentFault as fault:
            self._failed = fault
            raise
        self._recent = RecentTrees()
        self._recent.keep(older.height, older.tree, 0)
        self._committed = older
        return older

    def close(self) -> None:
        """Close the database; a second time is no error."""
        self._db.close()
        self._owner.release()

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
                # A batch may end one log and begin the next; what the last one seals must be there by then.
                self._write(writes, sync=True)
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
        return self._records.scan(STATE_PREFIX, after(STATE_PREFIX))

    def _write(self, writes: list[Write], *, sync: bool) -> None:
        write(self._db, writes, self._path, sync=sync)
