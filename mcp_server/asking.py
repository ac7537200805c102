"""Asking back for what only a person can say: why something is wanted.

Owns which missing arguments are asked for (elicitation, as an input-required result of 2026-07-28). Promises
that what comes back is an argument like any other, read and judged like one, and never an approval: a client
answers for whoever it likes, and that nobody is asked for a call that the guard would refuse however it were
completed. Keeps no state between the rounds: one that comes back was never given out.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types

from ledger.types import JsonObject
from mcp_server.arguments import Field
from mcp_server.catalogue import Tool

FORM = "missing"
STRANGE = frozenset({"inputResponses", "requestState"})
"""What a client sends beside its arguments, under these names where nobody asked for it."""
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
    if tool is None or declared is None or declared.elicitation is None:
        return None
    if not isinstance(given, dict | None):
        return None
    missing = lacking(tool, given or {})
    if not missing or STRANGE & (given or {}).keys():
        return None
    schema: JsonObject = {
        "type": "object",
        "properties": {field.name: {**field.schema, "title": _ASKABLE[field.name]} for field in missing},
        "required": [field.name for field in missing],
    }
    params = types.ElicitRequestFormParams(message=f"{tool.name} needs to know:", requested_schema=schema)
    return types.InputRequiredResult(input_requests={FORM: types.ElicitRequest(params=params)})


def filled(params: types.CallToolRequestParams, tool: Tool | None) -> dict[str, Any] | None:
    """Give a call's arguments, with what a form that was filled in says of those that were asked for.

    What nobody asked for (another form, another field, one that was given already, a state) is no argument of
    any tool: it is put beside them by its own name, where the guard finds it and refuses the call.
    """
    given = dict(params.arguments or {})
    asked = {field.name for field in lacking(tool, given)}
    more: dict[str, Any] = {}
    strange: dict[str, Any] = {}
    for name, answered in (params.input_responses or {}).items():
        content = answered.content or {} if isinstance(answered, types.ElicitResult) else None
        if name != FORM or content is None or not asked.issuperset(content):
            strange["inputResponses"] = sorted(params.input_responses or {})
        elif isinstance(answered, types.ElicitResult) and answered.action == "accept":
            more |= content
    if params.request_state is not None:
        strange["requestState"] = params.request_state
    return {**more, **given, **strange} if more or strange else params.arguments


def completed(tool: Tool | None, given: dict[str, Any] | None) -> dict[str, Any]:
    """Give a call's arguments with something in place of what is asked for, to judge the rest by."""
    return {**{field.name: "?" for field in lacking(tool, given or {})}, **(given or {})}


def lacking(tool: Tool | None, given: dict[str, Any]) -> list[Field]:
    """Give the fields that a call lacks, where all of them can be asked for."""
    if tool is None or not tool.writes:
        return []
    found = [field for field in tool.fields if field.is_required and field.name not in given]
    return found if all(field.name in _ASKABLE for field in found) else []
