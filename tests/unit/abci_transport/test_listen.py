"""Where the application may listen."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from abci_app.listen import UNIX_PATH_BYTES_MAX, TcpAddress, UnixAddress, bind, parse_listen
from ledger.errors import Code, EnvironmentFault


@pytest.mark.requires("transport.local-only")
@pytest.mark.parametrize(
    "text",
    [
        "tcp://0.0.0.0:26658",
        "tcp://192.168.1.1:26658",
        "tcp://[::]:1",
        "tcp://localhost:1",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:",
        "http://127.0.0.1:1",
        "unix://",
        "",
    ],
)
def test_only_unix_and_loopback_are_listened_on(text: str) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        parse_listen(text)
    assert fault.value.code == Code.USAGE


@pytest.mark.requires("transport.local-only")
def test_the_allowed_forms() -> None:
    assert parse_listen("unix://app.sock") == UnixAddress("app.sock")
    assert parse_listen("unix:///run/app.sock") == UnixAddress("/run/app.sock")
    assert parse_listen("tcp://127.0.0.1:26658") == TcpAddress("127.0.0.1", 26658)
    assert parse_listen("tcp://[::1]:26658") == TcpAddress("::1", 26658)


@pytest.mark.requires("transport.long-path")
def test_a_long_path_becomes_relative_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with pytest.raises(EnvironmentFault) as fault:
        parse_listen(f"unix://{deep}/app.sock")
    assert fault.value.code == Code.HOME_INVALID
    monkeypatch.chdir(deep)
    address = parse_listen(f"unix://{deep}/app.sock")
    assert address == UnixAddress("app.sock")
    assert len(os.fsencode(str(deep))) > UNIX_PATH_BYTES_MAX
    bind(address).close()


@pytest.mark.requires("transport.stale-socket")
def test_a_stale_socket_is_replaced_a_living_one_is_not(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "app.sock"))
    bind(address).close()
    with bind(address):
        with pytest.raises(EnvironmentFault) as fault:
            bind(address)
        assert fault.value.code == Code.PORT_TAKEN


@pytest.mark.requires("transport.stale-socket")
def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "app.sock"
    file.write_text("precious")
    with pytest.raises(EnvironmentFault) as fault:
        bind(UnixAddress(str(file)))
    assert fault.value.code == Code.HOME_INVALID
    assert file.read_text() == "precious"


@pytest.mark.requires("transport.local-only")
def test_a_taken_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EnvironmentFault) as fault:
            bind(TcpAddress("127.0.0.1", port))
    assert fault.value.code == Code.PORT_TAKEN
    assert fault.value.facts["address"] == f"127.0.0.1:{port}"
