"""Writing an audit log: one writer, every record whole or not there, what must be durable is.

Owns the files of one log while it runs. Promises that ``append`` gives back only when the records are in the
file, and with ``sync`` on the disk; that what could not be written is not half there; that after a failed
sync, or where somebody else touched the file, nothing is written any more; that a log that does not verify is
never written to; and that what a killed server left broken off is cut, and said so in the log. Reads no
clock itself. Source: docs/spec/mcp-audit.md §3.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from identity.signer import Signer
from ledger.errors import NO_ROOM, Code, EnvironmentFault, unwritable
from ledger.types import sha256
from mcp_server.audit import limits
from mcp_server.audit.digests import Digest, Digester
from mcp_server.audit.files import segment_name, segments
from mcp_server.audit.links import Tip, framed, sealed
from mcp_server.audit.records import (
    Anchored,
    Body,
    Decision,
    Head,
    Outcome,
    Refusals,
    Segment,
    Started,
)
from mcp_server.audit.recovery import walked

_STAGED_NAME = "next"
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: its key, its DID, the chain it serves and the program's version."""

    signer: Signer
    node: str
    chain: str
    version: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How often heads are signed, and how large and old a file becomes."""

    head_records: int = limits.HEAD_RECORDS_MAX
    head_seconds: float = limits.HEAD_SECONDS
    segment_bytes: int = limits.SEGMENT_BYTES
    segment_seconds: float = limits.SEGMENT_SECONDS


@dataclass(frozen=True, slots=True)
class Clock:
    """Nanoseconds since the epoch, and of a clock that only goes forward."""

    time_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that this process has locked: the open lock file, and the key of its digests."""

    folder: Path
    lock: int
    digest_key: bytes


class AuditLog:
    """A log that this process alone writes to; made by ``opening.open_log``. Any thread may call it."""

    def __init__(self, place: Place, identity: Identity, settings: Settings, clock: Clock) -> None:
        self.folder, self.digester = place.folder, Digester(place.digest_key)
        self._lock_file, self._identity, self._settings, self._clock = place.lock, identity, settings, clock
        self._lock = threading.Lock()
        self._file, self._end, self._tip, self._unsigned = -1, 0, Tip(), 0
        self._header, self._begun_ns, self._oldest_ns = Segment("", 0, "", "", "", "", 1), 0, 0
        # ``signed``: the newest head on the disk. ``notable``: the newest record worth an anchor.
        # ``anchored``: what the ledger is known to have.
        self._open: set[str] = set()
        self._broken: str | None = None
        self._newest_head = self.signed = Tip()
        self.notable = 0
        self.anchored = 0

    @property
    def id(self) -> str:
        """The log's id."""
        return self._header.log

    @property
    def head(self) -> Tip:
        """The newest record: its place and hash."""
        return self._tip

    @property
    def room(self) -> int:
        """How many records may follow before a head is signed."""
        return max(0, self._settings.head_records - self._unsigned)

    def begin(self) -> None:
        """Go on with the log in the folder, or begin one.

        Raises:
            VerificationFailed: what is there does not verify; nothing was written.
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED, HOME_INVALID.
        """
        found = segments(self.folder)
        with self._guarded():
            (self.folder / _STAGED_NAME).unlink(missing_ok=True)
            torn, unfinished = (None, ()) if not found else self._resume(found[-1])
            if not found:
                signer = self._identity.signer
                self._rotate(
                    Segment(
                        log=secrets.token_hex(32),
                        number=1,
                        node=self._identity.node,
                        key=signer.key_id,
                        chain=self._identity.chain,
                        digests=self.digester.name,
                        head_records=self._settings.head_records,
                    )
                )
            self._write([Started(self._identity.version, torn, unfinished)], signs=True)
            self._sync()

    def append(self, bodies: Sequence[Body], *, sync: bool) -> None:
        """Write records, in one write.

        Args:
            bodies: what they say.
            sync: whether they, and all before, must be on the disk when this returns.

        Raises:
            EnvironmentFault: DISK_FULL, STATE_IO_FAILED; none of them is in the log, or the log is closed
                to any further record.
        """
        with self._lock, self._guarded():
            self._check()
            if not self._open and isinstance(bodies[0], Decision | Refusals):
                self._rotate_if_due()
            signs = self._unsigned + len(bodies) >= self._settings.head_records
            self._write(bodies, signs=signs)
            if sync or signs:
                self._sync()

    def tick(self) -> bool:
        """Sign a head if what is unsigned has waited ``head_seconds``; tells whether it did.

        Raises:
            EnvironmentFault: as ``append``.
        """
        with self._lock, self._guarded():
            waited_ns = self._clock.monotonic_ns() - self._oldest_ns
            if not self._unsigned or waited_ns < self._settings.head_seconds * 10**9:
                return False
            self._check()
            self._write([], signs=True)
            self._sync()
            return True

    def close(self) -> None:
        """Sign a last head and let the log go; without it the next start takes this one for killed."""
        with self._lock:
            if self._lock_file < 0:
                return
            with contextlib.suppress(EnvironmentFault), self._guarded():
                self._check()
                self._write([], signs=True, closes=not self._open)
                self._sync()
            self._broken = "closed"
            for descriptor in (self._file, self._lock_file):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            self._file = self._lock_file = -1

    def _resume(self, path: Path) -> tuple[Digest | None, tuple[str, ...]]:
        """Walk the newest file; cut off what was broken off, and open it to go on."""
        walk, end = walked(path)
        assert walk.header is not None
        if walk.header.digests != self.digester.name:
            raise EnvironmentFault(
                Code.HOME_INVALID,
                got=f"{self.folder}: another digest key",
                expected=f"the key of {walk.header.digests}",
                todo="put the log's digest.key back, or move the folder elsewhere",
                file=str(self.folder),
            )
        self._header, self._tip, self._unsigned = walk.header, walk.tip, walk.tip.sequence - walk.signed
        self._begun_ns, self._end = walk.counts.first_ns, end
        self.anchored = walk.anchored.count if walk.anchored else 0
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)
        rest = os.pread(self._file, limits.SEGMENT_BYTES, end)
        if not rest:
            return None, tuple(walk.open)
        os.ftruncate(self._file, end)
        return Digest(len(rest), sha256(rest).hex()), tuple(walk.open)

    def _rotate_if_due(self) -> None:
        age_ns = self._clock.time_ns() - self._begun_ns
        if self._end < self._settings.segment_bytes and age_ns < self._settings.segment_seconds * 10**9:
            return
        if self._unsigned:
            self._write([], signs=True)
        self._sync()
        before = self._header
        header = Segment(
            log=before.log,
            number=before.number + 1,
            node=before.node,
            key=before.key,
            chain=before.chain,
            digests=before.digests,
            head_records=self._settings.head_records,
        )
        self._rotate(header)

    def _rotate(self, header: Segment) -> None:
        """Begin a file: it is there with its header, or not there."""
        now = self._clock.time_ns()
        content, tip = framed(header, self._tip, now)
        staged = self.folder / _STAGED_NAME
        file = os.open(staged, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
        try:
            _write_all(file, content)
            os.fsync(file)
            staged.replace(self.folder / segment_name(tip.sequence))
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._end, self._tip, self._header = file, len(content), tip, header
        self._begun_ns = now
        self._counted([header])
        try:
            _sync_folder(self.folder)
        except OSError as error:
            self._broken = f"not synced: {error.strerror}"
            raise

    def _write(self, bodies: Sequence[Body], *, signs: bool, closes: bool = False) -> None:
        """Write records, and a head after them; all or none."""
        now, tip, content = self._clock.time_ns(), self._tip, bytearray()
        for body in bodies:
            line, tip = framed(body, tip, now)
            content += line
        if signs:
            head = sealed(tip, now, self._identity.signer.sign, closes=closes)
            line, tip = framed(head, tip, now)
            content += line
        try:
            _write_all(self._file, bytes(content))
        except OSError:
            self._undo()
            raise
        self._end += len(content)
        self._tip = tip
        self._counted(bodies)
        if signs:
            self._unsigned, self._newest_head = 0, tip

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self._end)
        except OSError as error:
            self._broken = f"half a record could not be taken back: {error.strerror}"

    def _counted(self, bodies: Sequence[Body]) -> None:
        if bodies and not self._unsigned:
            self._oldest_ns = self._clock.monotonic_ns()
        self._unsigned += len(bodies)
        for body in bodies:
            if isinstance(body, Decision):
                self._open.add(body.call)
            elif isinstance(body, Outcome):
                self._open.discard(body.call)
            # What strangers cause is no reason to say something to the ledger.
            if not isinstance(body, Head | Anchored | Refusals):
                self.notable = self._tip.sequence

    def _sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # After a failed sync nobody knows what the disk has: the next start reads what it does.
            self._broken = f"not synced: {error.strerror}"
            raise
        self.signed = self._newest_head

    def _check(self) -> None:
        """Refuse to write on where the file is not as this process left it."""
        if self._broken is None:
            facts = os.fstat(self._file)
            if facts.st_nlink == 0 or facts.st_size != self._end:
                self._broken = "somebody else touched the file"
        if self._broken is not None:
            raise EnvironmentFault(
                Code.STATE_IO_FAILED,
                got=f"{self.folder}: {self._broken}",
                expected="an audit log that can be written",
                todo="keep the folder as evidence, look at the disk, then start the server again",
                file=str(self.folder),
            )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unwritten(error, self.folder) from None


def _write_all(file: int, content: bytes) -> None:
    """Write it all; what comes back short is tried once more, for the error that says why."""
    written = os.write(file, content)
    if written != len(content):
        written += os.write(file, content[written:])
    if written != len(content):
        raise OSError(errno.ENOSPC, "a short write")


def _unwritten(error: OSError, folder: Path) -> EnvironmentFault:
    if error.errno in NO_ROOM:
        return unwritable(error, file=str(folder))
    return EnvironmentFault(
        Code.STATE_IO_FAILED,
        got=error.strerror or str(error),
        expected="an audit log that can be written",
        todo="look at the disk and the folder's permissions",
        file=str(folder),
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
