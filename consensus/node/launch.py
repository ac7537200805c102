"""Starting supervised nodes from another program, and learning why one does not start.

Owns the hand-over of a supervisor's refusal: what ``python -m consensus.node`` says as its last log line is
raised here with the same code and facts. Promises to return only once both processes of the node run. It
does not wait for blocks: that is asked over RPC.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from consensus.node.spec import NodePaths
from consensus.node.supervise import APPLICATION_MODULE
from ledger.errors import Code, ConclaveError, EnvironmentFault
from runtime import process
from runtime.logfile import tail
from runtime.said import last_error

MEMBERS = ("app", "cometbft")
_POLL_S = 0.02
_LAST_BYTES_MAX = 64 * 1024
"""Room for the supervisor's last line, which carries the last lines of a member."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a node.

    Attributes:
        home: its folder.
        cometbft: the CometBFT binary.
        application: the Python module that serves the application.
        outlive: whether the node goes on when the starting program ends (``up``), or dies with it (tests).
        ready_s: how long its two processes may take to run, in seconds.
    """

    home: Path
    cometbft: Path
    application: str = APPLICATION_MODULE
    outlive: bool = False
    ready_s: float = 60.0


def launch(node: Launch) -> subprocess.Popen[bytes]:
    """Start a node's supervisor and wait until application and CometBFT run.

    Call it from the main thread. End the node with ``supervise.stop_node(home)`` or SIGTERM.

    Raises:
        EnvironmentFault: what the supervisor refused with (PORT_TAKEN, DISK_FULL, TOOL_MISSING, HOME_INVALID,
            STATE_LOCKED, PROCESS_DIED …), or TIMEOUT.
    """
    home = node.home.absolute()
    paths = NodePaths(home)
    argv = [sys.executable, "-m", "consensus.node", "--home", str(home)]
    argv += ["--cometbft", str(node.cometbft.absolute()), "--application", node.application]
    log = supervisor_log(home)
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    child = process.start(argv, cwd=home, log=log, outlive=node.outlive)
    deadline = time.monotonic() + node.ready_s
    while not _runs(paths, child):
        if child.poll() is not None:
            raise _refusal(log, child.returncode)
        if time.monotonic() > deadline:
            child.terminate()
            raise EnvironmentFault(
                Code.TIMEOUT,
                got=f"a node that does not run after {node.ready_s} s",
                expected="application and CometBFT running",
                todo=f"read {log}",
                home=str(home),
            )
        time.sleep(_POLL_S)
    return child


def supervisor_log(home: Path) -> Path:
    """Where the supervisor of a launched node logs."""
    return NodePaths(home).logs / "node.log"


def _runs(paths: NodePaths, child: subprocess.Popen[bytes]) -> bool:
    supervisor = process.read_pid_file(paths.pid_file)
    if supervisor is None or supervisor.pid != child.pid:
        return False
    return all(process.read_pid_file(paths.home / f"{name}.pid") is not None for name in MEMBERS)


def _refusal(log: Path, status: int) -> ConclaveError:
    lines = tail(log, _LAST_BYTES_MAX)
    return last_error(lines) or EnvironmentFault(
        Code.PROCESS_DIED,
        got=f"a supervisor that ended with status {status}",
        expected="a node that runs",
        todo=f"read {log}",
        log=lines,
    )
