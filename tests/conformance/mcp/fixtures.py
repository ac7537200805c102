"""What the conformance suite wants to find: its tools, resources and prompts.

Owns their contents and nothing of how they are served. Names, texts and schemas are the suite's
(``@modelcontextprotocol/conformance``, its ``everything`` servers).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from ledger.errors import Code, Refused
from ledger.types import JsonObject

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
AUDIO = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

Context = ServerRequestContext[Any, Any]
Result = types.CallToolResult | types.InputRequiredResult
Answering = Callable[[Context, types.CallToolRequestParams], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class ToolFixture:
    """A tool and what answers it."""

    name: str
    answer: Answering
    properties: JsonObject = field(default_factory=dict)

    def listed(self) -> types.Tool:
        """Give the tool as a client sees it."""
        schema = {
            "type": "object",
            "properties": self.properties,
            "required": sorted(self.properties),
            "additionalProperties": False,
        }
        return types.Tool(name=self.name, description=f"Fixture {self.name}", input_schema=schema)


def said(text: str) -> types.CallToolResult:
    """Give a result of one text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def _holding(*content: types.ContentBlock) -> Answering:
    async def answer(ctx: Context, params: types.CallToolRequestParams) -> Result:
        del ctx, params
        return types.CallToolResult(content=list(content))

    return answer


def _resource(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    held = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=held)


async def _logging(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    for step in ("started", "processing data", "completed"):
        await ctx.session.send_log_message(
            "info", f"Tool execution {step}", related_request_id=ctx.request_id
        )
    return said("Tool with logging executed successfully")


async def _progress(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
    return said("done")


async def _mirrored(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del ctx
    return said(f"region={(params.arguments or {})['region']}")


async def _failing(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del ctx, params
    raise Refused(Code.FIELD_INVALID, got="a fixture", expected="nothing: this tool always refuses")


async def _needing_sampling(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "the client's sampling capability is needed",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return said("The client declared sampling.")


_PICTURE = types.ImageContent(type="image", data=IMAGE, mime_type="image/png")
PLAIN_TOOLS = (
    ToolFixture(
        "test_simple_text",
        _holding(types.TextContent(type="text", text="This is a simple text response for testing.")),
    ),
    ToolFixture("test_image_content", _holding(_PICTURE)),
    ToolFixture(
        "test_audio_content", _holding(types.AudioContent(type="audio", data=AUDIO, mime_type="audio/wav"))
    ),
    ToolFixture(
        "test_embedded_resource",
        _holding(
            _resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
        ),
    ),
    ToolFixture(
        "test_multiple_content_types",
        _holding(
            types.TextContent(type="text", text="Multiple content types test:"),
            _PICTURE,
            _resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        ),
    ),
    ToolFixture("test_tool_with_logging", _logging),
    ToolFixture("test_logging_tool", _logging),
    ToolFixture("test_tool_with_progress", _progress),
    ToolFixture("test_error_handling", _failing),
    ToolFixture("test_missing_capability", _needing_sampling),
    ToolFixture("test_x_mcp_header", _mirrored, {"region": {"type": "string", "x-mcp-header": "Region"}}),
)

RESOURCES: dict[str, types.TextResourceContents | types.BlobResourceContents] = {
    "test://static-text": types.TextResourceContents(
        uri="test://static-text",
        mime_type="text/plain",
        text="This is the content of the static text resource.",
    ),
    "test://static-binary": types.BlobResourceContents(
        uri="test://static-binary", mime_type="image/png", blob=IMAGE
    ),
    "test://watched-resource": types.TextResourceContents(
        uri="test://watched-resource", mime_type="text/plain", text="Watched resource content"
    ),
}
TEMPLATE = "test://template/{id}/data"


def resource(uri: str) -> types.TextResourceContents | types.BlobResourceContents:
    """Give a resource's contents.

    Raises:
        MCPError: there is none of this name.
    """
    if uri in RESOURCES:
        return RESOURCES[uri]
    before, after = TEMPLATE.split("{id}")
    name = uri.removeprefix(before).removesuffix(after)
    if uri != f"{before}{name}{after}" or not name:
        raise MCPError(types.INVALID_PARAMS, "there is no such resource", {"uri": uri})
    text = json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})
    return types.TextResourceContents(uri=uri, mime_type="application/json", text=text)


PROMPTS = (
    types.Prompt(name="test_simple_prompt", description="No arguments"),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="Two arguments",
        arguments=[types.PromptArgument(name=name, required=True) for name in ("arg1", "arg2")],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="A resource inside",
        arguments=[types.PromptArgument(name="resourceUri", required=True)],
    ),
    types.Prompt(name="test_prompt_with_image", description="A picture inside"),
    types.Prompt(name="test_input_required_result_prompt", description="Asks back"),
)


def prompt(name: str, arguments: dict[str, str]) -> list[types.ContentBlock]:
    """Give what a prompt says.

    Raises:
        MCPError: there is none of this name, or an argument is missing.
    """
    try:
        return _prompt(name, arguments)
    except KeyError as missing:
        raise MCPError(types.INVALID_PARAMS, f"missing: {missing.args[0]}") from None


def _prompt(name: str, given: dict[str, str]) -> list[types.ContentBlock]:
    match name:
        case "test_simple_prompt":
            return [types.TextContent(type="text", text="This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            text = f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"
            return [types.TextContent(type="text", text=text)]
        case "test_prompt_with_embedded_resource":
            return [
                _resource(given["resourceUri"], "text/plain", "Embedded resource content for testing."),
                types.TextContent(type="text", text="Please process the embedded resource above."),
            ]
        case "test_prompt_with_image":
            return [_PICTURE, types.TextContent(type="text", text="Please analyze the image above.")]
    raise MCPError(types.INVALID_PARAMS, "there is no such prompt")
