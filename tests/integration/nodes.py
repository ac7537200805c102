"""Real CometBFT nodes for the tests: start, ask, wait within a bound, end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conclave.free_ports import is_free
from consensus.node.localnet import Localnet, PlannedNode, write_localnet
from consensus.node.spec import NodeSpec, Timing, Transport
from runtime import process
from runtime.tools import Tool, find

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0
"""Against hanging alone: a machine that does much else may need a while for three processes."""
RPC_S = 60.0
MEMBERS = ("app", "cometbft")
AWAY = (OSError, http.client.HTTPException, ValueError, LookupError)
"""What asking gives while a node dies or comes up: no answer, half an answer, or an error."""
PORTS = range(10_000, 20_000)
"""Below those that a devkube, a new ledger and the kernel choose from."""
FAST = Timing(propose=500, vote=200, commit=50, heartbeat=1000)


@dataclass
class Node:
    """One supervised node."""

    spec: NodeSpec
    supervisor: subprocess.Popen[bytes]

    def rpc(self, path: str) -> Any:
        """Give the ``result`` of a JSON-RPC call by GET; raise OSError while nobody answers."""
        with urllib.request.urlopen(f"{self.spec.rpc_url}/{path}", timeout=RPC_S) as answer:  # noqa: S310  loopback
            return json.load(answer)["result"]

    def post(self, method: str, **params: object) -> Any:
        """Give the whole answer of a JSON-RPC call by POST."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(  # noqa: S310  loopback
            self.spec.rpc_url, body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=RPC_S) as answer:  # noqa: S310  loopback
            return json.load(answer)

    def commit(self, tx: bytes) -> Any:
        """Have a transaction put into a block; give its height and its ``tx_result``, which is a good one.

        CometBFT's own ``broadcast_tx_commit`` waits for 10 s, whatever becomes of the transaction.
        """
        offered = self.post("broadcast_tx_sync", tx=base64.b64encode(tx).decode())["result"]
        assert offered["code"] == 0, offered
        name = base64.b64encode(hashlib.sha256(tx).digest()).decode()
        found: list[Any] = []

        def included() -> bool:
            with contextlib.suppress(*AWAY):
                found.append(self.post("tx", hash=name)["result"])
            return bool(found)

        until("the transaction in a block", included, self)
        assert found[0]["tx_result"]["code"] == 0, found
        return found[0]

    def kill(self, victim: str) -> None:
        """Kill one process; wait until both run anew and make blocks."""
        before = {name: self.member(name) for name in MEMBERS}
        killed = before[victim]
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        until(
            "both processes anew",
            lambda: all(self.member(name) not in (None, before[name]) for name in MEMBERS),
            self,
        )
        until("an answer", lambda: self.height() > 0, self)
        height = self.height()
        until("new blocks", lambda: self.height() > height + 1, self)

    def height(self) -> int:
        """Give the newest height, 0 while nobody answers."""
        try:
            return int(self.rpc("status")["sync_info"]["latest_block_height"])
        except AWAY:
            return 0

    def member(self, name: str) -> process.ProcessId | None:
        """Give the living process of a member, ``app`` or ``cometbft``."""
        return process.read_pid_file(self.spec.home / f"{name}.pid")

    def log(self, name: str) -> str:
        """Give a log, ``node`` (the supervisor's), ``app`` or ``cometbft``."""
        file = self.spec.paths.logs / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""


def until(what: str, condition: Callable[[], bool], node: Node, timeout_s: float = WAIT_S) -> None:
    """Wait until ``condition`` holds, else fail with the node's last log lines."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (
            f"{what}: not within {timeout_s} s\n"
            f"{node.log('node')[-3000:]}\n{node.log('app')[-3000:]}\n{node.log('cometbft')[-3000:]}"
        )
        time.sleep(0.05)


def cometbft() -> Path:
    """Give the CometBFT binary, built if need be."""
    return find(Tool.COMETBFT, progress=lambda _: None, environ=os.environ)


def plan(root: Path, size: int, transport: Transport = "socket") -> tuple[PlannedNode, ...]:
    """Write the homes of a local net on free ports."""
    localnet = Localnet(root, "test-1", size, free_base(2 * size), transport, FAST)
    return write_localnet(localnet, time.time_ns(), {"test": True})


@contextmanager
def running(spec: NodeSpec) -> Iterator[Node]:
    """Run one node under its supervisor, serving the kvstore."""
    node = Node(spec, start(spec))
    try:
        yield node
    finally:
        end(node)


def start(spec: NodeSpec) -> subprocess.Popen[bytes]:
    """Start a supervisor."""
    argv = [sys.executable, "-m", "consensus.node", "--home", str(spec.home)]
    argv += ["--cometbft", str(cometbft()), "--application", "tests.kvstore"]
    with (spec.paths.logs / "node.log").open("ab") as log:
        return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log)


def end(node: Node) -> int:
    """Ask the supervisor to end; give its exit status."""
    if node.supervisor.poll() is None:
        node.supervisor.send_signal(signal.SIGTERM)
    try:
        return node.supervisor.wait(RPC_S)
    except subprocess.TimeoutExpired:
        node.supervisor.kill()
        return node.supervisor.wait()


def free_base(count: int) -> int:
    """Give the first of ``count`` free ports in a row, none given before: nobody may listen there yet."""
    for _ in PORTS:
        base, _next[0] = _next[0], _next[0] + count
        if base + count > PORTS.stop:
            _next[0] = PORTS.start
        elif all(is_free(port) for port in range(base, base + count)):
            return base
    raise AssertionError("no free ports")


_next = [PORTS.start + os.getpid() % 1000 * 8]
"""Where to look next; several test runs on one machine begin at different places."""
