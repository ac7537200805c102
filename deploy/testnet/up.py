# ruff: noqa: INP001 - a script beside its manifest, not a package
"""A local testnet from a small manifest: ``python deploy/testnet/up.py deploy/testnet/four.toml --home DIR``.

Owns reading the manifest, writing the homes once, starting every node and ending them all. Promises that
nothing is left running when it ends, however it ends. For networks with people in them there is
``conclave init`` and ``conclave up``; this one is for whoever works on the nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.supervise import stop_node
from ledger.errors import Code, ConclaveError, EnvironmentFault
from runtime.tools import Tool, ToolError, find

MANIFEST_BYTES_MAX = 64 * 1024
KEYS = {"chain_id", "validators", "base_port", "transport", "genesis"}
READY_S = 60.0


def read_manifest(path: Path, root: Path) -> tuple[Localnet, Any]:
    """Give the network and its genesis objects.

    Raises:
        EnvironmentFault: SOURCE_MISSING, USAGE (not a manifest).
    """
    try:
        with path.open("rb") as file:
            wanted = tomllib.loads(file.read(MANIFEST_BYTES_MAX).decode())
        genesis = json.loads((path.parent / wanted["genesis"]).read_bytes())
    except OSError as error:
        raise EnvironmentFault(
            Code.SOURCE_MISSING, got=error, expected="a manifest and its genesis"
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise EnvironmentFault(Code.USAGE, got=error, expected="a manifest", file=str(path)) from error
    if set(wanted) != KEYS or wanted["transport"] not in ("socket", "grpc"):
        raise EnvironmentFault(Code.USAGE, got=sorted(wanted), expected=str(sorted(KEYS)), file=str(path))
    network = Localnet(
        root, wanted["chain_id"], wanted["validators"], wanted["base_port"], wanted["transport"]
    )
    return network, genesis


def main() -> int:
    """Run the network until SIGINT or SIGTERM; give the exit status."""
    parser = argparse.ArgumentParser(description="A local testnet.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the nodes; kept between runs")
    parser.add_argument("--until-height", type=int, default=0, help="end once every node has this height")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(arguments.manifest, arguments.home, arguments.until_height)
    except (ConclaveError, ToolError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def run(manifest: Path, home: Path, until_height: int) -> None:
    """Start every node; wait for the height, or for ever."""
    network, genesis = read_manifest(manifest, home.absolute())
    cometbft = find(Tool.COMETBFT, progress=say, environ=os.environ)
    prepare(network, genesis, manifest)
    homes = [network.root / f"node{i}" for i in range(network.size)]
    ports = [network.base_port + 2 * i + 1 for i in range(network.size)]
    with ExitStack() as stack:
        for one, port in zip(homes, ports, strict=True):
            child = launch(Launch(one, cometbft))
            stack.callback(child.wait)
            stack.callback(stop_node, one)
            say(f"{one.name}: http://127.0.0.1:{port}")
        deadline = time.monotonic() + READY_S
        while not until_height or min(map(height, ports)) < until_height:
            if until_height and time.monotonic() > deadline:
                raise EnvironmentFault(Code.TIMEOUT, got="heights " + str([height(p) for p in ports]))
            time.sleep(0.2)
        say(f"every node is at height {until_height} or above")


def prepare(network: Localnet, genesis: Any, manifest: Path) -> None:
    """Write the homes, or find them written from this very manifest.

    Raises:
        EnvironmentFault: HOME_EXISTS, the folder holds something else.
    """
    kept = network.root / "testnet.toml"
    if not network.root.exists():
        write_localnet(network, time.time_ns(), genesis)
        kept.write_bytes(manifest.read_bytes())
    elif not kept.is_file() or kept.read_bytes() != manifest.read_bytes():
        raise EnvironmentFault(
            Code.HOME_EXISTS,
            got=network.root,
            expected="no folder, or one made from this manifest",
            todo="choose another --home",
        )


def height(port: int) -> int:
    """Give the newest height of a node, 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            return int(json.load(answer)["result"]["sync_info"]["latest_block_height"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def say(line: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
