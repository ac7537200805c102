"""CometBFT and an application as one unit, for real."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest

from consensus.node.spec import Transport
from ledger.limits import BODY_BYTES_MAX
from runtime import process
from runtime.status import EXIT_PERMANENT
from tests.integration.nodes import AWAY, Node, end, plan, running, start, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def _commit(node: Node, tx: bytes) -> int:
    """Broadcast a transaction, wait until it is committed, give its height."""
    return int(node.commit(tx)["height"])


def _value(node: Node, key: str) -> str:
    value = node.rpc(f"abci_query?data=0x{key.encode().hex()}")["response"]["value"]
    return base64.b64decode(value or "").decode()


@pytest.mark.requires("node.runs")
@pytest.mark.parametrize("transport", ["socket", "grpc"])
def test_one_validator_makes_blocks(tmp_path: Path, transport: Transport) -> None:
    (planned,) = plan(tmp_path, 1, transport)
    with running(planned.spec) as node:
        until("the first block", lambda: node.height() >= 1, node)
        height = _commit(node, b"name=conclave")
        assert _value(node, "name") == "conclave"
        until("the heartbeat", lambda: node.height() >= height + 3, node)
        members = [node.member("app"), node.member("cometbft")]
        assert end(node) == 0
        assert all(member is not None and not process.is_alive(member) for member in members)


@pytest.mark.requires("node.sizes")
def test_a_release_of_four_mib_is_committed(tmp_path: Path) -> None:
    (planned,) = plan(tmp_path, 1)
    with running(planned.spec) as node:
        until("the first block", lambda: node.height() >= 1, node)
        height = _commit(node, b"big=" + b"x" * (BODY_BYTES_MAX - 4))
        assert len(_value(node, "big")) == BODY_BYTES_MAX - 4
        until("the next block", lambda: node.height() > height, node)


@pytest.mark.requires("node.survives")
@pytest.mark.parametrize("victim", ["app", "cometbft"])
def test_either_process_killed_the_unit_goes_on(tmp_path: Path, victim: str) -> None:
    (planned,) = plan(tmp_path, 1)
    with running(planned.spec) as node:
        until("the first block", lambda: node.height() >= 1, node)
        height = _commit(node, b"before=1")
        node.kill(victim)
        assert _value(node, "before") == "1"
        assert _commit(node, b"after=1") > height


@pytest.mark.requires("node.exception-seen")
def test_a_bug_of_the_application_is_named_in_the_node_log(tmp_path: Path) -> None:
    (planned,) = plan(tmp_path, 1)
    with running(planned.spec) as node:
        until("the first block", lambda: node.height() >= 1, node)
        before = node.member("app")
        with contextlib.suppress(*AWAY):
            # The node may die before it answers.
            node.rpc("broadcast_tx_async?tx=%22raise%22")
        until("the exception", lambda: "a bug of the application" in node.log("cometbft"), node)
        # In this order: the CometBFT that answers then is the new one, too.
        until("a restart", lambda: node.member("app") not in (None, before) and node.height() >= 1, node)
        assert _commit(node, b"after=1") >= 1


@pytest.mark.requires("node.gives-up")
def test_a_home_that_cannot_start_ends_with_a_code(tmp_path: Path) -> None:
    (planned,) = plan(tmp_path, 1)
    planned.spec.paths.genesis.write_text("{}")
    (planned.spec.home / "kvstore.json").write_text("{}")
    node = Node(planned.spec, start(planned.spec))
    assert node.supervisor.wait(60) == EXIT_PERMANENT
    last = json.loads(node.log("node").splitlines()[-1])
    assert last["name"] == "PROCESS_DIED"
    assert node.member("app") is None


@pytest.mark.requires("node.localnet")
def test_four_validators_agree_and_one_may_be_killed(tmp_path: Path) -> None:
    specs = [planned.spec for planned in plan(tmp_path, 4)]
    nodes = [Node(spec, start(spec)) for spec in specs]
    try:
        for node in nodes:
            until("height 3", lambda node=node: node.height() >= 3, node)  # type: ignore[misc]
        height = _commit(nodes[0], b"a=1")
        until("the transaction everywhere", lambda: _value(nodes[3], "a") == "1", nodes[3])
        hashes = set()
        for node in nodes:
            until("the next header", lambda node=node: node.height() > height, node)  # type: ignore[misc]
            hashes.add(node.rpc(f"block?height={height + 1}")["block"]["header"]["app_hash"])
        assert len(hashes) == 1
        members = [nodes[3].member("app"), nodes[3].member("cometbft")]
        nodes[3].supervisor.kill()
        nodes[3].supervisor.wait()
        until("nothing left", lambda: not any(m and process.is_alive(m) for m in members), nodes[3])
        alone = _commit(nodes[0], b"three=enough")
        nodes[3] = Node(specs[3], start(specs[3]))
        until("catching up", lambda: nodes[3].height() > alone, nodes[3])
        assert _value(nodes[3], "three") == "enough"
    finally:
        for node in nodes:
            end(node)
