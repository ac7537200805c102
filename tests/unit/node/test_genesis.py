"""Genesis and keys in CometBFT's files."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from consensus.node.genesis import (
    GENESIS_BYTES_MAX,
    GenesisValidator,
    NodeKey,
    genesis,
    load_key,
    write_node_files,
)
from consensus.node.spec import NodePaths
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import BLOCK_BYTES_MAX

# Made by `cometbft init` v0.39.4.
COMET_PUBLIC = "qxNpXd8PwXAOiq3pNHdwLyLjG7cbXYOEApD76tWWHB4="
COMET_PRIVATE = "HnfgWtJ+b1j272oGDHYBEZIU6tHyykNFK1J+MJjfbi6rE2ld3w/BcA6Krek0d3AvIuMbtxtdg4QCkPvq1ZYcHg=="
COMET_ADDRESS = "1A217CCA2B8ED1984059EA2823A591541E421D62"


@pytest.mark.requires("node.keys")
def test_a_key_made_by_cometbft_reads_the_same(tmp_path: Path) -> None:
    file = tmp_path / "priv_validator_key.json"
    private = {"type": "tendermint/PrivKeyEd25519", "value": COMET_PRIVATE}
    file.write_text(json.dumps({"address": COMET_ADDRESS, "priv_key": private}))
    key = load_key(file)
    assert key.address == COMET_ADDRESS
    assert base64.b64encode(key.public).decode() == COMET_PUBLIC


@pytest.mark.requires("node.keys")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"priv_key":{"value":"AA=="}}',
        b'{"priv_key":{"value":5}}',
        b'{"priv_key":{"value":"' + base64.b64encode(bytes(64)) + b'"}}',
        b"[" * 100_000,
    ],
)
def test_a_broken_key_file_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "node_key.json"
    file.write_bytes(content)
    with pytest.raises(EnvironmentFault) as fault:
        load_key(file)
    assert fault.value.code == Code.KEY_FILE_INVALID
    assert fault.value.facts["file"] == str(file)


@pytest.mark.requires("node.keys")
def test_private_files_are_private_and_never_overwritten(tmp_path: Path) -> None:
    paths = NodePaths(tmp_path / "home")
    validator, node = NodeKey.generate(), NodeKey.generate()
    write_node_files(paths, b"{}", validator, node)
    for file in (paths.validator_key, paths.node_key, paths.validator_state):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_key(paths.validator_key) == validator
    assert load_key(paths.node_key) == node
    with pytest.raises(EnvironmentFault) as fault:
        write_node_files(paths, b"{}", NodeKey.generate(), node)
    assert fault.value.code == Code.HOME_EXISTS
    assert load_key(paths.validator_key) == validator
    assert repr(validator) == f"NodeKey({validator.address})"


@pytest.mark.requires("node.genesis")
def test_genesis_is_a_function_of_its_arguments() -> None:
    key = NodeKey.from_seed(bytes(32))
    made = genesis("east-1", 1_795_258_003_000_000_007, (GenesisValidator("a", key.public),), {"x": ["é"]})
    assert made == genesis(
        "east-1", 1_795_258_003_000_000_007, (GenesisValidator("a", key.public),), {"x": ["é"]}
    )
    document = json.loads(made)
    assert document["genesis_time"] == "2026-11-21T10:46:43.000000007Z"
    assert document["chain_id"] == "east-1"
    assert document["app_state"] == {"x": ["é"]}
    assert document["consensus_params"]["block"]["max_bytes"] == str(BLOCK_BYTES_MAX)
    assert document["validators"][0]["address"] == key.address
    assert document["validators"][0]["power"] == "10"


@pytest.mark.requires("node.genesis")
@pytest.mark.parametrize(
    ("chain_id", "validators"),
    [
        ("", (GenesisValidator("a", bytes(32)),)),
        ("c" * 51, (GenesisValidator("a", bytes(32)),)),
        ("c", ()),
        ("c", (GenesisValidator("a", bytes(31)),)),
        ("c", (GenesisValidator("a", bytes(32), 0),)),
        ("c", (GenesisValidator("a", bytes(32)), GenesisValidator("b", bytes(32)))),
    ],
)
def test_an_impossible_genesis_is_refused(chain_id: str, validators: tuple[GenesisValidator, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        genesis(chain_id, 0, validators, {})
    assert refusal.value.code == Code.GENESIS_INVALID


@pytest.mark.requires("node.genesis")
def test_a_genesis_too_large_for_one_message_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        genesis("c", 0, (GenesisValidator("a", bytes(32)),), {"x": "y" * GENESIS_BYTES_MAX})
    assert refusal.value.code == Code.LIMIT_EXCEEDED
