"""The node configuration: sizes from the limits, loopback RPC, closed peers."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from abci_app import settings
from consensus.node.config import config_toml, write_config
from consensus.node.genesis import NodeKey
from consensus.node.localnet import Localnet, plan_localnet
from consensus.node.spec import NodeSpec, StateSync
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import ENVELOPE_BYTES_MAX, MEMPOOL_BYTES_MAX, MEMPOOL_TXS_MAX, RPC_REQUEST_BYTES_MAX


def _keys(count: int) -> tuple[tuple[NodeKey, NodeKey], ...]:
    return tuple(
        (NodeKey.from_seed(bytes([i]) * 32), NodeKey.from_seed(bytes([i + 100]) * 32)) for i in range(count)
    )


@pytest.mark.requires("node.sizes")
def test_a_large_release_fits_everywhere(tmp_path: Path) -> None:
    config = tomllib.loads(config_toml(NodeSpec("n", tmp_path, 26656, 26657)))
    assert config["rpc"]["max_body_bytes"] == RPC_REQUEST_BYTES_MAX
    assert config["mempool"]["max_tx_bytes"] == ENVELOPE_BYTES_MAX
    assert config["mempool"]["size"] == MEMPOOL_TXS_MAX
    assert config["mempool"]["max_txs_bytes"] == MEMPOOL_BYTES_MAX
    assert config["mempool"]["cache_size"] >= 2 * MEMPOOL_TXS_MAX
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


@pytest.mark.requires("node.state-sync-config")
def test_state_sync_is_off_unless_asked_for_and_refused_if_it_cannot_work(tmp_path: Path) -> None:
    usual = NodeSpec("n", tmp_path, 26656, 26657)
    assert tomllib.loads(config_toml(usual))["statesync"] == {"enable": False}
    servers = ("http://127.0.0.1:26657", "http://10.0.0.2:26657")
    spec = dataclasses.replace(usual, state_sync=StateSync(7, bytes(range(32)), servers))
    config = tomllib.loads(config_toml(spec))["statesync"]
    assert (config["enable"], config["trust_height"]) == (True, 7)
    assert config["trust_hash"] == bytes(range(32)).hex().upper()
    assert config["rpc_servers"] == ",".join(servers)
    assert config["trust_period"] == "1209600s"
    for wrong in (
        StateSync(7, bytes(32), servers[:1]),
        StateSync(7, bytes(32), (servers[0], "http://x:1,http://y:1")),
        StateSync(7, bytes(32), (*servers, 'http://x:1"\nunsafe = true')),
        StateSync(0, bytes(32), servers),
        StateSync(7, bytes(31), servers),
    ):
        with pytest.raises(Refused) as refusal:
            config_toml(dataclasses.replace(usual, state_sync=wrong))
        assert refusal.value.code is Code.FIELD_INVALID


@pytest.mark.requires("node.state-sync-config")
def test_the_application_reads_the_settings_that_are_written(tmp_path: Path) -> None:
    spec = NodeSpec("n", tmp_path, 26656, 26657, snapshot_every=7)
    write_config(spec)
    assert settings.load(tmp_path).snapshot_every == 7
    write_config(dataclasses.replace(spec, snapshot_every=None))
    assert settings.load(tmp_path) == settings.Settings()
