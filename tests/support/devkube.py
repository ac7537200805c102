"""A real API server for integration tests: ``KUBECONFIG`` if it is set, else one devkube a session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.process import start_time
from runtime.tools import Tool, ToolError, find

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0


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
    made = Devkube(folder, *apiserver_arguments)
    try:
        yield made.start()
    finally:
        made.stop()


class Devkube:
    """One devkube in a folder; what ends, or is killed, may be started again and is the same cluster."""

    def __init__(self, folder: Path, *apiserver_arguments: str, simulates_node: bool = True) -> None:
        try:
            program = find(Tool.DEVKUBE, progress=print, environ=os.environ)
        except ToolError as error:
            raise DevkubeUnavailableError(str(error)) from error
        more = [f"--apiserver-arg={argument}" for argument in apiserver_arguments]
        more += [] if simulates_node else ["--no-node"]
        self.program = program
        self._argv = [str(program), "up", "--dir", str(folder), *more]
        self._log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Path:
        """Start it and wait until it is ready; gives its kubeconfig."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(self._argv, stdout=output, stderr=output)
        return _ready(self._process, self._log)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._await_end()

    def kill(self, component: str = "kube-apiserver") -> None:
        """Kill one component, which ends all of them."""
        assert self._process is not None
        os.kill(self._component(self._process.pid, component), signal.SIGKILL)
        self._await_end()

    def kill_all(self) -> None:
        """Kill every process of it at once: the components die with the one that started them."""
        assert self._process is not None
        components = _children(self._process.pid)
        self._process.kill()
        self._await_end()
        # Who starts again at once shall find the ports free.
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(start_time(pid) for pid in components):
            assert time.monotonic() < deadline, "components outlived the one that started them"
            time.sleep(0.02)

    @staticmethod
    def _component(parent: int, name: str) -> int:
        for child in _children(parent):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[1:2] == [name.encode()]:
                    return child
        raise AssertionError(f"no {name} runs")

    def _await_end(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _children(parent: int) -> list[int]:
    """List the processes that a process started and that live; its threads may end meanwhile."""
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


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
