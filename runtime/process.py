"""Child processes whose identity survives a recycled pid.

Owns starting a child that dies with its parent, naming a process by (pid, start time), pid files, and
stopping within a bound. Promises that a pid taken over by a stranger is never signalled: the signal goes
through a pidfd opened before the start time is compared. Linux only (``/proc``, ``PR_SET_PDEATHSIG``).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import Code, EnvironmentFault, unwritable

_PR_SET_PDEATHSIG = 1
_PID_FILE_BYTES_MAX = 256
_STAT_START_TIME = 19
"""Index of ``starttime`` in /proc/PID/stat after the parenthesised command name (proc(5), field 22)."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same pid.

    Attributes:
        pid: the process id.
        start_time: clock ticks after boot at which it started.
    """

    pid: int
    start_time: int


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in its own session, output appended to ``log``.

    The kernel kills it when we die, unless it may ``outlive`` us. That signal is bound to the calling thread:
    call it from the main thread only.

    Raises:
        EnvironmentFault: TOOL_MISSING (no such program), HOME_INVALID (folder or log cannot be used).
    """
    if not cwd.is_dir():
        raise EnvironmentFault(Code.HOME_INVALID, got=cwd, expected="a folder", todo="create the home first")
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(error, "a log file that can be written", path=str(log)) from error
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=None if outlive else die_with_parent,  # noqa: PLW1509  single-threaded caller, see docstring
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentFault(
            Code.TOOL_MISSING,
            got=error,
            expected="a program that can be started",
            todo="run: conclave tools",
            program=argv[0],
        ) from error
    finally:
        os.close(output)


def start_time(pid: int) -> int | None:
    """Give the start time of ``pid`` in clock ticks after boot; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[_STAT_START_TIME])


def identify(pid: int) -> ProcessId | None:
    """Name the living process ``pid``; None if there is none."""
    began = start_time(pid)
    return None if began is None else ProcessId(pid, began)


def is_alive(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs (a zombie does not)."""
    return start_time(process.pid) == process.start_time


def stop(process: ProcessId, *, grace_s: float, kill_s: float = 5.0) -> bool:
    """Send SIGTERM, wait ``grace_s`` seconds, then SIGKILL; give True if it ended on SIGTERM alone.

    A process that is already gone counts as ended. A recycled pid is left alone.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, OverflowError):
        return True
    try:
        if not is_alive(process):
            return True
        return _end(handle, grace_s, kill_s)
    finally:
        os.close(handle)


def _end(handle: int, grace_s: float, kill_s: float) -> bool:
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, kill_s)):
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return True
        if wait_gone(handle, wait_s):
            return number == signal.SIGTERM
    return False


def wait_gone(handle: int, timeout_s: float) -> bool:
    """Wait until the process behind a pidfd has ended, at most ``timeout_s`` seconds."""
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    return bool(watch.poll(max(0, int(timeout_s * 1000))))


def write_pid_file(path: Path, process: ProcessId) -> None:
    """Write ``path`` atomically, mode 0600."""
    staged = path.with_name(path.name + ".new")
    content = json.dumps({"pid": process.pid, "startTime": process.start_time}) + "\n"
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    staged.replace(path)


def read_pid_file(path: Path) -> ProcessId | None:
    """Give the process a pid file names if it is still that process; None otherwise, also for garbage."""
    try:
        with path.open("rb") as file:
            content: Any = json.loads(file.read(_PID_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return None
    match content:
        case {"pid": int(pid), "startTime": int(began)} if pid > 1:
            process = ProcessId(pid, began)
            return process if is_alive(process) else None
    return None
