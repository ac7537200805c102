"""The suite's tools that need more rounds: input-required results of 2026-07-28.

Owns what they need. What stands in ``requestState`` is sealed outside, as it is for the
product's own tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from ledger.types import JsonObject
from tests.conformance.mcp.fixtures import Answering, Context, Result, ToolFixture, said

Needs = dict[str, Any]


def form(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    """Ask a person for one field."""
    schema: JsonObject = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str) -> types.CreateMessageRequest:
    content = types.TextContent(type="text", text=text)
    message = types.SamplingMessage(role="user", content=content)
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=100)
    )


def filled(responses: Mapping[str, Any] | None, name: str, field: str) -> str | None:
    """Give a field of an accepted form; None where it is not (rightly) there."""
    found = (responses or {}).get(name)
    if not isinstance(found, types.ElicitResult) or found.action != "accept":
        return None
    value = (found.content or {}).get(field)
    return value if isinstance(value, str) else None


def _asking(needs: Needs, state: str | None, done: str) -> Answering:
    async def answer(ctx: Context, params: types.CallToolRequestParams) -> Result:
        del ctx
        given = params.input_responses or {}
        as_minted = state is None or params.request_state == state
        if as_minted and all(name in given and _fits(needs[name], given[name]) for name in needs):
            return said(done)
        return types.InputRequiredResult(input_requests=needs, request_state=state)

    return answer


def _fits(asked: object, given: object) -> bool:
    if isinstance(asked, types.ElicitRequest):
        assert isinstance(asked.params, types.ElicitRequestFormParams)
        fields = asked.params.requested_schema["required"]
        return isinstance(given, types.ElicitResult) and all(name in (given.content or {}) for name in fields)
    if isinstance(asked, types.CreateMessageRequest):
        return isinstance(given, types.CreateMessageResult)
    return isinstance(given, types.ListRootsResult)


async def _elicitation(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del ctx
    name = filled(params.input_responses, "user_name", "name")
    if name is not None:
        return said(f"Hello, {name}!")
    return types.InputRequiredResult(input_requests={"user_name": form("What is your name?", "name")})


async def _multi_round(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del ctx
    state = json.loads(params.request_state or '{"round":0}')
    if state["round"] == 1 and (name := filled(params.input_responses, "step1", "name")) is not None:
        return types.InputRequiredResult(
            input_requests={"step2": form("Step 2: What is your favorite color?", "color")},
            request_state=json.dumps({"round": 2, "name": name}),
        )
    if state["round"] == 2 and (color := filled(params.input_responses, "step2", "color")) is not None:
        return said(f"{state['name']} likes {color}.")
    return types.InputRequiredResult(
        input_requests={"step1": form("Step 1: What is your name?", "name")},
        request_state=json.dumps({"round": 1}),
    )


async def _tampered(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del ctx
    if params.request_state is not None:
        return said("state-ok")
    needs: Needs = {"confirm": form("Please confirm", "ok", "boolean")}
    return types.InputRequiredResult(input_requests=needs, request_state="round-1")


async def _capabilities(ctx: Context, params: types.CallToolRequestParams) -> Result:
    del params
    declared = ctx.session.client_capabilities
    needs: Needs = {}
    if declared is None or declared.sampling is not None:
        needs["sample"] = _sample("Say hello")
    if declared is None or declared.elicitation is not None:
        needs["ask"] = form("What is your name?", "name")
    return types.InputRequiredResult(input_requests=needs, request_state="capability-gated")


_CONFIRM: Needs = {"confirm": form("Please confirm", "ok", "boolean")}
_PREFIX = "test_input_required_result_"
ROUND_TOOLS = (
    ToolFixture("test_streaming_elicitation", _elicitation),
    ToolFixture(_PREFIX + "elicitation", _elicitation),
    ToolFixture(
        _PREFIX + "sampling",
        _asking({"capital_question": _sample("What is the capital of France?")}, None, "answered"),
    ),
    ToolFixture(
        _PREFIX + "list_roots", _asking({"client_roots": types.ListRootsRequest()}, None, "roots seen")
    ),
    ToolFixture(_PREFIX + "request_state", _asking(_CONFIRM, "request-state-nonce", "state-ok: confirmed")),
    ToolFixture(
        _PREFIX + "multiple_inputs",
        _asking(
            {
                "user_name": form("What is your name?", "name"),
                "greeting": _sample("Generate a greeting"),
                "client_roots": types.ListRootsRequest(),
            },
            "multiple-inputs",
            "All inputs received.",
        ),
    ),
    ToolFixture(_PREFIX + "multi_round", _multi_round),
    ToolFixture(_PREFIX + "tampered_state", _tampered),
    ToolFixture(_PREFIX + "capabilities", _capabilities),
)
