"""The application process: refusals at start and their exit statuses."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from abci_app import server
from abci_app.framing import frame
from abci_app.listen import ListenAddress, UnixAddress, answers, bind
from ledger.limits import MIB
from ledger.pb import abci_pb2 as pb
from runtime.status import EXIT_OK
from tests.kvstore.application import Kvstore

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120


def _run(tmp_path: Path, *flags: str, listen: str = "unix://app.sock", **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *flags, "-m", "tests.kvstore", "--home", str(tmp_path), "--listen", listen],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.requires("transport.determinism")
def test_python_without_asserts_is_refused(tmp_path: Path) -> None:
    status, error = _run(tmp_path, "-O")
    assert status == 78
    assert "python -O" in error


@pytest.mark.requires("transport.determinism")
def test_another_protobuf_backend_is_refused(tmp_path: Path) -> None:
    status, error = _run(tmp_path, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")
    assert status == 78
    assert "upb" in error


@pytest.mark.requires("transport.local-only")
def test_an_open_address_is_refused(tmp_path: Path) -> None:
    status, error = _run(tmp_path, listen="tcp://0.0.0.0:26658")
    assert status == 78
    assert "loopback" in error


@pytest.fixture
def stopped_early() -> Iterator[list[int]]:
    """Note SIGTERM where nobody else handles it."""
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    yield noted
    signal.signal(signal.SIGTERM, before)


@pytest.mark.requires("transport.stop")
def test_who_is_told_to_stop_as_soon_as_it_listens_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_early: list[int]
) -> None:
    def bind_and_be_stopped(address: ListenAddress) -> socket.socket:
        listener = bind(address)
        signal.raise_signal(signal.SIGTERM)
        return listener

    monkeypatch.setattr(server, "bind", bind_and_be_stopped)
    address = UnixAddress(str(tmp_path / "app.sock"))

    async def run() -> int:
        return await asyncio.wait_for(server.Server(Kvstore()).run(address), PATIENCE_S)

    assert asyncio.run(run()) == EXIT_OK
    assert stopped_early == []
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.requires("transport.memory")
def test_memory_is_given_back_after_a_large_message(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    argv = [sys.executable, "-m", "tests.kvstore", "--home", str(tmp_path), "--listen", f"unix://{path}"]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            while not answers(str(path)):
                assert process.poll() is None
            idle = _rss_bytes(process.pid)
            assert idle < 80 * MIB
            request = pb.Request(query=pb.RequestQuery(path="x" * (32 * MIB)))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(frame(request.SerializeToString()))
                assert client.recv(1)
            # A late giving back is the allocator's; a kept copy would be 32 MiB or a multiple.
            assert _rss_bytes(process.pid) < idle + 31 * MIB
        finally:
            process.terminate()


def _rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
