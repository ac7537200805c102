"""Policies to begin with, made of the catalogue itself: of who reads, and of who proposes too.

Owns the policy of those nobody knows, the same as an ``AgentPolicy`` for an agent that only reads, and one
for an agent that proposes within a scope. Promises that each names every tool it is for with all its
arguments but ``inline``, that the first names no tool that writes, and that the other lets no proposal reach
a release, namespace, cluster, kind or image outside its scope, by whatever argument it is asked for
(``mcp_server.guard.reach``). No proof comes with its file, and none is of a state key by name: whoever wants
to allow that adds the rules. Pure.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.agent_policy import AgentPolicy, read_policy
from ledger.types import Did, Json, JsonObject
from mcp_server.arguments import Field
from mcp_server.catalogue import TOOLS, Tool
from mcp_server.edits import EDITS_MAX

POLL_SECONDS = 5
"""The same question again after so long is waiting, not a loop."""
BUDGET: JsonObject = {
    "calls": {"capacity": 300, "perSeconds": 60},
    "argumentBytes": {"capacity": 2**20, "perSeconds": 60},
    "answerBytes": {"capacity": 2**23, "perSeconds": 60},
    "objects": {"capacity": 8192, "perSeconds": 3600},
}
ASKING: JsonObject = {
    "calls": {"capacity": 20, "perSeconds": 3600},
    "argumentBytes": {"capacity": 2**20, "perSeconds": 3600},
    "answerBytes": {"capacity": 2**20, "perSeconds": 3600},
    "objects": {"capacity": 256, "perSeconds": 3600},
}
OPEN_PROPOSALS_MAX = 4
_INTEGER_MAX = 2**53 - 1
_TEXT_BYTES_MAX = 4096
_ITEM_BYTES_MAX = 256
_KEPT_BACK = ("export_proof", "inline")
"""A proof file holds all of what it proves, whatever the rules of other tools leave out."""
_NARROWED: dict[tuple[str, str], JsonObject] = {
    ("export_proof", "what"): {"type": "name", "patterns": ["headers", "proposal", "release"]},
}
"""A state key names anything there is, past every pattern."""


def reading_policy(agent: str) -> JsonObject:
    """Give the spec of an ``AgentPolicy`` under which an agent reads everything and proposes nothing."""
    tools = [tool for tool in TOOLS if not tool.writes]
    return {
        "agent": agent,
        "tools": [_tool(tool) for tool in sorted(tools, key=lambda tool: tool.name)],
        "budget": BUDGET,
        "openProposalsMax": 0,
    }


@dataclass(frozen=True, slots=True)
class Scope:
    """What an agent may propose for: patterns, each list sorted (docs/spec/authority.md §1).

    Attributes:
        images: of those that a proposal brings in; a prefix ends where a name does: ``registry.internal/*``.
    """

    namespaces: Sequence[str]
    clusters: Sequence[str]
    kinds: Sequence[str]
    releases: Sequence[str] = ("*",)
    images: Sequence[str] = ("*",)


def proposing_policy(agent: str, scope: Scope, guards: Sequence[str]) -> JsonObject:
    """Give the spec of an ``AgentPolicy`` under which an agent reads, and proposes within ``scope``.

    Args:
        agent: its DID.
        scope: what for.
        guards: DIDs of the nodes that may suspend it.
    """
    found = reading_policy(agent)
    asking = [
        {
            "tool": tool.name,
            "arguments": _asking(tool, scope),
            "budget": ASKING,
            "opensProposal": tool.opens_proposal,
        }
        for tool in TOOLS
        if tool.writes
    ]
    tools = sorted([*found["tools"], *asking], key=lambda tool: str(tool["tool"]))
    return {**found, "tools": tools, "openProposalsMax": OPEN_PROPOSALS_MAX, "guards": sorted(guards)}


def _asking(tool: Tool, scope: Scope) -> list[JsonObject]:
    rules = {str(rule["path"]): rule for field in tool.fields for rule in _plain(field)}
    reached = _reached(scope)
    if tool.opens_proposal:
        # Those that are no arguments of the tool judge what becomes of its proposal.
        rules |= reached
    elif "release" in rules:
        rules["release"] |= {"type": "name", "patterns": list(scope.releases)}
        rules["release"].pop("bytesMax")
    for field in tool.fields:
        if field.is_required and field.name in rules:
            rules[field.name]["required"] = True
    return [rules[path] for path in sorted(rules)]


def _reached(scope: Scope) -> dict[str, JsonObject]:
    kinds, namespaces = list(scope.kinds), list(scope.namespaces)
    objects = {"type": "objects", "kinds": kinds, "namespaces": namespaces, "itemsMax": EDITS_MAX}
    found: list[JsonObject] = [
        {"path": "release", "type": "name", "patterns": list(scope.releases)},
        {"path": "namespace", "type": "name", "patterns": namespaces},
        {"path": "clusters[]", "type": "name", "patterns": list(scope.clusters)},
        {"path": "images[].image", "type": "image", "patterns": list(scope.images)},
        {"path": "objects", **objects},
    ]
    return {str(rule["path"]): rule for rule in found}


def _plain(field: Field) -> list[JsonObject]:
    items = field.schema.get("items", {})
    if "properties" in items:
        return [
            {"path": f"{field.name}[].{name}", "type": "text", "bytesMax": inner["maxLength"]}
            for name, inner in items["properties"].items()
        ]
    if items.get("type") == "string":
        return [{"path": f"{field.name}[]", "type": "text", "bytesMax": items["maxLength"]}]
    # Whole objects have a rule of their own.
    return [] if items else [_rule(field)]


@functools.cache
def reader_of(principal: Did) -> AgentPolicy:
    """Give the same, read. Called with names of this server's own only."""
    # Whoever is nobody has no DID that a policy could name.
    policy = read_policy(reading_policy("did:example:nobody"))
    return AgentPolicy(principal, policy.tools, policy.budget, policy.open_proposals_max)


def _tool(tool: Tool) -> JsonObject:
    rules = [_rule_of(tool, field) for field in tool.all_fields if (tool.name, field.name) != _KEPT_BACK]
    rules.sort(key=lambda rule: str(rule["path"]))
    return {"tool": tool.name, "arguments": rules, "budget": BUDGET, "pollSeconds": POLL_SECONDS}


def _rule_of(tool: Tool, field: Field) -> JsonObject:
    narrowed = _NARROWED.get((tool.name, field.name))
    if narrowed is None:
        return _rule(field)
    return {"path": field.name, **narrowed} | ({"required": True} if field.is_required else {})


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
