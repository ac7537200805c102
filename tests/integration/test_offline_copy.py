"""A node whose state is lost gets it back from a copy that proves itself, and executes the rest."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from bench import payloads
from conclave import __main__ as program
from conclave.home import Home, save
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import NodeSpec
from consensus.node.supervise import stop_node
from state.store import Store
from tests.integration.nodes import FAST, Node, cometbft, free_base, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture
def spec(tmp_path: Path) -> NodeSpec:
    localnet = Localnet(tmp_path / "nodes", payloads.CHAIN_ID, 1, free_base(2), timing=FAST)
    (planned,) = write_localnet(localnet, time.time_ns(), payloads.app_state())
    shutil.copyfile(planned.spec.paths.genesis, tmp_path / "genesis.json")
    save(Home(tmp_path, "test", payloads.CHAIN_ID, (planned.spec.rpc_url,), (), ()))
    return planned.spec


@pytest.mark.requires("cli.node-copy")
def test_a_lost_state_comes_back_from_a_copy(
    spec: NodeSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, copy = str(tmp_path), str(tmp_path / "copy")
    node = Node(spec, launch(Launch(spec.home, cometbft())))
    try:
        until("the first block", lambda: node.height() >= 1, node)
        for tx in payloads.setup():
            node.commit(tx)
        assert program.run(["node", "export", "0", copy, "--home", home, "-o", "json"]) == 0
        exported = json.loads(capsys.readouterr().out)
        until("a later block", lambda: node.height() > exported["height"] + 2, node)
        assert program.run(["node", "import", "0", copy, "--home", home, "-o", "json"]) != 0
        assert json.loads(capsys.readouterr().out)["error"]["name"] == "STATE_LOCKED"
    finally:
        stop_node(spec.home)
        node.supervisor.wait()
    assert program.run(["node", "import", "0", copy, "--home", home, "-o", "json"]) != 0
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "STATE_NOT_EMPTY"
    shutil.rmtree(spec.paths.application)
    trust = ("--trust", exported["proof"])
    assert program.run(["node", "import", "0", copy, "--home", home, "-o", "json", *trust]) == 0
    assert json.loads(capsys.readouterr().out) == exported
    with Store.open(spec.paths.application) as store:
        assert (store.committed.height, store.committed.app_hash.hex()) == (
            exported["height"],
            exported["appHash"],
        )
    node = Node(spec, launch(Launch(spec.home, cometbft())))
    try:
        until("new blocks", lambda: node.height() > exported["height"] + 5, node)
    finally:
        stop_node(spec.home)
        node.supervisor.wait()
