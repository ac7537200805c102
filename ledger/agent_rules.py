"""The rules by which an agent's policy judges the arguments of a tool, read strictly.

Owns the rule of each type of value and the forms of names and paths in a policy. Promises that no path of a
tool lies inside another, so that each value is judged by one rule. Never judges a call.
Source: docs/spec/mcp-guard.md §2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from ledger import codec, shape
from ledger.authority.patterns import read_patterns
from ledger.codec import Limits
from ledger.errors import Code, Refused
from ledger.limits import (
    ARGUMENT_BYTES_MAX,
    ARGUMENT_PATH_BYTES_MAX,
    ARGUMENT_RULES_MAX,
    OBJECTS_PER_RELEASE_MAX,
    OPAQUE_PATHS_MAX,
    TOOL_NAME_BYTES_MAX,
)
from ledger.types import Json

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


def read_opaque_paths(value: Json, where: str) -> tuple[str, ...]:
    """Read where random-looking text belongs: paths, sorted, each once.

    Raises:
        Refused: FIELD_INVALID or LIMIT_EXCEEDED.
    """
    read_path = _form(_OPAQUE, ARGUMENT_PATH_BYTES_MAX, "names, * and ** with dots between")
    items = shape.array(value, where, items_max=OPAQUE_PATHS_MAX)
    return check_sorted(tuple(read_path(v, f"{where}[{i}]") for i, v in enumerate(items)), where)


def check_sorted(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Give names that are sorted, each once.

    Raises:
        Refused: FIELD_INVALID.
    """
    if list(names) != sorted(set(names)):
        raise shape.invalid(where, list(names), "sorted, each once")
    return names


Patterns = Annotated[tuple[str, ...], _patterns]
Usual = Annotated[tuple[str, ...], _usual]
"""Patterns of what is nothing new; none where nothing is."""
Path = Annotated[
    str, _form(_PATH, ARGUMENT_PATH_BYTES_MAX, "names with dots between, [] for each item of a list")
]
ToolName = Annotated[str, _form(_TOOL, TOOL_NAME_BYTES_MAX, "a tool's name: lower case, digits, _")]


@dataclass(frozen=True, slots=True)
class NameRule:
    """A name in lower case (``name``), a kind, a DID, a digest or a container image that a pattern covers."""

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
    items_max: Annotated[int, Limits(at_least=1, at_most=OBJECTS_PER_RELEASE_MAX)]
    required: bool = False
    usual: Usual = ()


ArgumentRule = NameRule | TextRule | IntegerRule | BooleanRule | ObjectsRule
NAME_TYPES = ("name", "kind", "did", "digest", "image")
_RECORDS: dict[str, type[ArgumentRule]] = {
    **dict.fromkeys(NAME_TYPES, NameRule),
    "text": TextRule,
    "integer": IntegerRule,
    "boolean": BooleanRule,
    "objects": ObjectsRule,
}


def read_rules(value: Json, where: str) -> tuple[ArgumentRule, ...]:
    """Read the rules of a tool's arguments: by path, each path once, none inside another.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID or LIMIT_EXCEEDED with the field's path.
    """
    items = shape.array(value, where, items_max=ARGUMENT_RULES_MAX)
    rules = tuple(_read_rule(v, f"{where}[{i}]") for i, v in enumerate(items))
    check_sorted(tuple(r.path for r in rules), where)
    _check_paths(rules, where)
    return rules


def _read_rule(value: Json, where: str) -> ArgumentRule:
    if type(value) is not dict:
        raise shape.invalid(where, value, "an object")
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
