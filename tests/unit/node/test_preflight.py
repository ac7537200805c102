"""What refuses a node before anything starts."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from consensus.node import supervise
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import NodePaths
from consensus.node.supervise import NodeUnit, preflight, run_node, stop_node
from ledger.errors import Code, EnvironmentFault
from runtime import process

BINARY = Path("/bin/true")
BASE_PORT = 26600


@pytest.fixture
def held() -> Iterator[dict[str, socket.socket]]:
    """Hold a port for each server of a node: nobody else is given it, and the node may still bind it."""
    with ExitStack() as stack:
        sockets = {section: stack.enter_context(socket.socket()) for section in ("rpc", "p2p")}
        for holder in sockets.values():
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        yield sockets


@pytest.fixture
def home(tmp_path: Path, held: dict[str, socket.socket]) -> Path:
    write_localnet(Localnet(tmp_path, "c-1", 1, BASE_PORT), 0, {})
    paths = NodePaths(tmp_path / "node0")
    settings, content = supervise._read_settings(paths), paths.config.read_text()
    for section, holder in held.items():
        told = f'"tcp://127.0.0.1:{holder.getsockname()[1]}"'
        content = content.replace(f'"{settings[section]["laddr"]}"', told)
    paths.config.write_text(content)
    return paths.home


def _code(home: Path, binary: Path = BINARY) -> Code:
    with pytest.raises(EnvironmentFault) as fault:
        preflight(home, binary)
    return fault.value.code


@pytest.mark.requires("node.preflight")
def test_a_ready_home_passes(home: Path) -> None:
    preflight(home, BINARY)


@pytest.mark.requires("node.preflight")
def test_a_missing_binary(home: Path) -> None:
    assert _code(home, home / "none") == Code.TOOL_MISSING
    assert _code(home, NodePaths(home).genesis) == Code.TOOL_MISSING


@pytest.mark.requires("node.preflight")
def test_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert _code(home) == Code.DISK_FULL


@pytest.mark.requires("node.preflight")
@pytest.mark.parametrize("content", ["", "x =", '[rpc]\nladdr = "nonsense"', "[p2p]\nladdr = 5\n"])
def test_a_broken_configuration(home: Path, content: str) -> None:
    NodePaths(home).config.write_text(content)
    assert _code(home) == Code.HOME_INVALID


@pytest.mark.requires("node.preflight")
def test_an_incomplete_home(home: Path) -> None:
    NodePaths(home).validator_key.unlink()
    assert _code(home) == Code.HOME_INVALID


@pytest.mark.requires("node.preflight")
def test_a_taken_port_names_the_port_and_who_to_change(home: Path, held: dict[str, socket.socket]) -> None:
    held["rpc"].listen()
    with pytest.raises(EnvironmentFault) as fault:
        preflight(home, BINARY)
    assert fault.value.code == Code.PORT_TAKEN
    assert fault.value.facts["port"] == held["rpc"].getsockname()[1]
    assert fault.value.facts["setting"] == "[rpc] laddr"
    assert str(NodePaths(home).config) in fault.value.todo


@pytest.mark.requires("node.one-per-home")
def test_a_second_node_in_one_home_is_refused(home: Path) -> None:
    own = process.identify(os.getpid())
    assert own is not None
    process.write_pid_file(NodePaths(home).pid_file, own)
    with pytest.raises(EnvironmentFault) as fault:
        run_node(NodeUnit(home, BINARY))
    assert fault.value.code == Code.STATE_LOCKED
    assert NodePaths(home).pid_file.exists()
    NodePaths(home).pid_file.unlink()
    assert not stop_node(home)
