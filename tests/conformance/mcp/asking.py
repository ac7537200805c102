"""The suite's tools that ask the client back while they run: sampling and elicitation of 2025-11-25.

Owns what they ask. The product's own tools never do this: they hold no session and use no model of
the client's.
"""

from __future__ import annotations

import json

import mcp_types as types

from ledger.types import JsonObject
from tests.conformance.mcp.fixtures import Context, Result, ToolFixture, said

_CHOICES = ["active", "inactive", "pending"]
_DEFAULTS: JsonObject = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": _CHOICES, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}
_ENUMS: JsonObject = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            "oneOf": [{"const": f"value{i}", "title": f"Option {i}"} for i in (1, 2, 3)],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2"]}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": [{"const": f"value{i}", "title": f"Choice {i}"} for i in (1, 2)]},
        },
    },
}
_RESPONSE: JsonObject = {
    "type": "object",
    "properties": {"response": {"type": "string"}},
    "required": ["response"],
}


async def _sampling(ctx: Context, params: types.CallToolRequestParams) -> Result:
    text = str((params.arguments or {})["prompt"])
    asked = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    found = await ctx.session.create_message([asked], max_tokens=100, related_request_id=ctx.request_id)
    content = found.content
    assert isinstance(content, types.TextContent)
    return said(f"LLM response: {content.text}")


async def _elicit(ctx: Context, message: str, schema: JsonObject) -> Result:
    found = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return said(f"action={found.action}, content={json.dumps(found.content or {})}")


async def _elicitation(ctx: Context, params: types.CallToolRequestParams) -> Result:
    return await _elicit(ctx, str((params.arguments or {})["message"]), _RESPONSE)


async def _defaults(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    return await _elicit(ctx, "Please provide user information", _DEFAULTS)


async def _enums(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    return await _elicit(ctx, "Please select values", _ENUMS)


ASKING_TOOLS = (
    ToolFixture("test_sampling", _sampling, {"prompt": {"type": "string"}}),
    ToolFixture("test_elicitation", _elicitation, {"message": {"type": "string"}}),
    ToolFixture("test_elicitation_sep1034_defaults", _defaults),
    ToolFixture("test_elicitation_sep1330_enums", _enums),
)
