"""Whether an apply would change anything, and whose an object is.

Owns the comparison of a live object with the result of a dry-run apply. Promises that status and version
counters are not differences (the server bumps them by itself), that losing or gaining ownership of a field
is one, and that defaults and normalised quantities are none, because both sides come from the server.
Never compares a manifest with a live object.

Source: notes on Kubernetes, traps 1 and 5; the API server's field management.
"""

from __future__ import annotations

from typing import Any

from k8s_bridge.objects import field
from ledger.types import JsonObject

FIELD_MANAGER = "conclave"
CHANGED_PATHS_MAX = 8
"""Paths named in a reason; the rest are counted."""

_COUNTERS = frozenset({"managedFields", "resourceVersion", "generation"})


def owned_by(live: JsonObject, owner: str = FIELD_MANAGER) -> bool:
    """Whether ``owner`` has applied the object (an Apply entry of its own, status aside)."""
    return _fields_of(live, owner) is not None


def is_bare(live: JsonObject) -> bool:
    """Whether nobody owns any field: applying an object with nothing but a name leaves no entry."""
    return not field(live, "metadata", "managedFields")


def same(live: JsonObject, dry_run: JsonObject | None) -> bool:
    """Whether applying would leave the object, and our ownership of its fields, as they are."""
    if dry_run is None or _fields_of(live, FIELD_MANAGER) != _fields_of(dry_run, FIELD_MANAGER):
        return False
    return _content(live) == _content(dry_run)


def changed_paths(live: JsonObject, dry_run: JsonObject) -> list[str]:
    """Name the fields an apply would change, at most ``CHANGED_PATHS_MAX`` and a count of the rest."""
    found: list[str] = []
    _walk(_content(live), _content(dry_run), "", found)
    if len(found) > CHANGED_PATHS_MAX:
        return [*found[:CHANGED_PATHS_MAX], f"{len(found) - CHANGED_PATHS_MAX} more"]
    return found or ["ownership of fields"]


def _content(live: JsonObject) -> JsonObject:
    content = {name: value for name, value in live.items() if name != "status"}
    metadata = field(live, "metadata")
    if isinstance(metadata, dict):
        content["metadata"] = {name: value for name, value in metadata.items() if name not in _COUNTERS}
    return content


def _fields_of(live: JsonObject, owner: str) -> Any:
    entries = field(live, "metadata", "managedFields")
    for entry in entries if isinstance(entries, list) else ():
        ours = field(entry, "manager") == owner and field(entry, "operation") == "Apply"
        if ours and not field(entry, "subresource"):
            return (field(entry, "apiVersion"), field(entry, "fieldsV1"))
    return None


def _walk(left: Any, right: Any, path: str, found: list[str]) -> None:
    if left == right:
        return
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            _walk(left.get(name), right.get(name), f"{path}.{name}" if path else name, found)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            _walk(one, other, f"{path}[{index}]", found)
    else:
        found.append(path)
