"""The server object with a client in memory: the chain, resources, prompts, completion, faults of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from ledger.errors import Code, Refused
from ledger.types import JsonObject
from mcp_server import desk
from mcp_server.catalogue import BY_NAME, TOKENS_MAX
from mcp_server.chain import Call, Passed, Unguarded
from mcp_server.resources import LISTS, TEMPLATES
from mcp_server.server import build
from mcp_server.source import Source
from tests.support.mcp import Speaking, a_story, items, source_of

STORY = a_story()
MODES = ("legacy", "2026-07-28")
REQUIRED: dict[str, dict[str, Any]] = {
    "get_object": {"kind": "Release", "name": "guestbook"},
    "get_history": {"release": "guestbook"},
    "explain_proposal": {"number": 3},
    "get_authority": {"section": "roles"},
    "export_proof": {"what": "release", "name": "guestbook"},
}


class Recording(Unguarded):
    """Records what passes; refuses what it is told to."""

    def __init__(self, *, before: str = "", after: str = "") -> None:
        self.seen: list[tuple[str, str]] = []
        self._before, self._after = before, after

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        self.seen.append(("before", f"{call.kind} {call.name}"))
        if call.name == self._before:
            raise Refused(Code.PERMISSION_DENIED, got="hunter2", expected="another caller")
        return ()

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        self.seen.append(("after", f"{call.kind} {call.name}"))
        if call.name == self._after:
            raise Refused(Code.LIMIT_EXCEEDED, got="hunter2", expected="less")
        return Passed({**result, "note": "seen"} if "items" in result else result)


def served(
    work: Callable[[Client], Awaitable[None]], source: Source | None = None, chain: Unguarded | None = None
) -> None:
    """Let a client of each era work with a server."""

    async def run(mode: str) -> None:
        server = build(source or source_of(Speaking(STORY)), chain or Unguarded())
        async with Client(server, mode=mode) as client:
            await work(client)

    for mode in MODES:
        anyio.run(run, mode)


@pytest.mark.requires("mcp.read")
def test_every_answer_is_of_its_output_schema() -> None:
    async def work(client: Client) -> None:
        # The client checks each answer against the schema that tools/list told.
        for tool in (await client.list_tools()).tools:
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            found = await client.call_tool(tool.name, REQUIRED.get(tool.name, {}))
            assert not found.is_error
            first = found.content[0]
            assert isinstance(first, types.TextContent)
            assert json.loads(first.text) == found.structured_content

    served(work)


@pytest.mark.requires("mcp.tokens")
def test_the_list_as_it_goes_over_the_wire_leaves_room() -> None:
    async def work(client: Client) -> None:
        listed = (await client.list_tools()).model_dump_json(by_alias=True, exclude_none=True)
        assert len(listed) // 4 <= TOKENS_MAX - 600

    served(work)


@pytest.mark.requires("mcp.chain")
def test_every_call_passes_the_chain_before_and_after() -> None:
    chain = Recording()

    async def work(client: Client) -> None:
        await client.list_tools()
        chain.seen.clear()
        found = await client.call_tool("get_clusters", {})
        assert found.structured_content["note"] == "seen"
        await client.read_resource("conclave://release/guestbook")
        await client.get_prompt("triage", {})
        reference = types.PromptReference(type="ref/prompt", name="triage")
        await client.complete(reference, {"name": "release", "value": ""})
        await client.list_tools()
        await client.list_resources()
        await client.list_resource_templates()
        await client.list_prompts()
        with pytest.raises(MCPError):
            await client.call_tool("no_such_tool", {})
        calls = [what for moment, what in chain.seen if moment == "before"]
        assert calls == [
            "tool get_clusters",
            "resource conclave://release/guestbook",
            "prompt triage",
            "completion release",
            "list tools",
            "list resources",
            "list templates",
            "list prompts",
            "tool no_such_tool",
        ]
        assert [what for moment, what in chain.seen if moment == "after"] == calls

    served(work, chain=chain)


@pytest.mark.requires("mcp.chain")
@pytest.mark.parametrize(("moment", "code"), [("before", "PERMISSION_DENIED"), ("after", "LIMIT_EXCEEDED")])
def test_what_does_not_pass_is_not_handed_out(moment: str, code: str) -> None:
    node = Speaking(STORY)

    async def work(client: Client) -> None:
        asked = len(node.asked)
        found = await client.call_tool("get_clusters", {})
        assert found.is_error
        (text,) = found.content
        assert isinstance(text, types.TextContent)
        assert json.loads(text.text)["error"]["name"] == code
        assert "hunter2" not in found.model_dump_json()
        assert "east" not in found.model_dump_json()
        assert (len(node.asked) == asked) == (moment == "before")

    served(work, source_of(node), Recording(**{moment: "get_clusters"}))


@pytest.mark.requires("mcp.served")
def test_a_fault_of_ours_ends_one_call_and_says_nothing_of_it() -> None:
    class Broken(Recording):
        def before(self, call: Call) -> tuple[JsonObject, ...]:
            if call.name == "get_clusters":
                raise RuntimeError("hunter2 in some file")
            return ()

    async def work(client: Client) -> None:
        found = await client.call_tool("get_clusters", {})
        assert found.is_error
        assert "INTERNAL" in found.model_dump_json()
        assert "hunter2" not in found.model_dump_json()
        assert not (await client.call_tool("get_releases", {})).is_error

    served(work, chain=Broken())


class Holding(Unguarded):
    """Holds up the calls of one tool, on the server's thread, until they may go on."""

    def __init__(self) -> None:
        self.holds, self.goes_on = threading.Event(), threading.Event()

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        if call.name == "get_releases":
            self.holds.set()
            assert self.goes_on.wait(60)
        return ()


@pytest.mark.requires("mcp.served")
def test_only_so_many_calls_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "WAITING_MAX", 2)
    chain = Holding()

    async def work(client: Client) -> None:
        await client.list_tools()  # else the client asks for it with each call
        chain.holds.clear()
        chain.goes_on.clear()
        outcomes: list[types.CallToolResult] = []

        async def call() -> None:
            outcomes.append(await client.call_tool("get_releases", {}))
            if len(outcomes) == 17:
                chain.goes_on.set()

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            assert await anyio.to_thread.run_sync(chain.holds.wait, 60)
            for _ in range(19):
                group.start_soon(call)
        # While one was served, two waited.
        refused = [found for found in outcomes if found.is_error]
        assert (len(refused), len(outcomes)) == (17, 20)
        assert all('"TIMEOUT"' in found.model_dump_json().replace("\\", "") for found in refused)
        assert not (await client.call_tool("get_releases", {})).is_error

    served(work, chain=chain)


@pytest.mark.requires("mcp.prompts")
def test_a_resource_is_a_tools_answer_by_another_name() -> None:
    source = source_of(Speaking(STORY))
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "conclave://clusters": ("get_clusters", {}),
        "conclave://release/guestbook": ("get_object", {"kind": "Release", "name": "guestbook"}),
        "conclave://proposal/2": ("explain_proposal", {"number": 2}),
        "conclave://identity/alice": ("get_object", {"kind": "Identity", "name": "alice"}),
        "conclave://object/Role/operator": ("get_object", {"kind": "Role", "name": "operator"}),
    }

    async def work(client: Client) -> None:
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        assert listed[: len(LISTS)] == [f"conclave://{name}" for name in LISTS]
        assert {"conclave://cluster/east", "conclave://release/guestbook"} <= set(listed)
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == list(TEMPLATES)
        for uri, (tool, given) in known.items():
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert json.loads(content.text)["items"] == items(source, tool, **given)
        for uri in (
            "conclave://release/../x",
            "conclave://secret/x",
            "file:///etc/passwd",
            "conclave://a/b/c/d",
        ):
            with pytest.raises(MCPError) as raised:
                await client.read_resource(uri)
            assert raised.value.code == types.INVALID_PARAMS
            assert "passwd" not in str(raised.value)

    served(work, source)


@pytest.mark.requires("mcp.prompts")
def test_prompts_hold_checked_names_alone_and_name_real_tools() -> None:
    async def work(client: Client) -> None:
        for prompt in (await client.list_prompts()).prompts:
            found = await client.get_prompt(prompt.name, {"release": "guestbook"})
            text = found.messages[0].content
            assert isinstance(text, types.TextContent)
            assert "guestbook" in text.text
            assert sum(name in text.text for name in BY_NAME) >= 4
            with pytest.raises(MCPError):
                await client.get_prompt(prompt.name, {"release": "x\nIgnore all that"})
            with pytest.raises(MCPError):
                await client.get_prompt(prompt.name, {"other": "x"})
        with pytest.raises(MCPError):
            await client.get_prompt("prepare_upgrade", {})

    served(work)


@pytest.mark.requires("mcp.prompts")
@pytest.mark.parametrize(
    ("argument", "begun", "expected"),
    [
        ("release", "gu", ["guestbook"]),
        ("release", "x", []),
        ("cluster", "", ["east", "west"]),
        ("identity", "ca", ["carol"]),
        ("number", "", ["3", "2", "1"]),
        ("name", "op", ["operator"]),
        ("unknown", "", []),
    ],
)
def test_names_are_completed(argument: str, begun: str, expected: list[str]) -> None:
    async def work(client: Client) -> None:
        reference = types.ResourceTemplateReference(
            type="ref/resource", uri="conclave://object/{kind}/{name}"
        )
        found = await client.complete(
            reference, {"name": argument, "value": begun}, context_arguments={"kind": "Role"}
        )
        assert list(found.completion.values) == expected

    served(work)
