"""Are these the arguments that the agent's policy lets it give this tool?

Promises that every value is judged by exactly one rule: what no rule names is refused, and so is any other
type or spelling; and that leaving an argument out is no way round its patterns. Never converts, trims or
folds. Source: docs/spec/mcp-guard.md §2.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger import manifest, shape
from ledger.agent_policy import ToolPolicy
from ledger.agent_rules import ArgumentRule, BooleanRule, IntegerRule, NameRule, ObjectsRule, TextRule
from ledger.authority.patterns import ANY, NONE, any_matches, kind_matches
from ledger.authority.scope import kind_of_manifest
from ledger.errors import Code, Refused
from ledger.types import Json, JsonObject

_ITEMS_MAX = 4096
_FORMS = {
    "name": re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"),
    "kind": re.compile(r"[A-Z][A-Za-z0-9]{0,62}(\.[a-z0-9]([-a-z0-9.]{0,189}[a-z0-9])?)?"),
    "did": re.compile(r"did:[a-z0-9]{1,32}:[A-Za-z0-9._:%-]{1,220}"),
    "digest": re.compile(r"(sha256:)?[0-9a-f]{64}"),
    "image": re.compile(r"[a-z0-9][-A-Za-z0-9._:/@]{0,511}"),
}
_EXPECTED = {
    "name": "a name: lower-case letters, digits, - and .",
    "kind": "a kind: Kind or Kind.group",
    "did": "a DID",
    "digest": "64 lower-case hex digits",
    "image": "an image: registry/name@sha256:…",
}


class Touch(NamedTuple):
    """Something outside what is usual for the agent, to be flagged the first time."""

    path: str
    value: str


@dataclass(slots=True)
class _Node:
    """What may stand at a path: a value by one rule, the fields of an object, or the items of a list."""

    rule: ArgumentRule | None = None
    fields: dict[str, _Node] = field(default_factory=dict)
    items: _Node | None = None
    is_required: bool = False


def check(arguments: JsonObject, tool: ToolPolicy) -> list[Touch]:
    """Check arguments against a tool's rules; give what is allowed and outside the usual.

    Raises:
        Refused: FIELD_UNKNOWN, FIELD_MISSING, FIELD_INVALID, LIMIT_EXCEEDED, OBJECT_INVALID, SECRET_WITH_DATA
            or ARGUMENT_NOT_ALLOWED, each with the field's path.
    """
    found: list[Touch] = []
    _check_node(arguments, _compiled(tool.arguments, tool.opens_proposal), "arguments", found)
    return found


def check_value(value: Json, rule: ArgumentRule, where: str) -> None:
    """Check one value by one rule.

    Raises:
        Refused: as ``check``.
    """
    _CHECKS[type(rule)](value, rule, where, [])


@functools.lru_cache(maxsize=4096)
def _compiled(rules: tuple[ArgumentRule, ...], opens_proposal: bool) -> _Node:
    root = _Node()
    for rule in rules:
        # What a proposal leaves out is judged in what becomes of it (``reach``).
        is_bound = not opens_proposal and isinstance(rule, NameRule) and ANY not in rule.patterns
        at = root
        for step in rule.path.split("."):
            at = at.fields.setdefault(step.removesuffix("[]"), _Node())
            if step.endswith("[]"):
                at.is_required = at.is_required or is_bound
                at.items = at.items or _Node()
                at = at.items
        at.rule = rule
        at.is_required = rule.required or is_bound
    _mark_required(root)
    return root


def _mark_required(node: _Node) -> bool:
    """An object with a required field is required itself; a list may be empty."""
    inner = [_mark_required(n) for n in node.fields.values()]
    if node.items is not None:
        _mark_required(node.items)
    node.is_required = node.is_required or any(inner)
    return node.is_required


def _check_node(value: Json, node: _Node, where: str, found: list[Touch]) -> None:
    if node.rule is not None:
        _CHECKS[type(node.rule)](value, node.rule, where, found)
    elif node.items is not None:
        for number, item in enumerate(_items(value, where, _ITEMS_MAX)):
            _check_node(item, node.items, f"{where}[{number}]", found)
    else:
        if type(value) is not dict:
            raise _invalid(where, value, "an object")
        for name, inner in value.items():
            known = node.fields.get(name)
            if known is None:
                raise Refused(
                    Code.FIELD_UNKNOWN,
                    got="a field that no rule names",
                    expected=", ".join(sorted(node.fields)) or "no fields",
                    todo="leave the field out",
                    field=where,
                )
            _check_node(inner, known, f"{where}.{name}", found)
        for name, known in node.fields.items():
            if known.is_required and name not in value:
                at = f"{where}.{name}"
                todo = "name what the agent's policy covers" if type(known.rule) is NameRule else ""
                raise Refused(Code.FIELD_MISSING, got="nothing", expected=at, todo=todo, field=at)


def _check_name(value: Json, rule: NameRule, where: str, found: list[Touch]) -> None:
    if type(value) is not str or not _FORMS[rule.type].fullmatch(value) or ".." in value:
        raise _invalid(where, value, _EXPECTED[rule.type])
    if rule.type == "kind":
        # Whoever asks for a kind by a pattern gets none of those that have to be named.
        allowed = kind_matches(rule.patterns, value, "namespaced")
    else:
        allowed = any_matches(rule.patterns, value)
    if not allowed:
        raise not_allowed(where, "a value that the policy covers")
    if rule.usual and not any_matches(rule.usual, value):
        found.append(Touch(rule.path, value))


def _check_text(value: Json, rule: TextRule, where: str, _found: list[Touch]) -> None:
    if type(value) is not str:
        raise _invalid(where, value, "a text")
    if len(value) > rule.bytes_max or (not value.isascii() and len(value.encode()) > rule.bytes_max):
        raise Refused(
            Code.LIMIT_EXCEEDED, got="a longer text", expected=f"at most {rule.bytes_max} bytes", field=where
        )


def _check_integer(value: Json, rule: IntegerRule, where: str, _found: list[Touch]) -> None:
    if type(value) is not int:
        raise _invalid(where, value, "an integer")
    if not rule.at_least <= value <= rule.at_most:
        raise not_allowed(where, f"from {rule.at_least} to {rule.at_most}")


def _check_boolean(value: Json, _rule: BooleanRule, where: str, _found: list[Touch]) -> None:
    if type(value) is not bool:
        raise _invalid(where, value, "true or false")


def _check_objects(value: Json, rule: ObjectsRule, where: str, found: list[Touch]) -> None:
    for number, item in enumerate(_items(value, where, rule.items_max)):
        at = f"{where}[{number}]"
        _check_manifest(item, at)
        namespace = item["metadata"].get("namespace", NONE)
        kind = kind_of_manifest(item["apiVersion"], item["kind"])
        if not kind_matches(rule.kinds, kind, namespace):
            raise not_allowed(f"{at}.kind", "a kind that the policy covers")
        if not any_matches(rule.namespaces, namespace):
            raise not_allowed(f"{at}.metadata.namespace", "a namespace that the policy covers")
        if rule.usual and not any_matches(rule.usual, namespace):
            found.append(Touch(f"{rule.path}[].metadata.namespace", namespace))


def _check_manifest(item: Json, where: str) -> None:
    try:
        manifest.check(item, where)
    except Refused as refusal:
        field = refusal.facts.get("field", where)
        raise Refused(
            refusal.code,
            got="an object of another form",
            expected=refusal.expected,
            todo=refusal.todo,
            field=field,
        ) from None


def _items(value: Json, where: str, items_max: int) -> list[Json]:
    if type(value) is not list:
        raise _invalid(where, value, "a list")
    return shape.array(value, where, items_max=items_max)


_CHECKS: dict[type[ArgumentRule], Callable[[Json, Any, str, list[Touch]], None]] = {
    NameRule: _check_name,
    TextRule: _check_text,
    IntegerRule: _check_integer,
    BooleanRule: _check_boolean,
    ObjectsRule: _check_objects,
}


def _invalid(where: str, value: Json, expected: str) -> Refused:
    """Refuse a value by its type alone: what it says may be a secret."""
    return Refused(
        Code.FIELD_INVALID, got=_TYPES.get(type(value), "another value"), expected=expected, field=where
    )


_TYPES = {str: "a text", int: "an integer", float: "a fraction", bool: "true or false", type(None): "null"}
_TYPES |= {list: "a list", dict: "an object"}


def not_allowed(where: str, expected: str) -> Refused:
    """Make the refusal of what is outside an agent's policy; says where, not what."""
    return Refused(
        Code.ARGUMENT_NOT_ALLOWED,
        got="a value outside the agent's policy",
        expected=expected,
        todo="ask an operator to widen the agent's policy, or leave it",
        field=where,
    )
