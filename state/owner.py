"""The file ``owner.lock``: who has the folder of a state open, and what was acknowledged in it.

Owns the lock and the mark (be64 height ‖ app hash ‖ SHA-256 of both). Promises that one opening at a time
holds a folder, and that the mark never names a version that was not durable before: a state older than its
mark has lost something. LevelDB cannot tell: a log that was cut, or whose last length was damaged, looks to
it like one whose end was never written. Never touches the database.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path

from ledger.errors import Code, EnvironmentFault
from state import faults
from state.batch import Committed

OWNER_FILE = "owner.lock"
_HEIGHT_BYTES = 8
_HASH_BYTES = 32
_MARK_BYTES = _HEIGHT_BYTES + 2 * _HASH_BYTES


class Owner:
    """The hold on ``folder`` for one opening, from the making of this object to ``release``.

    LevelDB has a lock too, but a second try in the same process, though refused, releases that one.

    Raises:
        EnvironmentFault: STATE_LOCKED, DISK_FULL, STATE_IO_FAILED.
    """

    __slots__ = ("_descriptor", "_folder")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise faults.of_file(error, folder) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            is_held = isinstance(error, BlockingIOError)
            raise (
                faults.of_lock(str(error), folder) if is_held else faults.of_file(error, folder)
            ) from error

    def release(self) -> None:
        """Let the folder go; a second time is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def mark(self) -> tuple[int, bytes] | None:
        """Give height and app hash of the mark; None where there is no whole one.

        Raises:
            EnvironmentFault: STATE_IO_FAILED.
        """
        try:
            raw = os.pread(self._descriptor, _MARK_BYTES, 0)
        except OSError as error:
            raise faults.of_file(error, self._folder) from error
        content, digest = raw[:-_HASH_BYTES], raw[-_HASH_BYTES:]
        if len(raw) != _MARK_BYTES or hashlib.sha256(content).digest() != digest:
            return None
        return int.from_bytes(content[:_HEIGHT_BYTES], "big"), content[_HEIGHT_BYTES:]

    def acknowledge(self, version: Committed) -> None:
        """Mark a version that is durable. A mark that cannot be written stays behind, which is safe."""
        with contextlib.suppress(OSError):
            self._write(version)

    def retract(self, version: Committed) -> None:
        """Mark, durably, the older version that is about to be the newest.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
        """
        try:
            self._write(version)
            os.fsync(self._descriptor)
        except OSError as error:
            raise faults.of_file(error, self._folder) from error

    def check(self, found: Committed) -> None:
        """Check that the whole version found at an opening is the acknowledged one, or one after it.

        Raises:
            EnvironmentFault: STATE_CORRUPT.
        """
        mark = self.mark()
        if mark is None or mark[0] < found.height or mark == (found.height, found.app_hash):
            return
        raise EnvironmentFault(
            Code.STATE_CORRUPT,
            got=f"a whole state of height {found.height}, root {found.app_hash.hex()}",
            expected=f"height {mark[0]}, root {mark[1].hex()}, which was committed here",
            todo=f"check the disk; to go on from height {found.height} with the node's own blocks, remove "
            f"{OWNER_FILE}; else move the app folder away and restore a copy, or join anew",
            path=str(self._folder),
            height=found.height,
            committed=mark[0],
        )

    def _write(self, version: Committed) -> None:
        content = version.height.to_bytes(_HEIGHT_BYTES, "big") + version.app_hash
        raw = content + hashlib.sha256(content).digest()
        if os.pwrite(self._descriptor, raw, 0) != len(raw):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
