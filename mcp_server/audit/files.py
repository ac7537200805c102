"""The files of an audit log on a disk, read one line at a time.

Owns their names. Promises bounded memory whatever the files hold, and that a record broken off at the end is
told apart from everything else. Never writes.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed, unwritable
from mcp_server.audit.limits import LINE_BYTES_MAX, LOGS_MAX, SEGMENTS_MAX
from mcp_server.audit.records import Record
from mcp_server.audit.walk import Mark, Walk

LOCK_NAME = "lock"
KEY_NAME = "digest.key"
OWN_KEY_NAME = "node.pem"
"""Beside the logs: the key of a server that nobody named one for."""
_NAME = re.compile(r"audit-([0-9]{16})\.jsonl")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, without its end: where, and whether the end is there."""

    content: bytes
    number: int
    offset: int
    is_whole: bool


@dataclass(slots=True)
class Checked:
    """What became of one log.

    Attributes:
        folder: where it is.
        walk: as far as it went.
        is_live: whether a server writes to it now.
        error: what is wrong, with facts ``file``, ``line``, ``offset`` and ``sequence``; None if nothing is.
    """

    folder: Path
    walk: Walk
    is_live: bool = False
    error: VerificationFailed | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What whoever verifies knows beforehand: key ids, and marks by log."""

    keys: frozenset[str] = frozenset()
    marks: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)


def segment_name(first: int) -> str:
    """Give the name of the file whose first record is ``first``."""
    return f"audit-{first:016d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """List a log's files, in order.

    Raises:
        EnvironmentFault: HOME_INVALID.
        Refused: LIMIT_EXCEEDED.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name))
    except OSError as error:
        raise unwritable(error, "a folder that can be read", file=str(folder)) from None
    if len(found) > SEGMENTS_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=f"{len(found)} files", expected=f"at most {SEGMENTS_MAX}")
    return [folder / name for name in found]


def logs(folder: Path) -> list[Path]:
    """Give the folder itself if it holds a log, else its folders that do, by name.

    Raises:
        EnvironmentFault: HOME_INVALID where it cannot be read or holds no log.
    """
    if segments(folder):
        return [folder]
    found = sorted(path for path in folder.iterdir() if path.is_dir() and segments(path))
    if not found or len(found) > LOGS_MAX * 2:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=f"{folder}: {len(found)} audit logs",
            expected="a folder of an audit log, or of some",
            todo="name the folder that the server writes to, by default HOME/audit",
            file=str(folder),
        )
    return found


def lines(path: Path) -> Iterator[Line]:
    """Give a file's lines.

    Raises:
        EnvironmentFault: HOME_INVALID.
        VerificationFailed: AUDIT_RECORD_INVALID for a line over ``LINE_BYTES_MAX``.
    """
    try:
        with path.open("rb") as file:
            number = offset = 0
            while content := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                is_whole = content.endswith(b"\n")
                if not is_whole and len(content) > LINE_BYTES_MAX:
                    raise VerificationFailed(
                        Code.AUDIT_RECORD_INVALID,
                        got=f"a line of over {LINE_BYTES_MAX} bytes",
                        expected="a record",
                        file=path.name,
                        line=number,
                        offset=offset,
                    )
                yield Line(content[:-1] if is_whole else content, number, offset, is_whole)
                offset += len(content)
    except OSError as error:
        raise unwritable(error, "a file that can be read", file=str(path)) from None


def is_live(folder: Path) -> bool:
    """Tell whether a server holds the log's lock."""
    try:
        with (folder / LOCK_NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_log(folder: Path, walk: Walk, *, is_live: bool = False) -> Iterator[Record]:
    """Walk a log's files; gives each record once it was judged, and judges the end.

    Raises:
        VerificationFailed: as ``Walk``, with ``file``, ``line`` and ``offset``.
        EnvironmentFault: HOME_INVALID.
    """
    found = segments(folder)
    for path in found:
        walk.begin()
        is_begun = False
        for line in lines(path):
            if not line.is_whole:
                if is_live and path == found[-1]:
                    break
                raise _torn(path, line)
            try:
                record = walk.step(line.content)
                if not is_begun:
                    _check_name(path, record)
            except VerificationFailed as failed:
                raise _placed(failed, path, line, walk) from None
            is_begun = True
            yield record
        if not is_begun:
            raise VerificationFailed(
                Code.AUDIT_RECORD_INVALID, got="a file with no record", expected="a header", file=path.name
            )
    try:
        walk.end()
    except VerificationFailed as failed:
        failed.facts |= {"file": found[-1].name if found else None}
        raise


def check(folders: Iterable[Path], trust: Trust, each: Callable[[Checked, Record], None]) -> list[Checked]:
    """Judge logs; ``each`` is given every record as soon as it was judged.

    Two logs of one id, and marks of logs that are not among these, are errors too.

    Raises:
        EnvironmentFault: HOME_INVALID.
    """
    found: list[Checked] = []
    seen: dict[str, Path] = {}
    for folder in folders:
        live = is_live(folder)
        checked = Checked(folder, Walk(keys=trust.keys, marks=trust.marks), live)
        found.append(checked)
        try:
            for record in read_log(folder, checked.walk, is_live=live):
                each(checked, record)
        except VerificationFailed as failed:
            checked.error = failed
        header = checked.walk.header
        if header is not None:
            other = seen.setdefault(header.log, folder)
            if other != folder and checked.error is None:
                checked.error = _doubled(header.log, other)
    return found


def absent(found: Iterable[Checked], trust: Trust) -> VerificationFailed | None:
    """Tell of a log that somebody knows of and that is not here."""
    headers = [checked.walk.header for checked in found if checked.walk.header is not None]
    here = {(header.log, node) for header in headers for node in (None, header.node)}
    for log, marks in sorted(trust.marks.items()):
        missed = [mark for mark in marks if (log, mark.node) not in here]
        if missed:
            newest = max(missed, key=lambda mark: mark.count)
            return VerificationFailed(
                Code.AUDIT_CUT,
                got=f"no log {log}",
                expected=f"at least {newest.count} records of it, as {newest.by} has it",
                log=log,
            )
    return None


def _placed(failed: VerificationFailed, path: Path, line: Line, walk: Walk) -> VerificationFailed:
    facts = {"file": path.name, "line": line.number, "offset": line.offset}
    failed.facts = {"sequence": walk.tip.sequence + 1, **facts, **failed.facts}
    return failed


def _check_name(path: Path, first: Record) -> None:
    if path.name != segment_name(first.sequence):
        raise VerificationFailed(
            Code.AUDIT_SEQUENCE_BROKEN,
            got=f"a file called {path.name}",
            expected=segment_name(first.sequence),
            sequence=first.sequence,
        )


def _torn(path: Path, line: Line) -> VerificationFailed:
    return VerificationFailed(
        Code.AUDIT_RECORD_INVALID,
        got=f"a record broken off after {len(line.content)} bytes",
        expected="a whole record",
        todo="if the server was killed here, start it: it goes on and says so in the log",
        file=path.name,
        line=line.number,
        offset=line.offset,
    )


def _doubled(log: str, other: Path) -> VerificationFailed:
    return VerificationFailed(
        Code.AUDIT_FORKED,
        got=f"a second log {log}",
        expected="one log of an id",
        todo="find out which of them is the server's; look at each alone",
        other=str(other),
    )
