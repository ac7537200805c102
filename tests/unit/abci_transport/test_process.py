"""The application process: refusals at start and their exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
