"""Running a rendering program with no network, no home, bounded time and bounded output.

Owns the child processes of rendering. Promises: the child sees an environment of ours (empty home, empty
PATH, proxies that lead nowhere), its own network namespace where the kernel grants one, and is killed
with its whole process group at the deadline or the output limit. Never runs a shell.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import MIB

RENDER_SECONDS_MAX = 60.0
RENDER_OUTPUT_BYTES_MAX = 32 * MIB
RENDER_ERROR_BYTES_MAX = 64 * 1024
NOWHERE = "http://127.0.0.1:9"
"""The discard port of the loopback: a proxy nobody answers on."""
_PROBE_SECONDS_MAX = 60.0
"""Of asking the kernel for a namespace: on a busy machine the answer comes late, and counts."""
_LAST_LINES = 8
_READ_BYTES = 64 * 1024


def run(argv: Sequence[str], *, cwd: Path, home: Path, what: str) -> bytes:
    """Run ``argv`` and give its standard output.

    Args:
        argv: program (absolute path) and arguments.
        cwd: where it runs.
        home: an empty folder that serves as HOME, temporary and cache folder.
        what: the source, for the refusal.

    Raises:
        Refused: RENDER_FAILED with the program's last lines, LIMIT_EXCEEDED for its output, TIMEOUT.
        EnvironmentFault: TOOL_MISSING if it cannot be started.
    """
    command = [*_isolation(), *argv]
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentFault(
            Code.TOOL_MISSING, got=f"{argv[0]}: {error.strerror}", todo="run: conclave tools"
        ) from error
    deadline = time.monotonic() + RENDER_SECONDS_MAX
    with process:
        try:
            output, complaint = _drain(process, what, deadline)
            # After its last word it may take its time to end: what is bounded is the whole.
            status = process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise _late(what) from error
        finally:
            _kill(process)
    if status != 0:
        raise _failed(what, Path(argv[0]).name, status, complaint)
    return output


def _drain(process: subprocess.Popen[bytes], what: str, deadline: float) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    limits = {
        process.stdout.fileno(): RENDER_OUTPUT_BYTES_MAX,
        process.stderr.fileno(): RENDER_ERROR_BYTES_MAX,
    }
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise _late(what)
            for key, _ in selector.select(left):
                if not _read_some(key.fd, kept[key.fd], limits[key.fd]):
                    selector.unregister(key.fd)
            if len(kept[process.stdout.fileno()]) > RENDER_OUTPUT_BYTES_MAX:
                raise Refused(
                    Code.LIMIT_EXCEEDED,
                    got=f"{what}: more than {RENDER_OUTPUT_BYTES_MAX} bytes rendered",
                    todo="split the release",
                    source=what,
                )
    return bytes(kept[process.stdout.fileno()]), bytes(kept[process.stderr.fileno()])


def _read_some(descriptor: int, kept: bytearray, limit: int) -> bool:
    chunk = os.read(descriptor, _READ_BYTES)
    kept += chunk
    if limit == RENDER_ERROR_BYTES_MAX and len(kept) > limit:
        del kept[: len(kept) - limit]
    return bool(chunk)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program if it still runs; whoever opened it waits for its end."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _environment(home: Path) -> dict[str, str]:
    here = str(home)
    folders = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PATH")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return dict.fromkeys(folders, here) | dict.fromkeys(proxies, NOWHERE) | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


@functools.cache
def _isolation() -> tuple[str, ...]:
    """Find the prefix that puts a child into a network namespace of its own; empty where none is granted."""
    unshare = shutil.which("unshare")
    true = shutil.which("true")
    if unshare is None or true is None:
        return ()
    for flags in (("-n",), ("-r", "-n")):
        try:
            done = subprocess.run(
                [unshare, *flags, true],
                capture_output=True,
                check=False,
                timeout=_PROBE_SECONDS_MAX,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return (unshare, *flags, "--")
    return ()


def _late(what: str) -> Refused:
    return Refused(
        Code.TIMEOUT,
        got=f"{what}: not rendered within {RENDER_SECONDS_MAX:.0f} s",
        todo="render it elsewhere and propose the plain YAML",
        source=what,
    )


def _failed(what: str, tool: str, status: int, complaint: bytes) -> Refused:
    lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()][
        -_LAST_LINES:
    ]
    return Refused(
        Code.RENDER_FAILED,
        got=f"{what}: {tool} ended with status {status}: " + " | ".join(lines),
        expected="a source that renders",
        todo=f"correct what {tool} complains about",
        source=what,
        tool=tool,
        status=status,
        lines=lines,
    )
