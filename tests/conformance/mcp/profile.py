"""The fixtures behind our own desk and chain, as a server object like the product's.

Owns the handlers of the fixtures profile. Promises that whatever the suite calls, reads or asks for passes
the same desk and the same chain as a call of the product's, both ways.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio.from_thread
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from ledger.types import JsonObject
from mcp_server.chain import Call, Chain, Principal
from mcp_server.desk import Desk, Done
from mcp_server.server import PRINCIPAL_SCOPE_KEY
from mcp_server.turn import Turn
from tests.conformance.mcp import fixtures, rounds
from tests.conformance.mcp.asking import ASKING_TOOLS
from tests.conformance.mcp.fixtures import PLAIN_TOOLS, Context, Result
from tests.conformance.mcp.rounds import ROUND_TOOLS

NAME = "conclave-conformance"
TOOLS = (*PLAIN_TOOLS, *ASKING_TOOLS, *ROUND_TOOLS)
_BY_NAME = {tool.name: tool for tool in TOOLS}
AS_TOOLS = {"read_fixture": ("uri",), "get_fixture": ("name", "arg1", "arg2", "resourceUri")}
"""Resources and prompts pass the chain as these tools, by which their arguments are judged too."""
_RESULTS: dict[str, type[types.Result]] = {
    "get_fixture": types.GetPromptResult,
    "read_fixture": types.ReadResourceResult,
}


class FixtureHandlers:
    """What the profile does for each request."""

    def __init__(self, chain: Chain, turn: Turn) -> None:
        self._desk = Desk(chain, turn)

    async def list_tools(self, ctx: Context, params: object) -> types.ListToolsResult:
        """List the tools."""
        del ctx, params
        return types.ListToolsResult(tools=[tool.listed() for tool in TOOLS])

    async def call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        """Call a tool."""
        tool = _BY_NAME.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, "there is no such tool")
        call = _call(ctx, params.name, params.arguments)
        found = await self._served(call, lambda: tool.answer(ctx, params))
        if isinstance(found, types.CallToolResult | types.InputRequiredResult):
            return found
        text = types.TextContent(type="text", text=str(found))
        return types.CallToolResult(content=[text], is_error=True)

    async def list_resources(self, ctx: Context, params: object) -> types.ListResourcesResult:
        """List resources."""
        del ctx, params
        listed = [
            types.Resource(uri=uri, name=uri, mime_type=found.mime_type)
            for uri, found in fixtures.RESOURCES.items()
        ]
        return types.ListResourcesResult(resources=listed)

    async def list_templates(self, ctx: Context, params: object) -> types.ListResourceTemplatesResult:
        """List URI templates."""
        del ctx, params
        template = types.ResourceTemplate(uri_template=fixtures.TEMPLATE, name="template")
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Read a resource."""
        uri = str(params.uri)

        async def answer() -> types.ReadResourceResult:
            return types.ReadResourceResult(contents=[fixtures.resource(uri)])

        found = await self._served(_call(ctx, "read_fixture", {"uri": uri}), answer)
        assert isinstance(found, types.ReadResourceResult)
        return found

    async def subscription(self, ctx: Context, params: object) -> types.EmptyResult:
        """Take note of a subscription, or of its end."""
        del ctx, params
        return types.EmptyResult()

    async def list_prompts(self, ctx: Context, params: object) -> types.ListPromptsResult:
        """List the prompts."""
        del ctx, params
        return types.ListPromptsResult(prompts=list(fixtures.PROMPTS))

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """Give a prompt's text."""

        async def answer() -> types.GetPromptResult | types.InputRequiredResult:
            given = dict(params.arguments or {})
            if params.name != "test_input_required_result_prompt":
                return _prompted(fixtures.prompt(params.name, given))
            context = rounds.filled(params.input_responses, "user_context", "context")
            if context is None:
                needs: rounds.Needs = {"user_context": rounds.form("What context?", "context")}
                return types.InputRequiredResult(input_requests=needs)
            return _prompted([types.TextContent(type="text", text=f"Use this context: {context}")])

        found = await self._served(
            _call(ctx, "get_fixture", {"name": params.name, **(params.arguments or {})}), answer
        )
        assert isinstance(found, types.GetPromptResult | types.InputRequiredResult)
        return found

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Complete nothing."""
        del ctx, params
        return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))

    async def _served(self, call: Call, answer: Callable[[], Awaitable[types.Result]]) -> object:
        """Give what the chain hands out of an answer; the error's JSON where it refused one.

        Raises:
            MCPError: the fixture's own.
        """
        raised: list[MCPError] = []

        async def begun() -> JsonObject:
            try:
                return (await answer()).model_dump(mode="json", by_alias=True, exclude_none=True)
            except MCPError as error:
                raised.append(error)
                return {}

        found = await self._desk.serve(call, lambda: Done(anyio.from_thread.run(begun), {}))
        if raised:
            raise raised[0]
        if found.is_error:
            return found.content["error"]
        needs_more = found.content.get("resultType") == "input_required"
        kind = types.InputRequiredResult if needs_more else _RESULTS.get(call.name, types.CallToolResult)
        return kind.model_validate(found.content)


def _call(ctx: Context, name: str, given: object) -> Call:
    assert ctx.request is not None, "the profile is served over HTTP"
    caller: Principal = ctx.request.scope[PRINCIPAL_SCOPE_KEY]
    return Call("tool", name, given, caller.did, caller.key_id)


def _prompted(content: list[types.ContentBlock]) -> types.GetPromptResult:
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=block) for block in content]
    )


async def _logging_level(ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    del ctx, params
    return types.EmptyResult()


def build(chain: Chain, turn: Turn) -> Server[Any]:
    """Give the server; every call goes through ``chain``, in ``turn``."""
    handlers = FixtureHandlers(chain, turn)
    with warnings.catch_warnings():
        # The older revision's suite asks for logging, which the newer one deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        server: Server[Any] = Server(
            NAME,
            version="1",
            get_tool_input_schema=lambda name: (
                _BY_NAME[name].listed().input_schema if name in _BY_NAME else None
            ),
            on_list_tools=handlers.list_tools,
            on_call_tool=handlers.call_tool,
            on_list_resources=handlers.list_resources,
            on_list_resource_templates=handlers.list_templates,
            on_read_resource=handlers.read_resource,
            on_subscribe_resource=handlers.subscription,
            on_unsubscribe_resource=handlers.subscription,
            on_list_prompts=handlers.list_prompts,
            on_get_prompt=handlers.get_prompt,
            on_completion=handlers.complete,
            on_set_logging_level=_logging_level,
        )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server
