"""Snapshots on disk: the newest few, whole, and the chunks of the one that arrives.

Owns the folder ``app-snapshots``: ``HEIGHT/metadata`` and ``HEIGHT/chunk-N`` for each snapshot, ``incoming/``
for a restore, ``wanted`` as the operator's wish for one. Promises that a snapshot is listed only once it is
durable as a whole and no longer once its removal began, and that a chunk damaged on disk is never given.
Decides nothing about trust.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, VerificationFailed
from state.limits import SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_MAX
from state.snapshot import HASH_BYTES, Snapshot, check_chunk, describe

KEPT = 2
"""The newest, and the one before for peers that fetch it already."""
_METADATA = "metadata"
_WRITING = ".writing"
_INCOMING = "incoming"
_WANTED = "wanted"
_HEIGHT_DIGITS_MAX = 19
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SnapshotFolder:
    """The snapshots of one node in the folder ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the folder and remove what an interrupted writing or restore left.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (_WRITING, _INCOMING):
                shutil.rmtree(self.path / name, ignore_errors=True)
            for height in self._heights():
                if not (self.path / str(height) / _METADATA).exists():
                    self._remove(height)
        except OSError as error:
            raise self._fault(error) from error

    def kept(self) -> list[Snapshot]:
        """Describe the snapshots that are here, the newest first; what cannot be read is left out."""
        found = []
        for height in self._heights():
            with contextlib.suppress(OSError, VerificationFailed):
                metadata = _read(self.path / str(height) / _METADATA, HASH_BYTES * SNAPSHOT_CHUNKS_MAX)
                found.append(describe(height, metadata))
        return found

    def is_whole(self, snapshot: Snapshot) -> bool:
        """Tell whether every chunk is here with its size, and none that the description lost.

        What is in them is looked at when they are asked for.
        """
        folder, last = self.path / str(snapshot.height), len(snapshot.chunk_hashes) - 1
        try:
            sizes = {entry.name: entry.stat().st_size for entry in folder.iterdir()}
        except OSError:
            return False
        sizes.pop(_METADATA, None)
        full = {chunk_name(index) for index in range(last)}
        return (
            set(sizes) == full | {chunk_name(last)}
            and all(sizes[name] == SNAPSHOT_CHUNK_BYTES for name in full)
            and 0 < sizes[chunk_name(last)] <= SNAPSHOT_CHUNK_BYTES
        )

    def write(self, height: int, chunks: Iterable[bytes]) -> Snapshot:
        """Write the snapshot of ``height``; then remove all but the newest ``KEPT``.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
            Exception: what ``chunks`` raises; nothing is listed then.
        """
        writing = self.path / _WRITING
        try:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(mode=0o700, parents=True)
            hashes = []
            for index, chunk in enumerate(chunks):
                _write(writing / chunk_name(index), chunk)
                hashes.append(hashlib.sha256(chunk).digest())
            _write(writing / _METADATA, b"".join(hashes))
            _sync_folder(writing)
            self._remove(height)
            writing.replace(self.path / str(height))
            _sync_folder(self.path)
        except OSError as error:
            raise self._fault(error) from error
        finally:
            shutil.rmtree(writing, ignore_errors=True)
        for older in self._heights()[KEPT:]:
            self._remove(older)
        return Snapshot(height, tuple(hashes))

    def chunk(self, snapshot: Snapshot, index: int) -> bytes | None:
        """Give one chunk; None where it is not here any more, or not what was written."""
        try:
            chunk = _read(self.path / str(snapshot.height) / chunk_name(index), SNAPSHOT_CHUNK_BYTES)
            check_chunk(snapshot, index, chunk)
        except (OSError, VerificationFailed):
            return None
        return chunk

    def begin_incoming(self) -> None:
        """Make room for the chunks of a restore, forgetting those of an earlier one.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
        """
        try:
            self.end_incoming()
            (self.path / _INCOMING).mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise self._fault(error) from error

    def put_incoming(self, index: int, chunk: bytes) -> None:
        """Keep a checked chunk of the restore.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
        """
        try:
            (self.path / _INCOMING / chunk_name(index)).write_bytes(chunk)
        except OSError as error:
            raise self._fault(error) from error

    def incoming(self, index: int) -> bytes:
        """Give a chunk of the restore back; whoever uses it checks it again.

        Raises:
            EnvironmentFault: STATE_IO_FAILED.
        """
        try:
            return _read(self.path / _INCOMING / chunk_name(index), SNAPSHOT_CHUNK_BYTES)
        except OSError as error:
            raise self._fault(error) from error

    def end_incoming(self) -> None:
        """Forget the chunks of a restore."""
        shutil.rmtree(self.path / _INCOMING, ignore_errors=True)

    def want(self) -> None:
        """Ask the node of this folder for a snapshot of its next height.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED.
        """
        try:
            (self.path / _WANTED).touch(mode=0o600)
        except OSError as error:
            raise self._fault(error) from error

    def is_wanted(self) -> bool:
        """Tell whether a snapshot was asked for."""
        return (self.path / _WANTED).exists()

    def grant(self) -> None:
        """Take the wish away: the snapshot is being written."""
        with contextlib.suppress(OSError):
            (self.path / _WANTED).unlink(missing_ok=True)

    def _remove(self, height: int) -> None:
        """Remove a snapshot, its description first: what is left of a removal cut short is no snapshot."""
        with contextlib.suppress(OSError):
            (self.path / str(height) / _METADATA).unlink()
        shutil.rmtree(self.path / str(height), ignore_errors=True)

    def _heights(self) -> list[int]:
        try:
            names = [entry.name for entry in self.path.iterdir()]
        except OSError:
            return []
        found = [n for n in names if n.isascii() and n.isdigit() and len(n) <= _HEIGHT_DIGITS_MAX]
        return sorted((int(name) for name in found), reverse=True)

    def _fault(self, error: OSError) -> EnvironmentFault:
        full = error.errno in _NO_ROOM
        return EnvironmentFault(
            Code.DISK_FULL if full else Code.STATE_IO_FAILED,
            got=error.strerror or type(error).__name__,
            expected="a working folder with room",
            todo="free some space" if full else "check that the folder belongs to this user",
            path=str(self.path),
        )


def chunk_name(index: int) -> str:
    """Give the file name of chunk ``index`` (from 0)."""
    return f"chunk-{index:04d}"


def _read(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        return file.read(bytes_max + 1)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
