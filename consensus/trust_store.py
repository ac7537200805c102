"""What this machine trusts and why, kept across restarts.

Owns one file, an append-only log: the root of trust that was named, every newest header that was verified
and from which ground, every reset by a person with the reason. Promises that what was saved is read back
exactly, or an earlier state of the log where a write was broken off before it was acknowledged, or
TRUST_STORE_CORRUPT with file, line and offset, never anything else; that the log is bounded (it is rewritten
whole, roots and resets kept); that several processes may append to it; and that the newest header never goes
back but by a reset. The file is owner-only; it is not secret, but whoever can write it chooses what is
believed. Source: docs/spec/trust.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from consensus.trust_entries import (
    ENTRIES_MAX,
    TrustRoot,
    TrustState,
    applied,
    compacted,
    header_entry,
    read_entries,
    reset_entry,
    root_entry,
    to_bytes,
)
from consensus.trust_log import NAMING_BYTES, Damaged, Tip, framed, scan
from ledger import canonical
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed, unwritable
from ledger.limits import MIB
from ledger.types import JsonObject

__all__ = ["MemoryStore", "TrustRoot", "TrustState", "TrustStore", "read_genesis"]
_GENESIS_BYTES_MAX = 64 * MIB

FILE_BYTES_MAX = 32 * MIB
COMPACT_BYTES = 8 * MIB
"""A longer log is rewritten: what follows it, and the roots that are kept, still fit."""
_LOCK_TRIES = 20


class TrustStore:
    """The file at ``path``. Its folder must exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _Seen | None = None

    def load(self) -> TrustState | None:
        """Read the file; None where there is none yet.

        Raises:
            EnvironmentFault: TRUST_STORE_CORRUPT, HOME_INVALID where it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                return self._read(file).state
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None

    def ensure(self, root: TrustRoot) -> TrustState:
        """Read the file, or begin it with ``root``.

        Raises:
            EnvironmentFault: as ``load`` and ``save``.
            Refused: TRUST_ROOT_MISMATCH if the file was begun with another root.
        """
        state = self.load()
        if state is None:
            state = TrustState(root)
            self.save(state)
        elif state.root != root:
            raise self._other_root(state.root, root)
        return state

    def save(self, state: TrustState) -> None:
        """Add what is newly believed, durably. A header that is not newer than the file's changes nothing.

        Raises:
            EnvironmentFault: DISK_FULL, HOME_INVALID, TRUST_STORE_CORRUPT.
            Refused: TRUST_ROOT_MISMATCH where the file has another root by now.
            VerificationFailed: HEADERS_DIVERGED where the file has another header of this height.
        """
        with self._opened() as file:
            if file is None:
                self._replace([root_entry(state.root), *_newer(state, TrustState(state.root))])
                return
            seen = self._look(file)
            if seen.state.root != state.root:
                raise self._other_root(seen.state.root, state.root)
            self._add(file, seen, _newer(state, seen.state))

    def reset(self, root: TrustRoot, reason: str, at_ns: int) -> None:
        """Begin anew from ``root`` because a person says so; what was believed stays in the log.

        Args:
            root: from now on.
            reason: why, in the person's words; cut at ``REASON_BYTES_MAX``.
            at_ns: when, nanoseconds since the epoch.

        Raises:
            EnvironmentFault: DISK_FULL, HOME_INVALID.
        """
        with self._opened() as file:
            seen = None
            # A person's word also ends a file that nobody can read any more.
            with contextlib.suppress(EnvironmentFault):
                seen = None if file is None else self._look(file)
            entry = reset_entry(root, reason, at_ns, None if seen is None else seen.state.newest)
            if file is None or seen is None:
                self._replace([entry])
            else:
                self._add(file, seen, [entry])

    def history(self) -> tuple[JsonObject, ...]:
        """Give every record that is kept, the oldest first (docs/spec/trust.md §2); none without a file.

        Raises:
            EnvironmentFault: as ``load``.
        """
        try:
            with self.path.open("rb") as file:
                return self._read(file).entries
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unusable(error) from None

    def _look(self, file: BinaryIO) -> _Seen:
        """Give what the file says, read again only where it is another or others wrote to it since."""
        stat, seen = os.fstat(file.fileno()), self._seen
        if seen is None or (seen.inode, seen.tip.end) != (stat.st_ino, stat.st_size):
            return self._read(file)
        # The number of a file that is gone is given to another, which may be as long.
        naming = os.pread(file.fileno(), NAMING_BYTES, seen.tip.begun)
        return seen if seen.tip.is_named_by(naming) else self._read(file)

    def _read(self, file: BinaryIO) -> _Seen:
        content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise self._corrupt(Damaged(0, FILE_BYTES_MAX, f"over {FILE_BYTES_MAX} bytes"))
        try:
            contents, tip = scan(content)
            state, entries = read_entries(contents)
        except Damaged as damage:
            raise self._corrupt(damage) from None
        self._seen = _Seen(os.fstat(file.fileno()).st_ino, tip, state, entries)
        return self._seen

    def _add(self, file: BinaryIO, seen: _Seen, entries: list[JsonObject]) -> None:
        if not entries:
            return
        if len(seen.entries) + len(entries) > ENTRIES_MAX or seen.tip.end > COMPACT_BYTES:
            self._replace(compacted([*seen.entries, *entries]))
            return
        written, tip = framed(map(to_bytes, entries), seen.tip)
        self._seen = None
        try:
            # Beyond the tip there is at most a record that was broken off.
            file.truncate(seen.tip.end)
            file.seek(seen.tip.end)
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(seen.tip.end)
            raise
        state = functools.reduce(applied, entries, seen.state)
        self._seen = _Seen(seen.inode, tip, state, (*seen.entries, *entries))

    def _replace(self, entries: list[JsonObject]) -> None:
        """Write the whole file anew: wholly there or not at all."""
        written, _ = framed(map(to_bytes, entries), Tip())
        self._seen = None
        folder = self.path.parent
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(written)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        _sync_folder(folder)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO | None]:
        """Give the file for this process alone; None where there is none yet."""
        try:
            with contextlib.ExitStack() as stack:
                yield self._lock(stack)
        except OSError as error:
            raise self._unusable(error) from None

    def _lock(self, stack: contextlib.ExitStack) -> BinaryIO | None:
        for _ in range(_LOCK_TRIES):
            try:
                file = stack.enter_context(self.path.open("r+b"))
                fcntl.flock(file, fcntl.LOCK_EX)
                if self.path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    return file
            except FileNotFoundError:
                return None
        raise OSError(errno.EBUSY, "the file is replaced again and again")

    def _other_root(self, kept: TrustRoot, named: TrustRoot) -> Refused:
        return Refused(
            Code.TRUST_ROOT_MISMATCH,
            got=f"{named.chain_id} from height {named.height}",
            expected=f"{kept.chain_id} from height {kept.height}, as the file has it",
            todo="begin anew from another root with: conclave trust HEIGHT HASH",
            file=str(self.path),
        )

    def _corrupt(self, damage: Damaged) -> EnvironmentFault:
        return EnvironmentFault(
            Code.TRUST_STORE_CORRUPT,
            got=damage.problem,
            expected="the file as this program wrote it",
            todo="check the disk; then remove the file, or name a root of trust: conclave trust HEIGHT HASH",
            file=str(self.path),
            line=damage.line,
            offset=damage.offset,
        )

    def _unusable(self, error: OSError) -> EnvironmentFault:
        return unwritable(error, "a folder this user may read and write", file=str(self.path))


class MemoryStore(TrustStore):
    """A trust store that lives no longer than its process: for a file that is judged once, and for tests."""

    def __init__(self, root: TrustRoot) -> None:
        super().__init__(Path("(in memory)"))
        self._state = TrustState(root)

    def load(self) -> TrustState:
        """Give what is kept."""
        return self._state

    def save(self, state: TrustState) -> None:
        """Keep ``state``."""
        self._state = state


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the file said when it was last looked at."""

    inode: int
    tip: Tip
    state: TrustState
    entries: tuple[JsonObject, ...]


def _newer(state: TrustState, kept: TrustState) -> list[JsonObject]:
    """Give the record of a header newer than what is kept; none where it is not."""
    newest, before = state.newest, kept.newest
    if newest is None or (before is not None and before.height > newest.height):
        return []
    if before is not None and before.height == newest.height:
        if before.hash != newest.hash:
            raise VerificationFailed(
                Code.HEADERS_DIVERGED,
                got=newest.hash,
                expected=f"header {before.hash.hex()}, believed before",
                todo="stop: validators signed two chains; keep both headers as evidence",
                height=newest.height,
            )
        return []
    return [header_entry(newest, state.verified_at_ns, before)]


def read_genesis(path: Path) -> TrustRoot:
    """Give the root of trust that a genesis file names.

    Raises:
        EnvironmentFault: HOME_INVALID where the file cannot be read.
        Refused: what ``canonical.parse`` and ``TrustRoot.from_genesis`` refuse.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_GENESIS_BYTES_MAX)
    except OSError as error:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=f"{path}: {error.strerror}",
            expected="the genesis of this ledger",
            todo="restore it from a backup or from another member of the ledger",
            file=str(path),
        ) from error
    return TrustRoot.from_genesis(canonical.parse(content))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
