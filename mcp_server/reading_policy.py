"""What whoever reads may say: the policy of a reader, made of the catalogue itself.

Owns the policy of those nobody knows, and the same as an ``AgentPolicy`` for an agent that only reads.
Promises that it names every read tool and its arguments, and no tool that proposes. Pure.
"""

from __future__ import annotations

import functools

from ledger.agent_policy import AgentPolicy, read_policy
from ledger.types import Did, Json, JsonObject
from mcp_server.arguments import Field
from mcp_server.catalogue import TOOLS, Tool

POLL_SECONDS = 5
"""The same question again after so long is waiting, not a loop."""
BUDGET: JsonObject = {
    "calls": {"capacity": 300, "perSeconds": 60},
    "argumentBytes": {"capacity": 2**20, "perSeconds": 60},
    "answerBytes": {"capacity": 2**23, "perSeconds": 60},
    "objects": {"capacity": 8192, "perSeconds": 3600},
}
_INTEGER_MAX = 2**53 - 1
_TEXT_BYTES_MAX = 4096
_ITEM_BYTES_MAX = 256


def reading_policy(agent: str) -> JsonObject:
    """Give the spec of an ``AgentPolicy`` under which an agent reads everything and proposes nothing."""
    tools = [tool for tool in TOOLS if not tool.writes]
    return {
        "agent": agent,
        "tools": [_tool(tool) for tool in sorted(tools, key=lambda tool: tool.name)],
        "budget": BUDGET,
        "openProposalsMax": 0,
    }


@functools.cache
def reader_of(principal: Did) -> AgentPolicy:
    """Give the same, read. Called with names of this server's own only."""
    # Whoever is nobody has no DID that a policy could name.
    policy = read_policy(reading_policy("did:example:nobody"))
    return AgentPolicy(principal, policy.tools, policy.budget, policy.open_proposals_max)


def _tool(tool: Tool) -> JsonObject:
    rules = sorted((_rule(field) for field in tool.all_fields), key=lambda rule: str(rule["path"]))
    return {"tool": tool.name, "arguments": rules, "budget": BUDGET, "pollSeconds": POLL_SECONDS}


def _rule(field: Field) -> JsonObject:
    """Give the rule of a field: of its type; its own reading says the rest."""
    schema, path, kind = field.schema, field.name, field.schema.get("type")
    found: dict[str, Json]
    if kind == "array":
        found = {"path": f"{path}[]", "type": "text", "bytesMax": _ITEM_BYTES_MAX}
    elif kind == "boolean":
        found = {"path": path, "type": "boolean"}
    elif kind == "integer":
        bounds = {"atLeast": schema["minimum"], "atMost": schema.get("maximum", _INTEGER_MAX)}
        found = {"path": path, "type": "integer", **bounds}
    else:
        found = {"path": path, "type": "text", "bytesMax": schema.get("maxLength", _TEXT_BYTES_MAX)}
    return found | ({"required": True} if field.is_required else {})
