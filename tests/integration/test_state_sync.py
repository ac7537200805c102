"""A fifth node joins a running chain of four by a snapshot, over real CometBFT, and follows."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import time
from pathlib import Path

import pytest

from bench import payloads
from conclave import __main__ as program
from conclave.home import Home, save
from consensus.node.config import write_config
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, PlannedNode, write_localnet
from consensus.node.spec import NodeSpec, Timing
from consensus.node.supervise import stop_node
from ledger import statekeys
from tests.integration.nodes import Node, cometbft, free_base, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SIZE = 4
BLOCKS = 500
SNAPSHOT_EVERY = 40
QUICK = Timing(propose=500, vote=200, commit=20, heartbeat=50)


def _home(root: Path, planned: tuple[PlannedNode, ...]) -> Path:
    """Make the folder of the ledger's operator, whose root of trust is the genesis."""
    shutil.copyfile(planned[0].spec.paths.genesis, root / "genesis.json")
    endpoints = tuple(node.spec.rpc_url for node in planned)
    save(Home(root, "test", payloads.CHAIN_ID, endpoints, (), ()))
    return root


def _release(node: Node) -> int:
    for tx in payloads.setup():
        result = node.commit(tx)
    return int(result["height"])


def _app_hash(node: Node, height: int) -> str:
    return str(node.rpc(f"block?height={height}")["block"]["header"]["app_hash"])


def _state(node: Node, key: bytes) -> bytes:
    response = node.rpc(f"abci_query?path=%22/state%22&data=0x{key.hex()}&prove=true")["response"]
    assert response["code"] == 0, response
    return base64.b64decode(response["value"] or "")


@pytest.mark.requires("node.state-sync")
def test_a_fifth_node_joins_by_state_sync_and_follows(tmp_path: Path) -> None:
    base = free_base(2 * SIZE + 2)
    localnet = Localnet(tmp_path / "nodes", payloads.CHAIN_ID, SIZE, base, timing=QUICK)
    planned = write_localnet(localnet, time.time_ns(), payloads.app_state())
    nodes: list[Node] = []
    try:
        for node in planned:
            spec = dataclasses.replace(node.spec, snapshot_every=SNAPSHOT_EVERY)
            write_config(spec)
            nodes.append(Node(spec, launch(Launch(spec.home, cometbft()))))
        first = nodes[0]
        until("the first block", lambda: first.height() >= 2, first)
        final = _release(first)
        until("a chain of some length", lambda: first.height() > BLOCKS, first, 600)
        assert program.run(["node", "join", str(SIZE), "--home", str(_home(tmp_path, planned))]) == 0
        spec = NodeSpec("joined", tmp_path / "nodes" / f"node{SIZE}", base + 2 * SIZE, base + 2 * SIZE + 1)
        joined = Node(spec, launch(Launch(spec.home, cometbft())))
        nodes.append(joined)
        until("the fifth node's blocks", lambda: joined.height() > BLOCKS, joined, 240)
        status = joined.rpc("status")["sync_info"]
        assert int(status["earliest_block_height"]) > final, "it synced from genesis"
        height = joined.height()
        until("new blocks", lambda: joined.height() > height + 5, joined)
        assert _app_hash(joined, height + 2) == _app_hash(first, height + 2)
        release = _state(joined, statekeys.release(payloads.RELEASE))
        assert release == _state(first, statekeys.release(payloads.RELEASE)) != b""
        assert "snapshot restored" in joined.log("app")
    finally:
        for started in nodes:
            stop_node(started.spec.home)
            started.supervisor.kill()
            started.supervisor.wait()
