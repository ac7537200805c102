"""Validators, each with one application on a unix socket, and the load driver against the first.

Owns the processes of a measurement. Promises the same CometBFT binary, configuration, genesis parameters and
driver for every application: only the command that serves the socket differs. It interprets no figure.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abci_app.listen import answers
from consensus.node.config import UNIX_SOCKET_NAME, write_config
from consensus.node.genesis import GenesisValidator, NodeKey, genesis, write_node_files
from consensus.node.spec import NodeSpec, Peer
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from runtime import process

READY_S = 30.0
DRIVER_TIMEOUT_S = 300
DRIVER_SOURCES = Path(__file__).parent / "loaddriver"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a name, the command that serves ``app.sock``, its genesis objects."""

    name: str
    argv: tuple[str, ...]
    chain_id: str
    app_state: JsonObject


@dataclass(frozen=True, slots=True)
class Load:
    """What the driver is told: connections (parts of the file) and transactions a request."""

    connections: int = 4
    batch: int = 100


@dataclass(frozen=True, slots=True)
class Validator:
    """A running validator: where its RPC is, and its application's pid."""

    rpc_url: str
    application: int

    def commit(self, tx: bytes) -> None:
        """Send one transaction and wait until it is committed with code 0."""
        result = self._call("broadcast_tx_commit", tx=_base64(tx))["result"]
        codes = (result["check_tx"]["code"], result["tx_result"]["code"])
        if codes != (0, 0):
            raise EnvironmentFault(Code.TX_REFUSED, got=result, expected="codes 0 and 0")

    def rss_bytes(self) -> int:
        """Give the resident memory of the application."""
        for line in Path(f"/proc/{self.application}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def _call(self, method: str, **params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.rpc_url, body, headers)  # noqa: S310  loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  loopback
            return json.load(answer)

    def height(self) -> int:
        """Give the newest height, 0 while nobody answers."""
        try:
            return int(self._call("status")["result"]["sync_info"]["latest_block_height"])
        except (urllib.error.URLError, ConnectionError):
            return 0


@contextmanager
def validators(side: Side, home: Path, cometbft: Path, count: int = 1) -> Iterator[Validator]:
    """Run ``count`` validators of one chain in ``home`` until the block ends; gives the first of them.

    Raises:
        EnvironmentFault: TIMEOUT if they make no block.
    """
    specs = _prepare(side, home, count)
    children: list[subprocess.Popen[bytes]] = []
    try:
        for spec in specs:
            children.append(process.start(side.argv, cwd=spec.home, log=spec.paths.logs / "app.log"))
            _await(lambda at=spec.home: answers(_relative(at)), "the application to listen", spec)
        running = Validator(specs[0].rpc_url, children[0].pid)
        for spec in specs:
            argv = (str(cometbft), "start", "--home", str(spec.home))
            children.append(process.start(argv, cwd=spec.home, log=spec.paths.logs / "cometbft.log"))
        _await(lambda: running.height() >= 1, "the first block", specs[0])
        yield running
    finally:
        for child in reversed(children):
            named = process.identify(child.pid)
            if named is not None:
                process.stop(named, grace_s=10)
            child.wait()


def _prepare(side: Side, home: Path, count: int) -> list[NodeSpec]:
    """Write the files of ``count`` nodes that all dial each other."""
    keys = [NodeKey.generate() for _ in range(count)]
    nodes = [NodeKey.generate() for _ in range(count)]
    ports = _free_ports(2 * count)
    everyone = tuple(GenesisValidator(f"{side.name}{i}", key.public) for i, key in enumerate(keys))
    document = genesis(side.chain_id, time.time_ns(), everyone, side.app_state)
    peers = [Peer(node.node_id, "127.0.0.1", ports[2 * i]) for i, node in enumerate(nodes)]
    specs = []
    for i in range(count):
        folder = home / f"n{i}"
        folder.mkdir(parents=True)
        others = tuple(peer for peer in peers if peer is not peers[i])
        spec = NodeSpec(
            f"{side.name}{i}", folder, ports[2 * i], ports[2 * i + 1], peers=others, log_level="error"
        )
        write_node_files(spec.paths, document, keys[i], nodes[i])
        write_config(spec)
        specs.append(spec)
    return specs


def drive(driver: Path, running: Validator, txs: Path, load: Load) -> dict[str, Any]:
    """Run the load driver; give its report.

    Raises:
        EnvironmentFault: PROCESS_DIED with what it said.
    """
    argv = [str(driver), "-rpc", running.rpc_url, "-txs", str(txs)]
    argv += ["-connections", str(load.connections), "-batch", str(load.batch)]
    argv += ["-timeout", f"{DRIVER_TIMEOUT_S}s"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=2 * DRIVER_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise EnvironmentFault(Code.PROCESS_DIED, got=done.stderr.strip(), expected="a finished load run")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def build_driver(folder: Path) -> Path:
    """Build the load driver into ``folder``; it has no dependency but Go's standard library.

    Raises:
        EnvironmentFault: TOOL_MISSING (no Go), TOOL_BUILD_FAILED.
    """
    return build_go(DRIVER_SOURCES, folder / "loaddriver")


def build_go(sources: Path, target: Path, package: str = ".", timeout_s: int = 300) -> Path:
    """Build the Go program in ``sources``, or another one its module names, as ``target``; give it.

    Raises:
        EnvironmentFault: TOOL_MISSING (no Go), TOOL_BUILD_FAILED.
    """
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise EnvironmentFault(Code.TOOL_MISSING, got="no go on PATH", expected="Go 1.26 or newer")
    done = subprocess.run(
        [go, "build", "-trimpath", "-o", str(target), package],
        cwd=sources,
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise EnvironmentFault(Code.TOOL_BUILD_FAILED, got=done.stderr[-300:], expected="a built driver")
    return target


def _await(condition: Any, what: str, spec: NodeSpec) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise EnvironmentFault(Code.TIMEOUT, got=f"no sign of {what} in {READY_S} s", home=str(spec.home))
        time.sleep(0.05)


def _relative(home: Path) -> str:
    return os.path.relpath(home / UNIX_SOCKET_NAME)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        found = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(int(probe.getsockname()[1]))
        return found


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def say(line: str) -> None:
    """Tell a person how far it is; figures alone go to standard output."""
    sys.stderr.write(line + "\n")
