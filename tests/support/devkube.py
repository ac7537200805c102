"""A real API server for integration tests: ``KUBECONFIG`` if it is set, else one devkube a session."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.tools import Tool, ToolError, find

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0


class DevkubeUnavailableError(Exception):
    """devkube could not be had or did not start; the text says why."""


@contextmanager
def kubeconfig() -> Iterator[Path]:
    """Give a kubeconfig with administrator's rights; what was started is stopped again.

    Raises:
        DevkubeUnavailableError: no cluster is named and none can be started.
    """
    named = os.environ.get("KUBECONFIG")
    if named:
        yield Path(named)
        return
    # A short path: it holds unix sockets and certificates of its own.
    with tempfile.TemporaryDirectory(prefix="dk-") as folder, devkube(Path(folder) / "d") as found:
        yield found


@contextmanager
def devkube(folder: Path, *apiserver_arguments: str) -> Iterator[Path]:
    """Run one devkube in ``folder``, its API server with more arguments; gives its kubeconfig."""
    try:
        program = find(Tool.DEVKUBE, progress=print, environ=os.environ)
    except ToolError as error:
        raise DevkubeUnavailableError(str(error)) from error
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        more = [f"--apiserver-arg={argument}" for argument in apiserver_arguments]
        argv = [str(program), "up", "--dir", str(folder), *more]
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        yield _ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> Path:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("devkube ready "):
                return Path(dict(word.split("=", 1) for word in line.split()[2:])["kubeconfig"])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise DevkubeUnavailableError(f"devkube did not become ready: {log.read_text(errors='replace')[-600:]}")
