"""The command line at the end of pipes, on full disks, with closed streams, and under Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conclave import __main__ as program
from ledger.errors import Code

PATIENCE_S = 240
CONCLAVE = f"'{sys.executable}' -m conclave"
SCRIPT = """
eval "$(conclave completion bash)"
compopt() { :; }
COMP_WORDS=(conclave "$@"); COMP_CWORD=$#; COMPREPLY=()
_conclave_completion conclave
echo "${COMPREPLY[@]}"
"""


def shell(line: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("conclave", CONCLAVE, 1)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.requires("cli.streams")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("conclave --help >&-", 0),
        ("conclave bogus 2>&-", 2),
        ("conclave bogus >&- 2>&-", 2),
        ("conclave completion bash <&-", 0),
        ("conclave bogus 2>/dev/full", 2),
        ("conclave bogus -o json >/dev/full", 2),
        ("conclave completion bash >/dev/full", 4),
        ("conclave --help >/dev/full", 4),
    ],
)
def test_streams_that_cannot_be_written(line: str, status: int) -> None:
    done = shell(line)
    assert done.returncode == status
    if status == 4:
        assert Code.DISK_FULL.name in done.stderr


@pytest.mark.requires("cli.streams")
def test_a_pipe_that_is_closed_early_is_nobodys_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "conclave", "completion", "bash"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.requires("cli.completion")
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pro",), {"propose"}),
        (("verify", ""), {"release", "proposal"}),
        (("get", "pro"), {"proposals"}),
        (("status", "--ou"), {"--output"}),
        (("--home", "HOME", "approve", "1", "--as", ""), {"alice", "bob", "carol", "scout", "bridge-east"}),
        (("--home", "HOME/none", "approve", "1", "--as", ""), set()),
    ],
)
def test_bash_completes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: set[str]
) -> None:
    home = tmp_path / "home"
    assert program.run(["init", "--home", str(home), "--validators", "1", "--base-port", "21000"]) == 0
    capsys.readouterr()
    named = [word.replace("HOME", str(home)) for word in words]
    command = ["bash", "-c", SCRIPT, "bash", *named]
    # The completion script starts the program by its name.
    found = tmp_path / "bin"
    found.mkdir()
    (found / "conclave").write_text(f'#!/bin/sh\nexec {CONCLAVE} "$@"\n')
    (found / "conclave").chmod(0o755)
    environment = os.environ | {"PATH": f"{found}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment
    )
    assert set(done.stdout.split()) == expected
