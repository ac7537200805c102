"""Background processes of a home: started detached, remembered by pid file, stopped for certain.

Owns ``HOME/run``. Promises that a process is recognised by pid and start time (a recycled pid is never
signalled), that a start which fails shows the last lines of its log, and that ``stop_all`` leaves nothing
of this home running. Unlike the children of a supervisor these outlive the command that started them.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, unwritable
from runtime import process
from runtime.logfile import tail
from runtime.said import last_error

POLL_SECONDS = 0.1
STOP_SECONDS = 30.0
LAST_BYTES_MAX = 64 * 1024
"""Room for a supervisor's last line, which may carry the last lines of a member."""


def start(name: str, argv: Sequence[str], *, run: Path, log: Path) -> bool:
    """Start a background process unless it runs already; tell whether it was started now.

    Args:
        name: of its pid file.
        argv: program and arguments.
        run: the folder of pid files.
        log: where its output goes, appended.

    Raises:
        EnvironmentFault: TOOL_MISSING, HOME_INVALID, DISK_FULL.
    """
    file = run / f"{name}.json"
    if process.read_pid_file(file) is not None:
        return False
    try:
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _LOG_STARTS[log] = log.stat().st_size if log.exists() else 0
    except OSError as error:
        raise unwritable(error, file=str(log)) from error
    child = process.start(argv, cwd=run.parent, log=log, outlive=True)
    named = process.identify(child.pid)
    try:
        if named is not None:
            process.write_pid_file(file, named)
    except OSError as error:
        # What no pid file names, no `down` would ever find.
        child.kill()
        child.wait()
        raise unwritable(error, file=str(file)) from error
    _CHILDREN[name] = child
    return True


def wait_until(
    ready: Callable[[], bool], *, name: str, run: Path, log: Path, seconds: float, what: str
) -> None:
    """Wait until ``ready`` while the process of ``name`` lives.

    Raises:
        EnvironmentFault: PROCESS_DIED with the log's last lines, TIMEOUT.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        require_running(name, run=run, log=log, what=what)
        if time.monotonic() > deadline:
            raise EnvironmentFault(
                Code.TIMEOUT,
                got=f"{name} not ready after {seconds:.0f} s",
                expected=what,
                todo=f"read {log}",
                process=name,
                log=str(log),
                lines=tail(log),
            )
        time.sleep(POLL_SECONDS)


def require_running(name: str, *, run: Path, log: Path, what: str) -> None:
    """Check that a started process lives.

    Raises:
        ConclaveError: the coded error it logged last, else PROCESS_DIED with the log's last lines.
    """
    if not is_running(run, name):
        raise last_error(_said_since_start(log)) or EnvironmentFault(
            Code.PROCESS_DIED,
            got=f"{name} ended before it was ready",
            expected=what,
            todo=f"read {log}, mend the cause, run conclave up again",
            process=name,
            log=str(log),
            lines=tail(log),
        )


def is_running(run: Path, name: str) -> bool:
    """Tell whether the process of a pid file lives."""
    child = _CHILDREN.get(name)
    if child is not None:
        child.poll()
    return process.read_pid_file(run / f"{name}.json") is not None


def running(run: Path) -> list[str]:
    """List the names of the home's living processes, sorted."""
    return sorted(file.stem for file in run.glob("*.json") if is_running(run, file.stem))


def stop(run: Path, name: str) -> bool:
    """Stop one process and forget its pid file; tell whether it ran."""
    file = run / f"{name}.json"
    named = process.read_pid_file(file)
    if named is not None:
        process.stop(named, grace_s=STOP_SECONDS)
    child = _CHILDREN.pop(name, None)
    if child is not None:
        child.wait(timeout=STOP_SECONDS)
    file.unlink(missing_ok=True)
    return named is not None


def stop_all(run: Path, say: Callable[[str], None]) -> list[str]:
    """Stop everything of a home, bridges before validators before clusters; gives what ran."""
    order = {"bridge": 0, "node": 1, "cluster": 2}
    names = sorted(
        (file.stem for file in run.glob("*.json")), key=lambda name: (order.get(name.split("-")[0], 1), name)
    )
    stopped = []
    for name in names:
        if stop(run, name):
            say(f"stopped {name}")
            stopped.append(name)
    return stopped


def _said_since_start(log: Path) -> list[bytes]:
    """Give the lines logged since the start: an older run's last word is not this one's."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(_LOG_STARTS.get(log, 0), end - LAST_BYTES_MAX))
            return file.read(LAST_BYTES_MAX).splitlines()
    except OSError:
        return []


_CHILDREN: dict[str, subprocess.Popen[bytes]] = {}
"""Children of this very process, so that they are reaped; a later ``down`` knows pid files only."""
_LOG_STARTS: dict[Path, int] = {}
"""How long each log was when its process was started here."""
