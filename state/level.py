"""LevelDB as the store uses it: every checksum verified, every error an ``EnvironmentFault``.

Owns opening, reading, one batch and one frozen version. Promises that a batch is written whole or not at all,
that a reading that ends has met no damage, and that a database whose first file is gone is not taken for a
new one. Knows the layout of records from ``state.batch``; decides nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import plyvel

from state import faults
from state.batch import STATE_PREFIX, Committed, Write, corrupt

_FIRST_FILE = "CURRENT"
_CONTENT = ("*.ldb", "*.sst", "*.log")


def open_database(folder: Path) -> Any:
    """Open or create the database in ``folder``.

    Raises:
        EnvironmentFault: STATE_LOCKED, STATE_CORRUPT, DISK_FULL, STATE_IO_FAILED.
    """
    # LevelDB would begin anew and remove the tables it does not know.
    if not (folder / _FIRST_FILE).exists() and any(any(folder.glob(pattern)) for pattern in _CONTENT):
        raise corrupt(f"no file {_FIRST_FILE} among those of a database", path=str(folder))
    try:
        # Without paranoid checks LevelDB drops a damaged record of its log and applies the ones after it.
        return plyvel.DB(str(folder), create_if_missing=True, paranoid_checks=True, bloom_filter_bits=10)
    except plyvel.Error as error:
        raise faults.of_database(error, folder) from error


def write(db: Any, writes: Iterable[Write], path: Path, *, sync: bool) -> None:
    """Write a batch whole or not at all.

    Raises:
        EnvironmentFault: DISK_FULL, STATE_CORRUPT, STATE_IO_FAILED.
    """
    try:
        # Without transaction=True an exception inside the block would write the half batch.
        with db.write_batch(transaction=True, sync=sync) as batch:
            for record in writes:
                if record.value is None:
                    batch.delete(record.key)
                else:
                    batch.put(record.key, record.value)
    except plyvel.Error as error:
        raise faults.of_database(error, path) from error


class LevelRecords:
    """``Records`` over a LevelDB database or a snapshot of one."""

    __slots__ = ("_path", "_source")

    def __init__(self, source: Any, path: Path) -> None:
        self._source = source
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        """Give a record, or None.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        try:
            value: bytes | None = self._source.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise faults.of_database(error, self._path) from error
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through the records with ``start <= key < stop``.

        Raises:
            EnvironmentFault: STATE_CORRUPT, STATE_IO_FAILED.
        """
        last = None
        try:
            with closing(
                self._source.iterator(start=start, stop=stop, verify_checksums=True, fill_cache=False)
            ) as records:
                for record in records:
                    yield record
                    last = record[0]
            self._check_end(start, last)
        except plyvel.Error as error:
            raise faults.of_database(error, self._path) from error

    def _check_end(self, start: bytes, last: bytes | None) -> None:
        """Step over the end once more: plyvel's iterator ends at damage there as if nothing followed."""
        with closing(self._source.raw_iterator(verify_checksums=True, fill_cache=False)) as end:
            end.seek(start if last is None else last)
            if last is not None:
                end.next()


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
        records = LevelRecords(self._snapshot, self._path)
        for key, value in records.scan(STATE_PREFIX, after(STATE_PREFIX)):
            yield key[prefix:], value

    def close(self) -> None:
        """Let the database forget this version."""
        self._snapshot.close()


def after(prefix: bytes) -> bytes:
    """Give the first key after all keys with ``prefix``."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
