"""What one agent may say to which tool: the ``AgentPolicy`` of the ledger, read strictly.

Owns the record and its JSON form. What no rule names is refused. Never judges a call.
Source: docs/spec/mcp-guard.md §2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from ledger import codec, shape
from ledger.authority.patterns import read_patterns
from ledger.codec import Limits
from ledger.errors import Code, Refused
from ledger.types import Did, Json, JsonObject
from mcp_server.guard.buckets import Rate
from mcp_server.guard.limits import (
    ARGUMENT_BYTES_MAX,
    ARGUMENT_RULES_MAX,
    HISTORY_CALLS_MAX,
    OPAQUE_PATHS_MAX,
    PATH_BYTES_MAX,
    TOOL_NAME_BYTES_MAX,
    TOOLS_MAX,
)

_TOOL = re.compile(rf"[a-z][a-z0-9_]{{0,{TOOL_NAME_BYTES_MAX - 1}}}")
_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\[\])?(\.[A-Za-z][A-Za-z0-9_]*(\[\])?)*")
_OPAQUE = re.compile(r"(\*\*|\*|[-A-Za-z0-9_/]+)(\.(\*\*|\*|[-A-Za-z0-9_/]+))*")


def _patterns(value: Json, where: str) -> tuple[str, ...]:
    return read_patterns(value, where)


def _usual(value: Json, where: str) -> tuple[str, ...]:
    return read_patterns(value, where) if value != [] else ()


def _form(form: re.Pattern[str], bytes_max: int, expected: str) -> Callable[[Json, str], str]:
    def read_form(value: Json, where: str) -> str:
        text = shape.text(value, where, bytes_max=bytes_max)
        if not form.fullmatch(text):
            raise shape.invalid(where, value, expected)
        return text

    return read_form


def _opaque_paths(value: Json, where: str) -> tuple[str, ...]:
    read_path = _form(_OPAQUE, PATH_BYTES_MAX, "names, * and ** with dots between")
    items = shape.array(value, where, items_max=OPAQUE_PATHS_MAX)
    return _ordered(tuple(read_path(v, f"{where}[{i}]") for i, v in enumerate(items)), where)


def _ordered(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    if list(names) != sorted(set(names)):
        raise shape.invalid(where, list(names), "sorted, each once")
    return names


Patterns = Annotated[tuple[str, ...], _patterns]
Usual = Annotated[tuple[str, ...], _usual]
"""Patterns of what is nothing new; none where nothing is."""
Path = Annotated[str, _form(_PATH, PATH_BYTES_MAX, "names with dots between, [] for each item of a list")]


@dataclass(frozen=True, slots=True)
class NameRule:
    """A name in lower case (``name``), a kind (``kind``), a DID or a digest that a pattern covers."""

    path: Path
    type: str
    patterns: Patterns
    required: bool = False
    usual: Usual = ()


@dataclass(frozen=True, slots=True)
class TextRule:
    """Free text for people, of any language, without hidden or disguised characters."""

    path: Path
    type: str
    bytes_max: Annotated[int, Limits(at_least=1, at_most=ARGUMENT_BYTES_MAX)]
    required: bool = False


@dataclass(frozen=True, slots=True)
class IntegerRule:
    """A whole number in a range, both ends included."""

    path: Path
    type: str
    at_least: Annotated[int, Limits(at_least=-(2**53) + 1)]
    at_most: Annotated[int, Limits(at_least=-(2**53) + 1)]
    required: bool = False


@dataclass(frozen=True, slots=True)
class BooleanRule:
    """True or false."""

    path: Path
    type: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class ObjectsRule:
    """A list of Kubernetes objects of covered kinds in covered namespaces, as roles cover them."""

    path: Path
    type: str
    kinds: Patterns
    namespaces: Patterns
    items_max: Annotated[int, Limits(at_least=1, at_most=4096)]
    required: bool = False
    usual: Usual = ()


OPAQUE_CHARACTERS = Rate(1024, 3600)
IDENTIFIERS = Rate(256, 3600)
ALLOWED_CHARACTERS = Rate(2**20, 3600)
REFUSALS = Rate(60, 600)
TRIPS = Rate(3, 3600)

ArgumentRule = NameRule | TextRule | IntegerRule | BooleanRule | ObjectsRule
NAME_TYPES = ("name", "kind", "did", "digest")
_RECORDS: dict[str, type[ArgumentRule]] = {
    **dict.fromkeys(NAME_TYPES, NameRule),
    "text": TextRule,
    "integer": IntegerRule,
    "boolean": BooleanRule,
    "objects": ObjectsRule,
}


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

    window_calls: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 30
    window_seconds: Annotated[int, Limits(at_least=1, at_most=3600)] = 120
    same_warn_calls: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 4
    same_refuse_calls: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 6
    no_progress_warn_calls: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 5
    no_progress_refuse_calls: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 8
    ping_pong_warn_cycles: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 3
    ping_pong_refuse_cycles: Annotated[int, Limits(at_least=2, at_most=HISTORY_CALLS_MAX)] = 4


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

    tool: Annotated[str, _form(_TOOL, TOOL_NAME_BYTES_MAX, "a tool's name: lower case, digits, _")]
    arguments: tuple[ArgumentRule, ...]
    budget: Budget
    poll_seconds: Annotated[int | None, Limits(at_least=1, at_most=3600)] = None
    opens_proposal: bool = False
    opaque_paths: Annotated[tuple[str, ...], _opaque_paths] = ()


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """All that one agent may say, to whom, how much and how often. What is not here is refused."""

    agent: Did
    tools: tuple[ToolPolicy, ...]
    budget: Budget
    open_proposals_max: Annotated[int, Limits(at_most=256)]
    loop: LoopLimits = field(default_factory=LoopLimits)
    exfiltration: ExfiltrationLimits = field(default_factory=ExfiltrationLimits)
    refusals: Rate = REFUSALS
    trips: Rate = TRIPS

    def tool(self, name: str) -> ToolPolicy | None:
        """Give the policy of a tool, None where the agent has none."""
        return next((t for t in self.tools if t.tool == name), None)


R = TypeVar("R", NameRule, TextRule, IntegerRule, BooleanRule, ObjectsRule)


def read_policy(value: Json, where: str = "spec") -> AgentPolicy:
    """Read the spec of an ``AgentPolicy``.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID or LIMIT_EXCEEDED with the field's path.
    """
    found = codec.read(_WireAgent, value, where)
    tools = tuple(_read_tool(v, f"{where}.tools[{i}]") for i, v in enumerate(found.tools))
    _ordered(tuple(t.tool for t in tools), f"{where}.tools")
    _check_loop(found.loop, f"{where}.loop")
    return AgentPolicy(
        agent=found.agent,
        tools=tools,
        budget=found.budget,
        open_proposals_max=found.open_proposals_max,
        loop=found.loop,
        exfiltration=found.exfiltration,
        refusals=found.refusals,
        trips=found.trips,
    )


def to_json(policy: AgentPolicy) -> JsonObject:
    """Give the spec that reads back as this policy."""
    found: JsonObject = codec.to_json(policy)
    return found


def _object(value: Json, where: str) -> JsonObject:
    if type(value) is not dict:
        raise shape.invalid(where, value, "an object")
    return value


@dataclass(frozen=True, slots=True)
class _WireAgent:
    agent: Did
    tools: Annotated[tuple[Annotated[JsonObject, _object], ...], Limits(items_max=TOOLS_MAX)]
    budget: Budget
    open_proposals_max: Annotated[int, Limits(at_most=256)]
    loop: LoopLimits = field(default_factory=LoopLimits)
    exfiltration: ExfiltrationLimits = field(default_factory=ExfiltrationLimits)
    refusals: Rate = REFUSALS
    trips: Rate = TRIPS


@dataclass(frozen=True, slots=True)
class _WireTool:
    tool: Annotated[str, _form(_TOOL, TOOL_NAME_BYTES_MAX, "a tool's name: lower case, digits, _")]
    arguments: Annotated[tuple[Annotated[JsonObject, _object], ...], Limits(items_max=ARGUMENT_RULES_MAX)]
    budget: Budget
    poll_seconds: Annotated[int | None, Limits(at_least=1, at_most=3600)] = None
    opens_proposal: bool = False
    opaque_paths: Annotated[tuple[str, ...], _opaque_paths] = ()


def _read_tool(value: JsonObject, where: str) -> ToolPolicy:
    found = codec.read(_WireTool, value, where)
    rules = tuple(_read_rule(v, f"{where}.arguments[{i}]") for i, v in enumerate(found.arguments))
    _ordered(tuple(r.path for r in rules), f"{where}.arguments")
    _check_paths(rules, f"{where}.arguments")
    return ToolPolicy(
        tool=found.tool,
        arguments=rules,
        budget=found.budget,
        poll_seconds=found.poll_seconds,
        opens_proposal=found.opens_proposal,
        opaque_paths=found.opaque_paths,
    )


def _read_rule(value: JsonObject, where: str) -> ArgumentRule:
    if "type" not in value:
        at = f"{where}.type"
        raise Refused(Code.FIELD_MISSING, got="nothing", expected=at, field=at)
    record = _RECORDS[shape.choice(value["type"], f"{where}.type", _RECORDS)]
    rule = codec.read(record, value, where)
    if isinstance(rule, IntegerRule) and rule.at_least > rule.at_most:
        raise shape.invalid(f"{where}.atMost", rule.at_most, f"at least {rule.at_least}")
    return rule


def _check_paths(rules: tuple[ArgumentRule, ...], where: str) -> None:
    """Refuse a path that is a value by one rule and holds values by another."""
    paths = {r.path for r in rules}
    for path in paths:
        steps = path.replace("[]", ".[]").split(".")
        inner = {".".join(steps[:n]).replace(".[]", "[]") for n in range(1, len(steps))}
        if inner & paths:
            raise shape.invalid(where, path, "no path inside another")
    bases = {r.path for r in rules if isinstance(r, ObjectsRule) and r.path.endswith("[]")}
    if bases:
        raise shape.invalid(where, sorted(bases), "an objects rule names the list, without []")


def _check_loop(loop: LoopLimits, where: str) -> None:
    pairs = (
        ("sameRefuseCalls", loop.same_warn_calls, loop.same_refuse_calls),
        ("noProgressRefuseCalls", loop.no_progress_warn_calls, loop.no_progress_refuse_calls),
        ("pingPongRefuseCycles", loop.ping_pong_warn_cycles, loop.ping_pong_refuse_cycles),
    )
    for name, warn, refuse in pairs:
        if not warn <= refuse:
            raise shape.invalid(f"{where}.{name}", refuse, f"at least {warn}, when it is warned of")
