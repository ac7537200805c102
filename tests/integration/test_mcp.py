"""A model reads a real ledger over both transports: status, a proposal, a proof that a stranger verifies."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from conclave.demo.stage import Stage
from conclave.errors import EXIT_VERIFICATION
from conclave.home import Home, load
from tests.support.live import approve, release, running_ledger
from tests.support.log_entries import log_entries

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


READ_S = 240


@pytest.fixture(autouse=True)
def _a_server_may_end_in_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the package gives a server 2 s to end before it sends signals."""
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 60.0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_ledger(tmp_path_factory.mktemp("mcp")) as up:
        release(up, "guestbook", *up.source("guestbook")[:1], "--namespace", up.namespace)
        yield up


async def _reads(target: Any, stage: Stage, number: int) -> dict[str, Any]:
    async with Client(target, read_timeout_seconds=READ_S) as client:
        (row,) = (await client.call_tool("get_releases", {})).structured_content["items"]
        assert (row["release"], row["appliedRevision"], row["outcome"]) == ("guestbook", 1, "applied")
        (proposal,) = (await client.call_tool("explain_proposal", {"number": number})).structured_content[
            "items"
        ]
        assert proposal["state"] == "open"
        assert proposal["nodeSays"]["missing"]["humans"] == 2
        assert proposal["difference"]["objects"]
        asked = {"what": "release", "name": "guestbook"}
        (proof,) = (await client.call_tool("export_proof", asked)).structured_content["items"]
        found: dict[str, Any] = proof
        return found


def _verified(stage: Stage, proof: dict[str, Any], folder: Path) -> None:
    file = folder / f"{proof['sha256']}.proof.json"
    words = str(proof["export"]).replace("FILE", str(file)).split()
    stage.quietly(*words[1:])
    told = stage.quietly("verify", str(file), "--genesis", str(load(stage.home).genesis))
    assert "guestbook" in json.dumps(told)


@pytest.mark.requires("mcp.live")
def test_a_model_reads_a_running_ledger_over_both_transports(stage: Stage, tmp_path: Path) -> None:
    upgraded = stage.source("guestbook-v2")
    proposed = stage.quietly(
        "propose", upgraded[0], "--name", "guestbook", "--namespace", stage.namespace, "--as", "alice"
    )
    over_streams = StdioServerParameters(
        command=sys.executable, args=["-m", "conclave", "mcp", "--stdio", "--home", str(stage.home)]
    )
    _verified(stage, anyio.run(_reads, over_streams, stage, proposed["number"]), tmp_path)
    home = load(stage.home)
    with _server(home, tmp_path, "--anonymous") as url:
        _verified(stage, anyio.run(_reads, url, stage, proposed["number"]), tmp_path)


@contextlib.contextmanager
def _server(home: Home, folder: Path, *options: str) -> Iterator[str]:
    """Serve over HTTP far from the home; give the URL."""
    command = [sys.executable, "-m", "mcp_server", "--http", "0", "--genesis", str(home.genesis), *options]
    command += ["--trust", str(folder / "trust" / "mcp.json")]
    command += [part for endpoint in home.endpoints for part in ("--endpoint", endpoint)]
    # Into a file: nobody empties a pipe while it serves.
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stderr=said)
    try:
        yield str(_first(process, log)["url"])
    finally:
        process.terminate()
        process.wait(60)


def _first(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """Wait for a server's first line."""
    end = time.monotonic() + READ_S
    while not (said := log_entries(log)):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return said[0]


async def _refusal(client: Client) -> str:
    """Call until it is refused; say with what."""
    with anyio.fail_after(2 * READ_S):
        while True:
            try:
                await client.call_tool("get_clusters", {})
            except MCPError as error:
                return error.message
            await anyio.sleep(0.2)


@pytest.mark.requires("mcp.live-agent")
def test_an_agent_works_with_a_remote_server_until_its_key_is_revoked(stage: Stage, tmp_path: Path) -> None:
    home, policy = load(stage.home), tmp_path / "policy.yaml"
    policy.write_text(json.dumps(stage.quietly("mcp", "policy", "scout")))
    approve(stage, stage.quietly("propose", str(policy), "--as", "alice")["number"])

    async def work(url: str) -> None:
        options = ["mcp", "connect", url, "--as", "scout", "--home", str(stage.home)]
        target = StdioServerParameters(command=sys.executable, args=["-m", "conclave", *options])
        async with Client(target, read_timeout_seconds=READ_S) as client:
            await client.list_tools()
            (row,) = (await client.call_tool("get_releases", {})).structured_content["items"]
            assert row["release"] == "guestbook"
            denied = await client.call_tool("report_observation", {"text": "all is well"})
            assert "TOOL_NOT_ALLOWED" in denied.model_dump_json()
            await anyio.to_thread.run_sync(lambda: stage.quietly("revoke", "scout", "--as", "bob"))
            assert await _refusal(client) == "KEY_NOT_ACTIVE"

    with _server(home, tmp_path) as url:
        anyio.run(work, url)


async def _anchored(target: Any, stage: Stage) -> dict[str, Any]:
    """Call once, and wait until the log says that the ledger has its head."""
    async with Client(target, read_timeout_seconds=READ_S) as client:
        assert not (await client.call_tool("get_clusters", {})).is_error
        with anyio.fail_after(2 * READ_S):
            while True:
                (log,) = stage.quietly("audit", "verify", str(stage.home / "audit-anchored"))["logs"]
                if log["anchored"] is not None:
                    found: dict[str, Any] = log
                    return found
                await anyio.sleep(0.5)


@pytest.mark.requires("audit.anchored")
def test_the_audit_of_a_running_server_is_anchored_and_proven_with_no_network(
    stage: Stage, tmp_path: Path
) -> None:
    home, folder = load(stage.home), stage.home / "audit-anchored"
    node = home.bridge_subject("east")
    options = ["--audit", str(folder), "--node-key", node.name, "--home", str(stage.home)]
    over_streams = StdioServerParameters(
        command=sys.executable, args=["-m", "conclave", "mcp", "--stdio", *options]
    )
    log = anyio.run(_anchored, over_streams, stage)
    assert (log["node"], log["isLive"]) == (node.did, True)
    proof = tmp_path / "anchor.proof.json"
    stage.quietly("export", "proof", f"key/audit-anchor/{node.did}/{log['log']}", "-o", str(proof))
    given = ["audit", "verify", str(folder), "--anchor-proof", str(proof), "--genesis", str(home.genesis)]
    (judged,) = stage.quietly(*given)["logs"]
    assert (judged["marksMet"], judged["isClosed"], judged["kills"]) == (1, True, 0)
    (path,) = folder.glob("log-1/*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: log["anchored"]["count"] - 1]))
    assert stage.quietly("audit", "verify", str(folder))["verdict"] == "verified"
    assert stage.quietly(*given, status=EXIT_VERIFICATION)["verdict"] == "AUDIT_CUT"
