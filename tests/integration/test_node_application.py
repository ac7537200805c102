"""The real application under CometBFT: committed releases survive kill -9 of either process."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import pytest

from bench import payloads
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.supervise import stop_node
from ledger import statekeys
from ledger.limits import MIB
from runtime import process
from tests.integration.nodes import FAST, Node, cometbft, free_base, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RSS_IDLE_BYTES_MAX = 150 * MIB


def _state(node: Node, key: bytes) -> bytes:
    response = node.rpc(f"abci_query?path=%22/state%22&data=0x{key.hex()}&prove=true")["response"]
    assert response["code"] == 0, response
    assert response["proofOps"]["ops"], "an answer without proof"
    return base64.b64decode(response["value"] or "")


def _app_hash(node: Node, height: int) -> str:
    return str(node.rpc(f"block?height={height}")["block"]["header"]["app_hash"])


@pytest.mark.requires("node.survives")
def test_a_final_release_survives_kill_9_of_either_process(tmp_path: Path) -> None:
    localnet = Localnet(tmp_path, payloads.CHAIN_ID, 1, free_base(2), timing=FAST)
    (planned,) = write_localnet(localnet, time.time_ns(), payloads.app_state())
    supervisor: subprocess.Popen[bytes] = launch(Launch(planned.spec.home, cometbft()))
    node = Node(planned.spec, supervisor)
    try:
        until("the first block", lambda: node.height() >= 1, node)
        for tx in payloads.setup():
            result = node.commit(tx)
        final = int(result["height"])
        until("its proof", lambda: node.height() > final, node)
        release, app_hash = _state(node, statekeys.release(payloads.RELEASE)), _app_hash(node, final + 1)
        assert release
        for victim in ("app", "cometbft"):
            node.kill(victim)
            assert _state(node, statekeys.release(payloads.RELEASE)) == release
            assert _app_hash(node, final + 1) == app_hash
        application = node.member("app")
        assert application is not None
        status = Path(f"/proc/{application.pid}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) * 1024 < RSS_IDLE_BYTES_MAX
        assert stop_node(planned.spec.home)
        assert supervisor.wait() == 0
        assert not process.is_alive(application)
    finally:
        supervisor.kill()
        supervisor.wait()
