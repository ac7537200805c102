"""Which objects of the ledger a call names and an answer shows, each in one spelling.

Owns the spelling. Promises that an entry counts by what it is of, before anything was chosen of it: neither
``fields`` nor the tool it is asked by makes it another object, or none. Pure.
Source: docs/spec/mcp-guard.md §3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ledger.types import Json, JsonObject, sha256
from mcp_server.authority_tools import OBJECT_KINDS

_KINDS = {"Release": "release", "Proposal": "proposal", "Cluster": "cluster", "Identity": "identity"}
_SECTIONS = {"identities": "identity", **OBJECT_KINDS}
_NAMING = (("release", "release"), ("cluster", "cluster"), ("number", "proposal"))


def named(tool: str, given: JsonObject) -> tuple[str, ...]:
    """Give the objects that a call's arguments name."""
    return tuple(dict.fromkeys(_named(tool, given)))


def shown(tool: str, given: JsonObject, item: JsonObject) -> tuple[str, ...]:
    """Give the objects that an entry of an answer shows.

    Args:
        tool: whose answer it is.
        given: the arguments it was asked with.
        item: the whole entry.
    """
    found = tuple(dict.fromkeys((*_named(tool, given), *_of_entry(tool, given, item))))
    # What has no name of its own is the object that it says.
    return found or (f"{tool}/{sha256(json.dumps(item, sort_keys=True).encode()).hex()}",)


def _named(tool: str, given: JsonObject) -> Iterator[str]:
    for field, sort in _NAMING:
        if _is_name(given.get(field)):
            yield f"{sort}/{given[field]}"
    name = given.get("name")
    if not _is_name(name):
        return
    if tool == "get_object":
        kind, inner = given.get("kind"), given.get("object")
        yield f"{_KINDS.get(str(kind), kind)}/{name}"
        if _is_name(inner):
            yield f"object/{name}/{inner}"
    elif tool == "export_proof":
        yield f"{given.get('what')}/{name}"
    elif tool == "get_clusters":
        yield f"cluster/{name}"


def _of_entry(tool: str, given: JsonObject, item: JsonObject) -> Iterator[str]:
    if tool == "get_object":
        return
    # What a record says of a cluster or a release is no sight of it.
    for field, kind in _NAMING if tool != "get_authority" else ():
        if _is_name(item.get(field)):
            is_incident = kind == "proposal" and _is_of_incident(tool, item)
            yield f"{'incident' if is_incident else kind}/{item[field]}"
    name = item.get("name")
    if not _is_name(name):
        return
    if tool == "get_clusters":
        yield f"cluster/{name}"
    elif tool == "get_authority":
        section = str(given.get("section"))
        yield f"{_SECTIONS.get(section, section)}/{name}"
    else:
        yield f"{tool}/{name}"


def _is_of_incident(tool: str, item: JsonObject) -> bool:
    return tool == "get_incidents" or str(item.get("event", "")).startswith("incident")


def _is_name(value: Json) -> bool:
    return type(value) in (str, int)
