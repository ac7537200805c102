"""What a change changes, path by path: short enough for a model, complete within its limits.

Owns the comparison of manifests and of specs. Promises that an object is the same one across API versions and
that what was not listed is counted. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.manifest import identity, object_id
from ledger.types import Json, JsonObject

PATHS_MAX = 50
"""Changed paths of one object that are listed."""


def of_manifests(old: Sequence[JsonObject], new: Sequence[JsonObject]) -> list[JsonObject]:
    """Give one entry an added, removed or changed object, by its id; unchanged objects are left out."""
    before = {identity(manifest): manifest for manifest in old}
    after = {identity(manifest): manifest for manifest in new}
    found: list[JsonObject] = [
        {"object": object_id(after[key]), "change": "added"} for key in after.keys() - before.keys()
    ]
    found += [{"object": object_id(before[key]), "change": "removed"} for key in before.keys() - after.keys()]
    for key in before.keys() & after.keys():
        if before[key] != after[key]:
            changed = {"object": object_id(after[key]), "change": "changed"}
            found.append(changed | of_values(before[key], after[key]))
    return sorted(found, key=lambda entry: str(entry["object"]))


def of_values(old: Json, new: Json) -> JsonObject:
    """Give the changed paths of two JSON values: ``paths``, and ``more`` where there are too many."""
    found = list(_walk(old, new, ""))
    listed: JsonObject = {"paths": found[:PATHS_MAX]}
    return listed | ({"more": len(found) - PATHS_MAX} if len(found) > PATHS_MAX else {})


def _walk(old: Json, new: Json, path: str) -> Iterator[JsonObject]:
    if type(old) is dict and type(new) is dict:
        for name in sorted({*old, *new}):
            yield from _walk(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif type(old) is list and type(new) is list:
        for place in range(max(len(old), len(new))):
            one, other = (items[place] if place < len(items) else None for items in (old, new))
            yield from _walk(one, other, f"{path}[{place}]")
    elif old != new or type(old) is not type(new):
        yield {"path": path, "from": old, "to": new}
