"""Older versions of the state, from undo records.

Owns the reading of a past value and the rebuilding of a past tree, and which trees stay in RAM. Promises
bounded work, and that a rebuilt tree has the root recorded for its height. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ledger.errors import Code, Refused
from ledger.limits import HISTORY_HEIGHTS
from state.batch import STATE_PREFIX, corrupt, root_key, undo_key, undone
from state.limits import REBUILD_CHANGES_MAX, REBUILT_TREES_MAX, RECENT_TREE_CHANGES_MAX
from state.tree import Tree


class Records(Protocol):
    """The stored records, ordered by key."""

    def get(self, key: bytes) -> bytes | None:
        """Give a record, or None."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through the records with ``start <= key < stop``."""
        ...


def unavailable(height: int, newest: int) -> Refused:
    """Make the refusal of a height that is not kept."""
    oldest = max(1, newest - HISTORY_HEIGHTS + 1)
    return Refused(
        Code.HEIGHT_NOT_AVAILABLE,
        got=height,
        expected=f"a height from {oldest} to {newest}",
        todo="ask for a newer height, or ask a node that keeps more",
        newest=newest,
    )


def check_height(records: Records, height: int, newest: int) -> None:
    """Refuse a height outside the last ``HISTORY_HEIGHTS``, or one this store never had.

    Raises:
        Refused: HEIGHT_NOT_AVAILABLE.
    """
    if not newest - HISTORY_HEIGHTS < height <= newest or height < 1 or records.get(root_key(height)) is None:
        raise unavailable(height, newest)


def value_at(records: Records, key: bytes, height: int, newest: int) -> bytes | None:
    """Give the value of ``key`` at ``height``: what the first later change replaced, else the present one."""
    for later in range(height + 1, newest + 1):
        record_key = undo_key(later, key)
        record = records.get(record_key)
        if record is not None:
            return undone(record_key, record)[1]
    return records.get(STATE_PREFIX + key)


def rebuild(records: Records, tree: Tree, height: int, newest: int) -> Tree:
    """Give the tree of ``height`` by undoing what came after it from ``tree``, which is of ``newest``.

    Raises:
        Refused: HEIGHT_NOT_AVAILABLE where more than ``REBUILD_CHANGES_MAX`` changes lie between.
        EnvironmentFault: STATE_CORRUPT where the result has not the recorded root.
    """
    changes: dict[bytes, bytes | None] = {}
    for count, (record_key, record) in enumerate(records.scan(undo_key(height + 1), undo_key(newest + 1))):
        if count == REBUILD_CHANGES_MAX:
            raise unavailable(height, newest)
        key, before = undone(record_key, record)
        changes.setdefault(key, before)
    older = tree.update(changes)
    if older.root != records.get(root_key(height)):
        raise corrupt("undo records that do not lead to the recorded root", height=height)
    return older


class RecentTrees:
    """Trees in RAM: the last heights, as many as their replaced nodes allow, and a few rebuilt ones."""

    __slots__ = ("_kept", "_rebuilt", "_weight")

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tree, int]] = {}
        self._rebuilt: dict[int, Tree] = {}
        self._weight = 0

    def keep(self, height: int, tree: Tree, changes: int) -> None:
        """Keep the tree of a new height that took ``changes`` changes; the one before it always stays too."""
        self._kept[height] = (tree, changes)
        self._weight += changes
        while len(self._kept) > 2 and (
            self._weight > RECENT_TREE_CHANGES_MAX or len(self._kept) > HISTORY_HEIGHTS
        ):
            self._weight -= self._kept.pop(next(iter(self._kept)))[1]

    def keep_rebuilt(self, height: int, tree: Tree) -> None:
        """Keep a rebuilt tree, dropping the least recently rebuilt."""
        newest = list(self._rebuilt.items())[1 - REBUILT_TREES_MAX :]
        self._rebuilt = {**dict(newest), height: tree}

    def get(self, height: int) -> Tree | None:
        """Give the tree of ``height`` if it is in RAM."""
        kept = self._kept.get(height)
        return kept[0] if kept is not None else self._rebuilt.get(height)

    def nearest_above(self, height: int) -> tuple[int, Tree] | None:
        """Give the lowest height in RAM above ``height``, with its tree."""
        above = [(kept, tree) for kept, (tree, _) in list(self._kept.items()) if kept > height]
        above += [(built, tree) for built, tree in self._rebuilt.items() if built > height]
        return min(above, key=lambda pair: pair[0], default=None)
