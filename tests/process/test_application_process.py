"""The application process: refusals at start and their exit statuses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from abci_app.framing import frame
from abci_app.listen import answers
from ledger.limits import MIB
from ledger.pb import abci_pb2 as pb

ROOT = Path(__file__).parents[3]


def _run(tmp_path: Path, *flags: str, listen: str = "unix://app.sock", **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *flags, "-m", "tests.kvstore", "--home", str(tmp_path), "--listen", listen],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
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


@pytest.mark.requires("transport.memory")
def test_memory_is_given_back_after_a_large_message(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    argv = [sys.executable, "-m", "tests.kvstore", "--home", str(tmp_path), "--listen", f"unix://{path}"]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL) as server:
        try:
            while not answers(str(path)):
                assert server.poll() is None
            idle = _rss_bytes(server.pid)
            assert idle < 80 * MIB
            request = pb.Request(query=pb.RequestQuery(path="x" * (32 * MIB)))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(frame(request.SerializeToString()))
                assert client.recv(1)
            # A late giving back is the allocator's; a kept copy would be 32 MiB or a multiple.
            assert _rss_bytes(server.pid) < idle + 31 * MIB
        finally:
            server.terminate()


def _rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
