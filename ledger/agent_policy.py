"""What one agent may say to which tool, and who watches over it: the ``AgentPolicy`` of the ledger.

Owns the record and its JSON form, which the machine checks when it is proposed and the guard of an MCP server
goes by. What no rule names is refused. Never judges a call. Source: docs/spec/mcp-guard.md §2, agents.md §1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from ledger import codec, shape
from ledger.agent_rules import ArgumentRule, ToolName, check_sorted, read_opaque_paths, read_rules
from ledger.codec import Limits
from ledger.limits import (
    AGENT_TOOLS_MAX,
    GUARDS_PER_AGENT_MAX,
    LOOP_CALLS_MAX,
    OPEN_PROPOSALS_MAX,
    RATE_CAPACITY_MAX,
    RATE_SECONDS_MAX,
)
from ledger.types import Did, Json, JsonObject


@dataclass(frozen=True, slots=True)
class Rate:
    """So much at once, and again so much evenly over so many seconds."""

    capacity: Annotated[int, Limits(at_most=RATE_CAPACITY_MAX)]
    per_seconds: Annotated[int, Limits(at_least=1, at_most=RATE_SECONDS_MAX)]


OPAQUE_CHARACTERS = Rate(1024, 3600)
IDENTIFIERS = Rate(256, 3600)
ALLOWED_CHARACTERS = Rate(2**20, 3600)
REFUSALS = Rate(60, 600)
TRIPS = Rate(3, 3600)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a principal may take of one tool, or of all."""

    calls: Rate
    argument_bytes: Rate
    answer_bytes: Rate
    objects: Rate


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """How often the same may come back, within so many calls and seconds, before it is named and refused."""

    window_calls: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 30
    window_seconds: Annotated[int, Limits(at_least=1, at_most=3600)] = 120
    same_warn_calls: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 4
    same_refuse_calls: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 6
    no_progress_warn_calls: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 5
    no_progress_refuse_calls: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 8
    ping_pong_warn_cycles: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 3
    ping_pong_refuse_cycles: Annotated[int, Limits(at_least=2, at_most=LOOP_CALLS_MAX)] = 4


@dataclass(frozen=True, slots=True)
class ExfiltrationLimits:
    """How much that looks random may leave: in one value, and by each principal over time."""

    value_characters_max: Annotated[int, Limits(at_most=2**20)] = 128
    opaque_characters: Rate = OPAQUE_CHARACTERS
    identifiers: Rate = IDENTIFIERS
    allowed_characters: Rate = ALLOWED_CHARACTERS
    answer_characters_max: Annotated[int, Limits(at_most=2**20)] = 4096


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """One tool: the arguments it may be given, its budget, where random-looking text belongs."""

    tool: ToolName
    arguments: Annotated[tuple[ArgumentRule, ...], read_rules]
    budget: Budget
    poll_seconds: Annotated[int | None, Limits(at_least=1, at_most=3600)] = None
    opens_proposal: bool = False
    opaque_paths: Annotated[tuple[str, ...], read_opaque_paths] = ()


def _tools(value: Json, where: str) -> tuple[ToolPolicy, ...]:
    items = shape.array(value, where, items_max=AGENT_TOOLS_MAX)
    tools = tuple(codec.read(ToolPolicy, v, f"{where}[{i}]") for i, v in enumerate(items))
    check_sorted(tuple(t.tool for t in tools), where)
    return tools


def _guards(value: Json, where: str) -> tuple[Did, ...]:
    items = shape.array(value, where, items_max=GUARDS_PER_AGENT_MAX)
    found = tuple(Did(shape.did(v, f"{where}[{i}]")) for i, v in enumerate(items))
    check_sorted(found, where)
    return found


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """All that one agent may say, to whom, how much and how often. What is not here is refused.

    Attributes:
        guards: the nodes whose MCP servers serve it, and may suspend it.
    """

    agent: Did
    tools: Annotated[tuple[ToolPolicy, ...], _tools]
    budget: Budget
    open_proposals_max: Annotated[int, Limits(at_most=OPEN_PROPOSALS_MAX)]
    loop: LoopLimits = field(default_factory=LoopLimits)
    exfiltration: ExfiltrationLimits = field(default_factory=ExfiltrationLimits)
    refusals: Rate = REFUSALS
    trips: Rate = TRIPS
    guards: Annotated[tuple[Did, ...], _guards] = ()

    def tool(self, name: str) -> ToolPolicy | None:
        """Give the policy of a tool, None where the agent has none."""
        return next((t for t in self.tools if t.tool == name), None)


def read_policy(value: Json, where: str = "spec") -> AgentPolicy:
    """Read the spec of an ``AgentPolicy``.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID or LIMIT_EXCEEDED with the field's path.
    """
    found = codec.read(AgentPolicy, value, where)
    _check_loop(found.loop, f"{where}.loop")
    return found


def to_json(policy: AgentPolicy) -> JsonObject:
    """Give the spec that reads back as this policy."""
    found: JsonObject = codec.to_json(policy)
    return found


def _check_loop(loop: LoopLimits, where: str) -> None:
    pairs = (
        ("sameRefuseCalls", loop.same_warn_calls, loop.same_refuse_calls),
        ("noProgressRefuseCalls", loop.no_progress_warn_calls, loop.no_progress_refuse_calls),
        ("pingPongRefuseCycles", loop.ping_pong_warn_cycles, loop.ping_pong_refuse_cycles),
    )
    for name, warn, refuse in pairs:
        if not warn <= refuse:
            raise shape.invalid(f"{where}.{name}", refuse, f"at least {warn}, when it is warned of")
