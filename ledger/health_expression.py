"""Health rules of custom kinds, as operators sign them: JMESPath, restricted.

Owns which expressions may be signed. Promises that what passes takes time and memory in proportion to its own
length times the object's size, and gives true or not: no part of it can build anything larger than what it
reads. Never evaluates: only a bridge has an object to look at (``k8s_bridge.custom_health``).

Source: docs/spec/releases.md §1; https://jmespath.org/specification.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from ledger import shape
from ledger.authority.scope import kind_of_manifest
from ledger.limits import HEALTH_EXPRESSION_BYTES_MAX, HEALTH_RULES_PER_RELEASE_MAX
from ledger.types import Json, JsonObject

DEPTH_MAX = 16
"""Brackets and negations of one expression: the parser recurses into each."""
_NODES = frozenset(
    {
        "and_expression",
        "comparator",
        "current_node",
        "current",
        "field",
        "filter_projection",
        "function_expression",
        "identity",
        "index",
        "index_expression",
        "literal",
        "not_expression",
        "or_expression",
        "pipe",
        "projection",
        "subexpression",
        "value_projection",
    }
)
"""No list or object is made anew (multi-select, flatten, slice) and nothing is sorted or mapped."""
FUNCTIONS = frozenset({"contains", "ends_with", "length", "not_null", "starts_with", "type"})
_JSON_LITERAL = re.compile(r"-?(0|[1-9][0-9]{0,14})|true|false|null")
_EXPECTED = f"JMESPath of fields, indices, filters, comparisons, && || ! and {', '.join(sorted(FUNCTIONS))}"


@dataclass(frozen=True, slots=True)
class KindHealth:
    """How a kind says how it is doing.

    Attributes:
        kind: ``Kind.group``.
        current: true where an object of it is current.
        failed: true where it failed; None where it cannot say.
    """

    kind: str
    current: str
    failed: str | None = None


def read_rules(spec: JsonObject, where: str) -> tuple[KindHealth, ...]:
    """Read ``healthRules``: sorted by kind, each kind once.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID, LIMIT_EXCEEDED.
    """
    at = f"{where}.healthRules"
    items = shape.array(spec.get("healthRules", []), at, items_max=HEALTH_RULES_PER_RELEASE_MAX)
    rules = tuple(_rule(item, f"{at}[{number}]") for number, item in enumerate(items))
    kinds = [rule.kind for rule in rules]
    if kinds != sorted(set(kinds)):
        raise shape.invalid(at, kinds, "rules sorted by kind, one a kind")
    return rules


def check_rules(rules: tuple[KindHealth, ...], manifests: list[JsonObject], where: str) -> None:
    """Check that each rule is about something: a misspelt kind would do nothing, silently.

    Raises:
        Refused: FIELD_INVALID.
    """
    known = {kind_of_manifest(manifest["apiVersion"], manifest["kind"]) for manifest in manifests}
    for number, rule in enumerate(rules):
        if rule.kind not in known:
            at = f"{where}.healthRules[{number}].kind"
            raise shape.invalid(at, rule.kind, "the kind of an object of this release")


def _rule(value: Json, where: str) -> KindHealth:
    rule = shape.fields(value, where, required=("kind", "current"), optional=("failed",))
    kind = shape.text(rule["kind"], f"{where}.kind", bytes_max=_KIND_BYTES_MAX)
    if "." not in kind.partition(".")[2]:
        raise shape.invalid(f"{where}.kind", kind, "Kind.group of a custom kind, such as Widget.shop.example")
    failed = rule.get("failed")
    return KindHealth(
        kind,
        restricted(rule["current"], f"{where}.current"),
        restricted(failed, f"{where}.failed") if "failed" in rule else None,
    )


_KIND_BYTES_MAX = 317


def restricted(value: Json, where: str, *, bytes_max: int = HEALTH_EXPRESSION_BYTES_MAX) -> str:
    """Read an expression that costs time and memory in proportion to itself times what it looks at.

    Raises:
        Refused: FIELD_INVALID, LIMIT_EXCEEDED.
    """
    text = shape.text(value, where, bytes_max=bytes_max)
    literals = text.split("`")
    if len(literals) % 2 == 0 or not all(_JSON_LITERAL.fullmatch(part) for part in literals[1::2]):
        raise shape.invalid(where, text, "between backticks: an integer, true, false or null")
    if sum(map(text.count, "([{!")) > DEPTH_MAX:
        raise shape.invalid(where, text, f"at most {DEPTH_MAX} brackets and negations")
    try:
        parsed: Any = jmespath.compile(text).parsed
    except (JMESPathError, ValueError) as error:
        raise shape.invalid(where, text, f"{_EXPECTED}: {str(error).splitlines()[0]}") from None
    for node in _nodes(parsed):
        named = node["value"] if node["type"] == "function_expression" else ""
        if node["type"] not in _NODES or (named and named not in FUNCTIONS):
            raise shape.invalid(where, text, f"{_EXPECTED}; not {named or node['type']}")
    return text


def _nodes(tree: Any) -> Iterator[Any]:
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending += [child for child in node["children"] if isinstance(child, dict)]
