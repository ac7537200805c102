"""What the figures of a fleet stand on: a ledger with full nodes that only follow it, and API servers.

Owns their start and their end, in a folder of the caller's. Promises that whatever was started is stopped
when the block is left, however it is left. Measures nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from conclave.home import Home, load
from conclave.programs import Tool, program
from consensus.node.join import peer_of, write_joining
from consensus.node.spec import NodeSpec
from consensus.rpc import RpcClient
from ledger.errors import EnvironmentFault

READY_S = 180.0
STOP_S = 30.0
_PORT_FIRST, _PORT_LAST = 20_000, 31_000


def conclave(home: Path, *words: str) -> str:
    """Run the command line; gives what it printed."""
    command = [sys.executable, "-m", "conclave", "--home", str(home), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:200]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


@contextlib.contextmanager
def ledger(path: Path, *, validators: int, followers: int, clusters: Sequence[str]) -> Iterator[Home]:
    """Run a ledger and the full nodes that follow it; gives its home."""
    base = free_ports(2 * (validators + followers))
    named = [word for cluster in clusters for word in ("--cluster", cluster)]
    conclave(path, "init", "--validators", str(validators), "--base-port", str(base), *named)
    with contextlib.ExitStack() as stack:
        stack.callback(conclave, path, "down")
        conclave(path, "up", "--no-bridges")
        home = load(path)
        for number in range(validators, validators + followers):
            stack.enter_context(_follower(home, number, base + 2 * number))
        yield home


def followers_of(home: Home) -> list[str]:
    """Give the RPC addresses of the nodes that only follow."""
    validators = {int(endpoint.rpartition(":")[2]) for endpoint in home.endpoints}
    ports = [peer_of(node).port + 1 for node in home.nodes()]
    return [f"http://127.0.0.1:{port}" for port in ports if port not in validators]


@contextlib.contextmanager
def _follower(home: Home, number: int, port: int) -> Iterator[None]:
    peers = tuple(peer_of(node) for node in home.nodes())
    folder = home.node(number)
    spec = NodeSpec(f"node{number}", folder, p2p_port=port, rpc_port=port + 1, peers=peers)
    write_joining(spec, home.genesis.read_bytes())
    argv = [sys.executable, "-m", "consensus.node", "--home", str(folder.absolute())]
    argv += ["--cometbft", str(program(Tool.COMETBFT))]
    with folder.with_suffix(".log").open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        _await_caught_up(spec.rpc_url)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_caught_up(endpoint: str) -> None:
    rpc = RpcClient(endpoint)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(EnvironmentFault):
            status = rpc.status()
            if not status.catching_up and status.height > 1:
                return
        time.sleep(0.2)
    raise SystemExit(f"{endpoint} did not catch up within {READY_S:.0f} s")


def free_ports(count: int) -> int:
    """Find a range of free ports; two benches that start at once begin to look at different places."""
    bases = list(range(_PORT_FIRST, _PORT_LAST, count))
    first = os.getpid() % len(bases)
    for base in (*bases[first:], *bases[:first]):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return base
    raise SystemExit(f"no {count} free ports in a row")
