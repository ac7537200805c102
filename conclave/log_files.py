"""The logs of what ``conclave up`` started: which there are, their last lines, and what is appended.

Owns the reading of files that others write, rotate and cut off. Promises bounded memory however large a log
or a line is, that a line is given once and whole, and that a log that was begun anew is read from its
beginning. Never writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from conclave.home import Home
from conclave.log_lines import Entry, parse
from ledger.limits import KIB, MIB

LOGS_MAX = 2000
READ_BYTES_MAX = 8 * MIB
"""Of one log, from its end."""
LINE_BYTES_MAX = 64 * KIB
"""A longer line is cut there; its rest is dropped."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One log: its file and its name, such as ``node-0``, ``node-0/app`` or ``cluster-east/etcd``."""

    name: str
    path: Path

    def is_of(self, name: str) -> bool:
        """Tell whether a name means this log: its own, that of its process, or that of all of its kind."""
        return self.name == name or self.name.startswith((f"{name}/", f"{name}-"))


def log_files(home: Home) -> list[LogFile]:
    """List the logs there are, by name."""
    found: list[LogFile] = []
    for folder in home.nodes():
        found += _of(f"node-{folder.name[4:]}", folder / "log", "node.log")
    for cluster in home.clusters:
        found += _of(f"bridge-{cluster}", home.bridge(cluster) / "log", "bridge.log")
        own = home.devkube(cluster).parent / f"{cluster}.log"
        found += [LogFile(f"cluster-{cluster}", own)] if own.is_file() else []
        found += _of(f"cluster-{cluster}", home.devkube(cluster) / "log", "")
    return found[:LOGS_MAX]


def _of(process: str, folder: Path, own: str) -> list[LogFile]:
    """Give a process's own log first, then those of its members."""
    files = sorted(folder.glob("*.log"))
    own_log = [LogFile(process, path) for path in files if path.name == own]
    return own_log + [LogFile(f"{process}/{path.stem}", path) for path in files if path.name != own]


@dataclass(slots=True)
class Reader:
    """One reader's place in a log."""

    log: LogFile
    offset: int = 0
    _node: tuple[int, int] = (0, 0)
    _rest: bytes = b""
    _last: Entry | None = field(default=None)
    _is_cut: bool = False

    def last(self, lines_max: int, is_shown: Callable[[Entry], bool]) -> list[Entry]:
        """Give the last lines of those that are shown, and be at the end."""
        size = self._size()
        self.offset = max(0, size - READ_BYTES_MAX)
        if self.offset:
            # The first of them is only the end of one.
            self._is_cut = True
        return list(deque(filter(is_shown, self.more()), maxlen=lines_max))

    def more(self) -> Iterator[Entry]:
        """Give the whole lines that came since."""
        size = self._size()
        if size < self.offset:
            # Cut off after it was copied away (runtime.logfile), or another file of that name.
            self.offset, self._rest, self._is_cut = 0, b"", False
        try:
            with self.log.path.open("rb") as file:
                file.seek(self.offset)
                while self.offset < size:
                    content = file.read(min(size - self.offset, MIB))
                    if not content:
                        return
                    self.offset += len(content)
                    yield from self._lines(content)
        except OSError:
            return

    def _size(self) -> int:
        try:
            found = self.log.path.stat()
        except OSError:
            return 0
        node = (found.st_dev, found.st_ino)
        if self._node not in {node, (0, 0)}:
            self.offset, self._rest, self._is_cut = 0, b"", False
        self._node = node
        return found.st_size

    def _lines(self, content: bytes) -> Iterator[Entry]:
        *lines, rest = (self._rest + content).split(b"\n")
        for line in lines:
            if self._is_cut:
                self._is_cut = False
                continue
            if line.strip():
                yield self._entry(line[:LINE_BYTES_MAX])
        if len(rest) > LINE_BYTES_MAX and not self._is_cut:
            yield self._entry(rest[:LINE_BYTES_MAX])
            self._is_cut = True
        self._rest = b"" if self._is_cut else rest

    def _entry(self, line: bytes) -> Entry:
        entry = parse(self.log.name, line, datetime.now(UTC).year)
        before = self._last
        if entry.time is None and before is not None:
            # What has no time of its own goes on with what was said before, such as a trace.
            level = entry.level or before.level
            entry = Entry(entry.source, before.time, level, before.component, entry.event, entry.fields)
        self._last = entry
        return entry


def merged(readers: list[Reader], lines_max: int, is_shown: Callable[[Entry], bool]) -> list[Entry]:
    """Give the last lines of several logs together, of those that are shown, the oldest first."""
    found = [entry for reader in readers for entry in reader.last(lines_max, is_shown)]
    found.sort(key=lambda entry: entry.time or "")
    return found[-lines_max:] if lines_max else []
