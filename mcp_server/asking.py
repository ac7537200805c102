"""Asking back for what only a person can say: why something is wanted.

Owns which missing arguments are asked for (elicitation, as an input-required result of 2026-07-28). Promises
that what comes back is an argument like any other, read and judged like one, and never an approval: a client
answers for whoever it likes. Keeps no state between the rounds.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types

from ledger.types import JsonObject
from mcp_server.catalogue import Tool

FORM = "missing"
_ASKABLE = {"reason": "Why? People who approve will read it.", "text": "What did you see?"}


def needed(
    tool: Tool | None, given: object, declared: types.ClientCapabilities | None
) -> types.InputRequiredResult | None:
    """Give the question for what a call lacks; None where nothing askable is missing, or nobody can be asked.

    Args:
        tool: what is called.
        given: its arguments, unread.
        declared: what the client can do.
    """
    if tool is None or not tool.writes or declared is None or declared.elicitation is None:
        return None
    if not isinstance(given, dict | None):
        return None
    known = given or {}
    lacking = [field for field in tool.fields if field.is_required and field.name not in known]
    if not lacking or any(field.name not in _ASKABLE for field in lacking):
        return None
    schema: JsonObject = {
        "type": "object",
        "properties": {field.name: {**field.schema, "title": _ASKABLE[field.name]} for field in lacking},
        "required": [field.name for field in lacking],
    }
    params = types.ElicitRequestFormParams(message=f"{tool.name} needs to know:", requested_schema=schema)
    return types.InputRequiredResult(input_requests={FORM: types.ElicitRequest(params=params)})


def filled(params: types.CallToolRequestParams) -> dict[str, Any] | None:
    """Give a call's arguments, with what a form that was filled in says of those that were missing."""
    answered = (params.input_responses or {}).get(FORM)
    if not isinstance(answered, types.ElicitResult) or answered.action != "accept":
        return params.arguments
    more = {name: value for name, value in (answered.content or {}).items() if name in _ASKABLE}
    return more | (params.arguments or {})
