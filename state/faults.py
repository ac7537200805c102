"""What went wrong with a state's folder, as an ``EnvironmentFault``.

Owns the translation of what LevelDB and the file system say: LevelDB gives its causes as text only. Promises
that no text decides more than which code it is. Touches no disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import plyvel

from ledger.errors import NO_ROOM, Code, EnvironmentFault
from state.batch import corrupt

_LOCK_SIGNS = (os.strerror(errno.EAGAIN), "already held by process")


def of_database(error: Exception, path: Path) -> EnvironmentFault:
    """Translate an error of LevelDB: STATE_CORRUPT, STATE_LOCKED, DISK_FULL or STATE_IO_FAILED."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
    # LevelDB reads where a damaged file points, and the system calls that an invalid argument.
    if isinstance(error, plyvel.CorruptionError) or os.strerror(errno.EINVAL) in text:
        return corrupt(text, path=str(path))
    if "/LOCK" in text and any(sign in text for sign in _LOCK_SIGNS):
        return of_lock(text, path)
    return _of_disk(text, path, is_full=any(os.strerror(number) in text for number in NO_ROOM))


def of_file(error: OSError, path: Path) -> EnvironmentFault:
    """Translate an error of the file system: DISK_FULL or STATE_IO_FAILED."""
    return _of_disk(str(error), path, is_full=error.errno in NO_ROOM)


def of_lock(text: str, path: Path) -> EnvironmentFault:
    """Make the fault of a state that somebody else has open."""
    return EnvironmentFault(
        Code.STATE_LOCKED,
        got=text,
        expected="one process with this state open",
        todo="stop the other node that uses this folder, or give this one a folder of its own",
        path=str(path),
    )


def _of_disk(text: str, path: Path, *, is_full: bool) -> EnvironmentFault:
    if is_full:
        todo = "free some space, then start the node again; nothing was half written"
        return EnvironmentFault(
            Code.DISK_FULL, got=text, expected="room on the disk", todo=todo, path=str(path)
        )
    todo = "check that the folder is on a healthy disk and belongs to this user"
    return EnvironmentFault(
        Code.STATE_IO_FAILED, got=text, expected="a working folder", todo=todo, path=str(path)
    )
