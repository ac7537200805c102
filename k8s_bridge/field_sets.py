"""Sets of fields as the API server records who owns what (``fieldsV1``).

Owns their arithmetic and how they are shown to people. Promises that a set is never changed in place and that
one nested beyond ``DEPTH_MAX`` is taken as a whole. Never knows whose a set is.

A set is a tree: ``f:name`` is a field, ``k:{…}`` a list item by its keys, ``v:…`` one by its value, ``i:n``
one by its place; ``.`` beside others, or an empty node, says that the node itself belongs to the set.
Source: Kubernetes API, FieldsV1; sigs.k8s.io/structured-merge-diff, fieldpath/serialize.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ledger.types import JsonObject

FieldSet = JsonObject
DEPTH_MAX = 64
SELF = "."
_ABSENT = object()


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Give what is in either set."""
    return _joined(left, right, 0)


def minus(left: FieldSet, right: FieldSet) -> FieldSet:
    """Give what is in ``left`` and not in ``right``."""
    return _without(left, right, 0) or {}


def common(left: FieldSet, right: FieldSet, one: Any, other: Any) -> FieldSet:
    """Give what is in both sets and has the same value in the objects ``one`` and ``other``."""
    return _shared(left, right, (one, other), 0) or {}


def members(fields: FieldSet) -> FieldSet:
    """Give a set without the fields that are only there to hold others of it."""
    return _bared(fields, 0)


def shown(fields: FieldSet) -> list[str]:
    """Name the fields of a set for people, the topmost of each branch, in order."""
    return [".".join(path).replace(".[", "[") for path in _paths(fields, ())]


def step_into(value: Any, step: str) -> Any:
    """Give what one step of a set leads to in an object; an object of no other value where to nothing."""
    kind, _, name = step.partition(":")
    if kind == "f":
        return value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    if not isinstance(value, list):
        return _ABSENT
    try:
        wanted = json.loads(name)
    except (ValueError, RecursionError):
        return _ABSENT
    if kind == "i":
        inside = type(wanted) is int and 0 <= wanted < len(value)
        return value[wanted] if inside else _ABSENT
    if kind == "k" and isinstance(wanted, dict):
        matching = (v for v in value if isinstance(v, dict) and wanted.items() <= v.items())
        return next(matching, _ABSENT)
    return wanted if kind == "v" and wanted in value else _ABSENT


def _children(node: FieldSet) -> dict[str, FieldSet]:
    return {name: child for name, child in node.items() if name != SELF and isinstance(child, dict)}


def _owned(node: FieldSet) -> bool:
    return not node or SELF in node


def _bared(node: FieldSet, depth: int) -> FieldSet:
    if depth > DEPTH_MAX:
        return node
    children = _children(node)
    found = {name: _bared(child, depth + 1) for name, child in children.items()}
    for name, child in children.items():
        # An item of a list is more than what it holds; a map is not.
        if not name.startswith("f:") and _owned(child) and _children(child):
            found[name] = {SELF: {}, **found[name]}
    return found


def _joined(left: FieldSet, right: FieldSet, depth: int) -> FieldSet:
    if depth > DEPTH_MAX:
        return left
    mine, theirs = _children(left), _children(right)
    found: FieldSet = {}
    # At the root an empty set is empty, not a field.
    if depth and (_owned(left) or _owned(right)) and (mine or theirs):
        found[SELF] = {}
    for name in [*mine, *(name for name in theirs if name not in mine)]:
        both = name in mine and name in theirs
        found[name] = (
            _joined(mine[name], theirs[name], depth + 1) if both else mine.get(name) or theirs.get(name) or {}
        )
    return found


def _without(left: FieldSet, right: FieldSet | None, depth: int) -> FieldSet | None:
    """Give ``left`` less ``right``; None where nothing is left."""
    if right is None or depth > DEPTH_MAX:
        return left
    theirs = _children(right)
    found: FieldSet = {}
    for name, child in _children(left).items():
        rest = _without(child, theirs.get(name), depth + 1)
        if rest is not None:
            found[name] = rest
    if depth and _owned(left) and not _owned(right):
        return {SELF: {}, **found} if found else {}
    return found or None


def _shared(left: FieldSet, right: FieldSet, objects: tuple[Any, Any], depth: int) -> FieldSet | None:
    if depth > DEPTH_MAX:
        return None
    theirs = _children(right)
    found: FieldSet = {}
    for name, child in _children(left).items():
        inside = (step_into(objects[0], name), step_into(objects[1], name))
        if name not in theirs or _ABSENT in inside:
            continue
        same = _shared(child, theirs[name], inside, depth + 1)
        if same is not None:
            found[name] = same
    if depth and _owned(left) and _owned(right) and (_children(left) or objects[0] == objects[1]):
        return {SELF: {}, **found} if found else {}
    return found or None


def _paths(fields: FieldSet, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, child in _children(fields).items():
        here = (*path, _step(name))
        if _owned(child) or len(here) > DEPTH_MAX:
            yield here
        else:
            yield from _paths(child, here)


def _step(name: str) -> str:
    kind, _, rest = name.partition(":")
    if kind == "f":
        return rest
    try:
        keys = json.loads(rest)
    except (ValueError, RecursionError):
        keys = rest
    if isinstance(keys, dict):
        keys = ",".join(f"{key}={value}" for key, value in keys.items())
    return f"[{keys}]"
