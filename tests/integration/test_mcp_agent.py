"""The whole way of a model's wish: proposed over MCP, approved by people, applied, seen and verified."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from conclave.demo.stage import CLUSTER, Stage
from conclave.home import load
from ledger.types import JsonObject
from tests.support.live import approve, release, running_ledger
from tests.support.manifests import config_map

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
AGENT, NAMESPACE = "scout", "default"
READ_S = 300


@pytest.fixture(autouse=True)
def _a_server_may_end_in_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the package gives a server 2 s to end before it sends signals."""
    monkeypatch.setattr("mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT", 60.0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("agent")
    with running_ledger(folder) as up:
        source = folder / "settings.yaml"
        source.write_text(json.dumps(config_map("settings", NAMESPACE, colour="blue")))
        release(up, "settings", str(source), "--namespace", NAMESPACE)
        node = load(up.home).bridge_subject(CLUSTER).name
        policy = folder / "policy.yaml"
        made = up.quietly("mcp", "policy", AGENT, "--propose", NAMESPACE, "--guard", node)
        policy.write_text(json.dumps(made))
        approve(up, up.quietly("propose", str(policy), "--as", "alice")["number"])
        yield up


def as_agent(stage: Stage, *options: str) -> StdioServerParameters:
    """Start a server over streams for the agent."""
    words = ["-m", "conclave", "mcp", "--stdio", "--as", AGENT, "--home", str(stage.home), *options]
    return StdioServerParameters(command=sys.executable, args=words)


async def one(client: Client, tool: str, **given: Any) -> JsonObject:
    """Call a tool; give its one entry."""
    found = await client.call_tool(tool, given)
    assert not found.is_error, found.model_dump_json()
    assert found.structured_content is not None
    (item,) = found.structured_content["items"]
    entry: JsonObject = item
    return entry


async def until(client: Client, wanted: dict[str, Any], tool: str, **given: Any) -> JsonObject:
    """Ask until the entry has what is wanted; as slowly as the policy asks for."""
    with anyio.fail_after(600):
        while True:
            found = await one(client, tool, **given)
            if wanted.items() <= found.items():
                return found
            await anyio.sleep(6)


@pytest.mark.requires("mcp.whole-way")
def test_a_models_wish_goes_the_whole_way(stage: Stage, tmp_path: Path) -> None:
    darker = config_map("settings", NAMESPACE, colour="black")

    async def work() -> JsonObject:
        async with Client(as_agent(stage), read_timeout_seconds=READ_S) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"get_releases", "propose_release", "request_change"} <= names
            await until(
                client, {"appliedRevision": 1, "health": "current"}, "get_releases", release="settings"
            )
            asked = await one(
                client, "propose_release", release="settings", reason="easier to read", objects=[darker]
            )
            assert (asked["state"], asked["nodeSays"]["missing"]["humans"]) == ("open", 2)
            number = asked["number"]
            shown = await one(client, "explain_proposal", number=number)
            # Words of others reach a model fenced.
            assert (shown["state"], shown["reason"].splitlines()[1]) == ("open", "| easier to read")
            for name in ("bob", "carol"):
                words = ("approve", str(number), "--as", name)
                await anyio.to_thread.run_sync(functools.partial(stage.quietly, *words))
            assert (await one(client, "explain_proposal", number=number))["state"] == "final"
            healthy = {"revision": 2, "appliedRevision": 2, "health": "current"}
            await until(client, healthy, "get_releases", release="settings")
            proof = await one(client, "export_proof", what="release", name="settings")
            withdrawn = await one(
                client, "request_change", operation="rollback", release="settings", toRevision=1, reason="no"
            )
            assert (await one(client, "withdraw_proposal", number=withdrawn["number"]))["state"] == "rejected"
            return proof

    proof = anyio.run(work)
    live = stage.look("ConfigMap", "settings", NAMESPACE)
    assert live is not None
    assert live["data"] == {"colour": "black"}
    file = tmp_path / "settings.proof.json"
    # What the answer tells a person to run, with this file's name.
    words = str(proof["export"]).replace("FILE", str(file)).split()
    stage.quietly(*words[1:])
    told = stage.quietly("verify", str(file), "--genesis", str(load(stage.home).genesis))
    proven = told["release"]
    assert (told["verdict"], proven["name"], proven["revision"]) == ("verified", "settings", 2)
    assert [item["data"] for item in proven["manifests"]] == [{"colour": "black"}]
    (trail,) = told["proposals"]
    said = {(voice["act"], voice["name"]) for voice in trail["voices"] if voice["counted"]}
    assert said == {("proposed", AGENT), ("approved", "bob"), ("approved", "carol")}


def _suspensions(stage: Stage) -> list[JsonObject]:
    found: list[JsonObject] = stage.quietly("get", "suspensions")["items"]
    return found


@pytest.mark.requires("mcp.whole-way")
def test_an_agent_that_trips_the_guard_is_cut_off_by_the_ledger(stage: Stage) -> None:
    node = load(stage.home).bridge_subject(CLUSTER).name

    async def work() -> None:
        server = as_agent(stage, "--node-key", node, "--audit", str(stage.home / "audit-tripped"))
        async with Client(server, read_timeout_seconds=READ_S) as client:
            for _ in range(40):
                found = await client.call_tool("get_object", {"kind": "Role", "name": "a" * 63})
                if "AGENT_SUSPENDED" in found.model_dump_json():
                    break
            await anyio.to_thread.run_sync(
                lambda: stage.until("the ledger has it", lambda: _suspensions(stage) != [], READ_S)
            )

    anyio.run(work)
    (suspended,) = _suspensions(stage)
    assert load(stage.home).subject(AGENT).did in json.dumps(suspended)
    removed = stage.quietly("remove", f"Suspension/{AGENT}", "--as", "alice")
    approve(stage, removed["number"])
    # Whoever answers next may be a block behind.
    stage.until("the suspension gone", lambda: not _suspensions(stage))
