"""The one server object behind every transport and every revision of the protocol.

Owns the handlers. Promises that arguments are read by ``mcp_server.arguments`` and by nothing laxer, that a
tool's error comes back as a result a model can read, and that every list is in one order and holds what its
reader may use. Holds no state of a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ledger.types import JsonObject
from mcp_server import asking, prompts, resources
from mcp_server.answering import Caller, answer, tool_named
from mcp_server.catalogue import BY_NAME, TOOLS, Tool
from mcp_server.chain import Call, Chain, Principal
from mcp_server.desk import Desk, Done, Outcome, Work
from mcp_server.introduction import INSTRUCTIONS, NAME, package_version
from mcp_server.proposer import Proposer
from mcp_server.pruning import dump
from mcp_server.refusals import INTERNAL
from mcp_server.source import Source
from mcp_server.turn import Turn

PRINCIPAL_SCOPE_KEY = "conclave.principal"
"""Where who let a request in says whose it is."""
ERROR_META_KEY = "conclave.internal/error"
_READS = types.ToolAnnotations(read_only_hint=True)
_ASKS = types.ToolAnnotations(destructive_hint=False)
"""Of what only asks people: nothing becomes of it by itself."""
_Context = Any
_OURS = frozenset({INTERNAL, *range(500, 800)})
"""Codes of what a caller cannot mend: see ``ledger.errors.Code``."""


class Handlers:
    """What the server does for each request.

    Args:
        source: the ledger.
        chain: stands around every call.
        turn: in which calls are made.
        local: who calls where a request does not say; None for nobody.
        proposer: speaks for agents; None where the server only reads.
    """

    def __init__(
        self,
        source: Source,
        chain: Chain,
        turn: Turn | None,
        local: Principal | None,
        proposer: Proposer | None,
    ) -> None:
        self._source, self._chain, self._local, self._proposer = source, chain, local, proposer
        self._desk = Desk(chain, turn)

    async def list_tools(self, ctx: _Context, params: object) -> types.ListToolsResult:
        """List the tools that the caller may use."""
        del params
        caller = self._caller(ctx)
        speaks = self._speaks_for(caller)
        usable = [("tool", tool.name) for tool in TOOLS if speaks or not tool.writes]
        names = await self._listed(caller, "tools", lambda: usable)
        return types.ListToolsResult(tools=[listed_tool(BY_NAME[name]) for _, name in names])

    async def call_tool(
        self, ctx: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Call a tool; what only a person can say and is missing is asked for where the client can."""
        caller, tool = self._caller(ctx), BY_NAME.get(params.name)
        given = asking.filled(params, tool)
        # Who was asked and did not say it is not asked again.
        declared = None if params.input_responses else ctx.session.client_capabilities
        needed = asking.needed(tool, given, declared)
        can_ask = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        whole = asking.completed(tool, given)
        if needed is not None and can_ask and await self._may_ask(caller, params.name, whole):
            return needed
        call = _call(caller, "tool", params.name, given)
        found = await self._desk.serve(call, self._answering(params.name, given, caller))
        if params.name not in BY_NAME:
            _must(found)
        text = types.TextContent(type="text", text=dump(found.content))
        if found.is_error:
            meta = {**found.meta, ERROR_META_KEY: found.content.get("error")}
            return types.CallToolResult(content=[text], is_error=True, _meta=meta)
        return types.CallToolResult(content=[text], structured_content=found.content, _meta=found.meta)

    async def _may_ask(self, caller: Principal | None, name: str, given: dict[str, Any]) -> bool:
        """Tell whether a call would pass if it were whole: for one that would not, nobody is asked."""
        if not self._speaks_for(caller):
            return False

        def work() -> Done:
            return Done({"may": self._chain.shows(_call(caller, "tool", name, given))}, {})

        found = await self._desk.serve(_call(caller, "list", "inputs", None), work)
        return bool(_must(found)["may"])

    def _speaks_for(self, caller: Principal | None) -> bool:
        return self._proposer is not None and self._proposer.speaks_for(caller.did if caller else None)

    async def list_resources(self, ctx: _Context, params: object) -> types.ListResourcesResult:
        """List the resources that the caller may read."""
        del params
        about: dict[str, str] = {}

        def entries() -> list[tuple[str, str]]:
            about.update(resources.listed(self._source.view()))
            return [("resource", uri) for uri in about]

        found = await self._listed(self._caller(ctx), "resources", entries)
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=uri, name=uri, description=about[uri], mime_type="application/json")
                for _, uri in found
            ]
        )

    async def list_templates(self, ctx: _Context, params: object) -> types.ListResourceTemplatesResult:
        """List the URI templates of what the caller may read."""
        del params
        uris = {resources.sort_of(uri): uri for uri in resources.TEMPLATES}
        found = await self._listed(
            self._caller(ctx), "templates", lambda: [("template", sort) for sort in uris]
        )
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=uris[sort],
                    name=uris[sort],
                    description=resources.TEMPLATES[uris[sort]],
                    mime_type="application/json",
                )
                for _, sort in found
            ]
        )

    async def read_resource(
        self, ctx: _Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Read a resource."""
        uri = str(params.uri)

        def work() -> Done:
            return self._answering(*resources.tool_of(uri))()

        found = await self._desk.serve(_call(self._caller(ctx), "resource", uri, None), work)
        content = types.TextResourceContents(
            uri=uri, mime_type="application/json", text=dump(_must(found)), _meta=found.meta
        )
        return types.ReadResourceResult(contents=[content])

    async def list_prompts(self, ctx: _Context, params: object) -> types.ListPromptsResult:
        """List the prompts whose tools the caller may use."""
        del params
        caller = self._caller(ctx)
        found = await self._listed(caller, "prompts", lambda: [("prompt", name) for name in prompts.BY_NAME])
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=prompt.name,
                    description=prompt.description,
                    arguments=[
                        types.PromptArgument(name=field.name, required=field.is_required)
                        for field in prompt.fields
                    ],
                )
                for prompt in (prompts.BY_NAME[name] for _, name in found)
            ]
        )

    async def get_prompt(self, ctx: _Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """Give a prompt's text."""

        def work() -> Done:
            prompt = prompts.named(params.name)
            text = prompt.text(prompt.read(params.arguments))
            return Done({"description": prompt.description, "text": text}, {})

        call = _call(self._caller(ctx), "prompt", params.name, params.arguments)
        found = _must(await self._desk.serve(call, work))
        text = types.TextContent(type="text", text=found["text"])
        return types.GetPromptResult(
            description=found["description"], messages=[types.PromptMessage(role="user", content=text)]
        )

    async def complete(self, ctx: _Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Complete a name of what the caller may read."""
        argument, given = params.argument, {}
        if params.context is not None and params.context.arguments:
            given = dict(params.context.arguments)
        caller = self._caller(ctx)

        def work() -> Done:
            names = resources.completions(self._source.view(), argument.name, argument.value, given)
            shown = []
            for name in names:
                uri = resources.uri_of(argument.name, name, given)
                if uri is None or self._chain.shows(_call(caller, "resource", uri, None)):
                    shown.append(name)
            return Done({"names": shown}, {})

        call = _call(caller, "completion", argument.name, {"begun": argument.value})
        names = _must(await self._desk.serve(call, work))["names"]
        most = resources.COMPLETIONS_MAX
        return types.CompleteResult(
            completion=types.Completion(values=names[:most], total=len(names), has_more=len(names) > most)
        )

    async def _listed(
        self, caller: Principal | None, what: str, entries: Callable[[], Sequence[tuple[str, str]]]
    ) -> list[tuple[str, str]]:
        """Give those (kind, name) that the chain shows to the caller, in their order."""

        def work() -> Done:
            found = entries()
            shown = [entry for entry in found if self._chain.shows(_call(caller, *entry, None))]
            return Done({"listed": shown}, {})

        listed = _must(await self._desk.serve(_call(caller, "list", what, None), work))["listed"]
        return [(kind, name) for kind, name in listed]

    def _caller(self, ctx: _Context) -> Principal | None:
        if ctx.request is None:
            return self._local
        found: Principal | None = ctx.request.scope.get(PRINCIPAL_SCOPE_KEY)
        return found

    def _answering(self, tool: str, given: object, caller: Principal | None = None) -> Work:
        who = Caller(caller.did if caller else None, self._proposer)

        def work() -> Done:
            found = answer(self._source, tool_named(tool), given, caller=who)
            return Done(found.content, found.meta, found.shown)

        return work


def build(
    source: Source,
    chain: Chain,
    *,
    turn: Turn | None = None,
    local: Principal | None = None,
    proposer: Proposer | None = None,
) -> Server[Any]:
    """Give the server over a ledger; every call goes through ``chain``. Arguments as of ``Handlers``."""
    handlers = Handlers(source, chain, turn, local, proposer)
    return Server(
        NAME,
        version=package_version(),
        instructions=INSTRUCTIONS,
        get_tool_input_schema=lambda name: BY_NAME[name].input_schema if name in BY_NAME else None,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_completion=handlers.complete,
    )


def _call(caller: Principal | None, kind: str, name: str, given: object) -> Call:
    if caller is None:
        return Call(kind, name, given)
    return Call(kind, name, given, caller.did, caller.key_id)


def listed_tool(tool: Tool) -> types.Tool:
    """Give a tool as a client sees it."""
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=_ASKS if tool.writes else _READS,
    )


def _must(found: Outcome) -> JsonObject:
    if found.is_error:
        told = found.content["error"]
        code = types.INTERNAL_ERROR if told["code"] in _OURS else types.INVALID_PARAMS
        raise MCPError(code, str(told["name"]), told)
    return found.content
