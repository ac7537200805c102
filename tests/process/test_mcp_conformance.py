"""Other people's suite and client: the public conformance suite through our gate, guard and audit."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mcp_server.catalogue import READ_TOOLS

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Path(sys.prefix)
NPM = ENVIRONMENT / "npm"
SUITE = NPM / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
CLIENT = ROOT / "tests/conformance/mcp/client.mjs"
SCORES = {"2025-11-25": (30, 70), "2026-07-28": (37, 114)}
"""Of each requirement set of the suite's locked version: scenarios that are scored, and checks in them."""
REVISIONS = tuple(SCORES)
SECONDS_MAX = 300
SCENARIO_MS = "200000"
SCORED = re.compile(r"^([✓✗]) ([a-z0-9-]+): (\d+) passed, (\d+) failed$", re.MULTILINE)
NOT_SCORED = re.compile(r"^  [✓✗] ([a-z0-9-]+) \(", re.MULTILINE)


@pytest.fixture(scope="module")
def node() -> str:
    """Give Node, with the suite and the client beside it."""
    subprocess.run(["bash", str(ROOT / "deploy/npm.sh"), str(ENVIRONMENT)], check=True, timeout=SECONDS_MAX)
    return str(NPM / "node")


@contextlib.contextmanager
def serving(*command: str) -> Iterator[dict[str, Any]]:
    """Run a server; give the line of JSON it says first."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *command], stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stderr is not None
    try:
        yield json.loads(process.stderr.readline())
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS_MAX)


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False, cwd=ROOT)


@pytest.mark.requires("mcp.conformance")
def test_both_requirement_sets_pass_through_the_real_chain(node: str) -> None:
    with serving("tests.conformance.mcp.serve") as told:
        for revision, scores in SCORES.items():
            asked = ["server", "--url", told["url"], "--requirements", revision, "--timeout", SCENARIO_MS]
            done = run([node, str(SUITE), *asked])
            unscored = set(NOT_SCORED.findall(done.stdout))
            found = [line for line in SCORED.findall(done.stdout) if line[1] not in unscored]
            assert [line for line in found if line[0] != "✓" or line[3] != "0"] == [], done.stdout[-4000:]
            assert (len(found), sum(int(line[2]) for line in found)) == scores, found
            assert done.returncode == 0
    audited = run([sys.executable, "-m", "conclave", "audit", "verify", told["audit"], "-o", "json"])
    assert audited.returncode == 0, audited.stdout
    logged = "".join(path.read_text() for path in Path(told["audit"]).rglob("*.jsonl"))
    calls = logged.count('"read_fixture"') + logged.count('"test_simple_text"')
    assert calls >= 6, "the calls went through the audit"


@pytest.mark.requires("mcp.conformance")
def test_who_finds_no_suite_at_the_same_moment_as_others_waits_for_the_first(tmp_path: Path) -> None:
    installer = tmp_path / "bin" / "python"
    installer.parent.mkdir()
    # Stands for the environment's Python, and for Node: says when it begins and ends to install.
    (tmp_path / "bin" / "node").symlink_to(installer)
    installer.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *pip*) echo begins >> {tmp_path}/log; sleep 0.5; echo ends >> {tmp_path}/log ;;\n'
        f"*) echo {tmp_path} ;; esac\n"
    )
    installer.chmod(0o755)
    command = ["bash", str(ROOT / "deploy/npm.sh"), str(tmp_path)]
    together = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(SECONDS_MAX) for process in together] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "begins\nends\n"


@pytest.mark.requires("mcp.other-client")
@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_a_client_of_another_language_lists_calls_and_reads(node: str, transport: str, revision: str) -> None:
    client = [node, str(CLIENT), str(NPM), revision, transport]
    if transport == "stdio":
        done = run([*client, sys.executable, "-m", "tests.support.mcp_process", "stdio"])
    else:
        with serving("tests.support.mcp_process", "http") as told:
            done = run([*client, told["url"]])
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["tools"] == [tool.name for tool in READ_TOOLS]
    assert found["releases"][0]["revision"] == 3
    assert "FIELD_INVALID" in found["refused"]
    assert "greeting" in found["read"]
    assert found["prompt"] == 1
