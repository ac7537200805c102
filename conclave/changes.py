"""What a release changes, object by object.

Owns the comparison of two lists of manifests. Promises that an object is the same one across API versions
(group, kind, namespace, name) and that unchanged objects are never shown as changed. Pure.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conclave.output import Output, to_yaml
from ledger.manifest import identity, object_id
from ledger.types import JsonObject

DIFF_LINES_MAX = 2000
"""Lines of one object's difference that are shown."""
_ORDER = {"added": 0, "changed": 1, "removed": 2, "unchanged": 3}
_MARKS = {"added": "+", "changed": "~", "removed": "-", "unchanged": " "}
_STYLE = {"added": "add", "removed": "remove", "changed": "warn", "unchanged": "dim"}


@dataclass(frozen=True, slots=True)
class Change:
    """One object's change.

    Attributes:
        object: its id.
        kind: added, changed, removed or unchanged.
        lines: the unified difference of its YAML, without file headers.
    """

    object: str
    kind: str
    lines: tuple[str, ...] = ()


def compare(old: Sequence[JsonObject], new: Sequence[JsonObject]) -> list[Change]:
    """Compare two releases' manifests; changes come sorted by kind, then object."""
    before = {identity(manifest): manifest for manifest in old}
    after = {identity(manifest): manifest for manifest in new}
    changes = [
        Change(object_id(after[key]), "added", differences(None, after[key]))
        for key in after.keys() - before.keys()
    ]
    changes += [
        Change(object_id(before[key]), "removed", differences(before[key], None))
        for key in before.keys() - after.keys()
    ]
    for key in before.keys() & after.keys():
        kind = "unchanged" if before[key] == after[key] else "changed"
        lines = differences(before[key], after[key]) if kind == "changed" else ()
        changes.append(Change(object_id(after[key]), kind, lines))
    return sorted(changes, key=lambda change: (_ORDER[change.kind], change.object))


def summary(changes: Sequence[Change]) -> str:
    """Give one line such as ``1 added, 2 changed, 1 removed, 3 unchanged``."""
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {kind}" for kind in _ORDER)


def show(changes: Sequence[Change], output: Output, *, full: bool) -> None:
    """Print the changes for people; ``full`` adds the differences line by line."""
    for change in changes:
        if change.kind == "unchanged":
            continue
        output.line(f"{_MARKS[change.kind]} {change.object}", _STYLE[change.kind])
        if not full:
            continue
        for line in change.lines[:DIFF_LINES_MAX]:
            style = {"+": "add", "-": "remove", "@": "dim"}.get(line[:1], "")
            output.line(f"    {line}", style)
        if len(change.lines) > DIFF_LINES_MAX:
            output.line(f"    … {len(change.lines) - DIFF_LINES_MAX} more lines", "dim")
    output.line(summary(changes))


def to_json(changes: Sequence[Change]) -> list[JsonObject]:
    """Give the changes as JSON."""
    return [
        {"object": change.object, "change": change.kind, "diff": list(change.lines)} for change in changes
    ]


def differences(old: JsonObject | None, new: JsonObject | None) -> tuple[str, ...]:
    """Give the unified difference of two objects' YAML, without file headers; None is no object."""
    before, after = ([] if value is None else to_yaml(_sorted(value)).splitlines() for value in (old, new))
    return tuple(line.rstrip("\n") for line in difflib.unified_diff(before, after, lineterm="", n=3))[2:]


def _sorted(value: object) -> object:
    """Sort keys at every level, so that only content differs."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
