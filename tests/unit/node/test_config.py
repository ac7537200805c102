"""The node configuration: sizes from the limits, loopback RPC, closed peers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from consensus.node.config import config_toml, write_config
from consensus.node.genesis import NodeKey
from consensus.node.localnet import Localnet, plan_localnet
from consensus.node.spec import NodeSpec
from ledger.errors import Code, EnvironmentFault
from ledger.limits import ENVELOPE_BYTES_MAX, RPC_REQUEST_BYTES_MAX


def _keys(count: int) -> tuple[tuple[NodeKey, NodeKey], ...]:
    return tuple(
        (NodeKey.from_seed(bytes([i]) * 32), NodeKey.from_seed(bytes([i + 100]) * 32)) for i in range(count)
    )


@pytest.mark.requires("node.sizes")
def test_a_large_release_fits_everywhere(tmp_path: Path) -> None:
    config = tomllib.loads(config_toml(NodeSpec("n", tmp_path, 26656, 26657)))
    assert config["rpc"]["max_body_bytes"] == RPC_REQUEST_BYTES_MAX
    assert config["mempool"]["max_tx_bytes"] == ENVELOPE_BYTES_MAX
    assert config["mempool"]["size"] == 50_000
    assert config["mempool"]["recheck"] is True


@pytest.mark.requires("node.closed")
def test_rpc_is_loopback_and_peers_are_closed(tmp_path: Path) -> None:
    nodes = plan_localnet(Localnet(tmp_path, "c-1", 4, 27000), _keys(4))
    ports = set()
    for node in nodes:
        config = tomllib.loads(config_toml(node.spec))
        assert config["rpc"]["laddr"] == f"tcp://127.0.0.1:{node.spec.rpc_port}"
        assert config["p2p"]["laddr"] == f"tcp://127.0.0.1:{node.spec.p2p_port}"
        assert config["p2p"]["pex"] is False
        assert config["rpc"]["unsafe"] is False
        peers = config["p2p"]["persistent_peers"].split(",")
        assert sorted(peers) == sorted(
            f"{other.node.node_id}@127.0.0.1:{other.spec.p2p_port}" for other in nodes if other is not node
        )
        ports |= {node.spec.rpc_port, node.spec.p2p_port}
    assert len(ports) == 8


@pytest.mark.requires("node.closed")
def test_text_of_the_caller_stays_text(tmp_path: Path) -> None:
    moniker = 'x"\n[rpc]\nunsafe = true # \x7f \U0001f600'
    config = tomllib.loads(config_toml(NodeSpec(moniker, tmp_path, 1, 2)))
    assert config["moniker"] == moniker
    assert config["rpc"]["unsafe"] is False


@pytest.mark.requires("node.heartbeat")
def test_an_idle_chain_makes_a_heartbeat_block(tmp_path: Path) -> None:
    config = tomllib.loads(config_toml(NodeSpec("n", tmp_path, 1, 2)))["consensus"]
    assert config["create_empty_blocks"] is False
    assert config["create_empty_blocks_interval"] == "5000ms"
    assert config["skip_timeout_commit"] is True


@pytest.mark.requires("node.transport")
def test_the_socket_path_is_relative_so_any_home_is_short_enough(tmp_path: Path) -> None:
    assert 'proxy_app = "unix://app.sock"' in config_toml(NodeSpec("n", tmp_path / ("d" * 200), 1, 2))
    grpc = config_toml(NodeSpec("n", tmp_path, 1, 2, transport="grpc"))
    assert f'proxy_app = "unix://{tmp_path}/app.sock"' in grpc
    assert 'abci = "grpc"' in grpc


@pytest.mark.requires("node.closed")
def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault) as fault:
        write_config(NodeSpec("n", tmp_path / "file", 1, 2))
    assert fault.value.code == Code.HOME_INVALID
