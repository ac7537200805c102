"""``conclave node join``: a home that state sync can start from, or a refusal that leaves nothing."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from conclave import __main__ as program
from conclave import client
from consensus.incident import FILE_NAME, IncidentFile
from consensus.node.genesis import load_key
from consensus.node.spec import NodePaths
from consensus.witness import Panel
from ledger.errors import Code, EnvironmentFault

HASH = "ab" * 32
TRUST = ("--trust", f"12:{HASH}")


def _away(*_: object) -> Any:
    raise EnvironmentFault(Code.RPC_UNREACHABLE, got="nobody", expected="a node")


class Away:
    """A node that answers nothing: on the real ports of a home, somebody else may listen."""

    endpoint = "http://node.test:1"

    def close(self) -> None:
        """Nothing is open."""

    def __getattr__(self, name: str) -> Any:
        return _away


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    def panel(_: tuple[str, ...], folder: Path) -> Panel:
        away: Any = Away()
        return Panel([away], IncidentFile(folder / FILE_NAME))

    monkeypatch.setattr(client, "open_panel", panel)
    path = tmp_path / "home"
    assert program.run(["init", "--home", str(path), "--base-port", "21000", "--validators", "2"]) == 0
    capsys.readouterr()
    return path


def _join(home: Path, number: int, *arguments: str) -> int:
    return program.run(["node", "join", str(number), "--home", str(home), "-o", "json", *arguments])


@pytest.mark.requires("cli.node-join")
def test_a_new_node_has_own_keys_the_genesis_and_the_others_as_peers(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _join(home, 2, *TRUST) == 0
    assert json.loads(capsys.readouterr().out)["trust"] == f"12:{HASH}"
    paths = [NodePaths(home / "nodes" / f"node{i}") for i in range(3)]
    config = tomllib.loads(paths[2].config.read_text())
    assert config["statesync"]["enable"] is True
    assert config["statesync"]["trust_height"] == 12
    assert config["statesync"]["rpc_servers"] == "http://127.0.0.1:21001,http://127.0.0.1:21003"
    assert config["p2p"]["laddr"] == "tcp://127.0.0.1:21004"
    ids = [load_key(p.node_key).node_id for p in paths]
    assert config["p2p"]["persistent_peers"] == f"{ids[0]}@127.0.0.1:21000,{ids[1]}@127.0.0.1:21002"
    assert len({*ids, *(load_key(p.validator_key).node_id for p in paths)}) == 6
    assert paths[2].genesis.read_bytes() == (home / "genesis.json").read_bytes()


@pytest.mark.requires("cli.node-join")
def test_peers_servers_and_port_may_be_named(home: Path) -> None:
    peer = "ab" * 20 + "@10.0.0.1:26656"
    servers = ("--server", "http://a:1", "--server", "http://b:2")
    assert _join(home, 7, *TRUST, "--peer", peer, *servers, "--base-port", "30000") == 0
    config = tomllib.loads(NodePaths(home / "nodes" / "node7").config.read_text())
    assert config["p2p"]["persistent_peers"] == peer
    assert config["statesync"]["rpc_servers"] == "http://a:1,http://b:2"
    assert config["rpc"]["laddr"] == "tcp://127.0.0.1:30001"


@pytest.mark.requires("cli.node-join")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--trust", "12"), Code.USAGE),
        (("--trust", f"0:{HASH}"), Code.USAGE),
        (("--trust", f"12:{HASH}0"), Code.USAGE),
        ((*TRUST, "--server", "http://a:1"), Code.FIELD_INVALID),
        ((*TRUST, "--server", "a", "--server", "b"), Code.FIELD_INVALID),
        ((*TRUST, "--peer", "10.0.0.1:26656"), Code.FIELD_INVALID),
        ((*TRUST, "--peer", "ab" * 20 + "@h:0"), Code.FIELD_INVALID),
        ((*TRUST, "--peer", "ab" * 20 + '@h,"x:1'), Code.FIELD_INVALID),
        ((), Code.RPC_UNREACHABLE),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing(
    home: Path, arguments: tuple[str, ...], code: Code, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _join(home, 2, *arguments) != 0
    assert json.loads(capsys.readouterr().out)["error"]["name"] == code.name
    assert not (home / "nodes" / "node2").exists()


@pytest.mark.requires("cli.node-join")
def test_a_node_that_is_there_is_never_touched(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = NodePaths(home / "nodes" / "node1").validator_key
    before = key.read_bytes()
    assert _join(home, 1, *TRUST) != 0
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "HOME_EXISTS"
    assert key.read_bytes() == before
