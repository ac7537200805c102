"""What a release owns on the cluster, remembered on the cluster.

Owns the set arithmetic of ownership and the ConfigMap form it is kept in, one ConfigMap a release. Promises
that an object is recorded before it is applied (a crash never orphans), that only recorded objects can be
pruned, and that a record that cannot be read never prunes anything. Never talks to the API server.

The ConfigMap's annotations name the ledger, the release, the revision and, where it was begun anew, the
revision at which; its ``objects`` entry is a JSON
object ``{object id: [uid, created]}``, uid empty while the object is only intended, created true where the
API server said that our apply made it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from k8s_bridge.objects import Identity, ObjectKey, field, parse_object_id
from ledger.errors import Code, Refused
from ledger.types import JsonObject

NAME_PREFIX = "conclave-inventory-"
MARK_LABEL = "conclave.internal/inventory"
CHAIN_ANNOTATION = "conclave.internal/chain-id"
RELEASE_ANNOTATION = "conclave.internal/release"
REVISION_ANNOTATION = "conclave.internal/revision"
BEGUN_ANNOTATION = "conclave.internal/begun-anew"
OBJECTS_FIELD = "objects"
_UID_BYTES = 36
INVENTORY_BYTES_MAX = 1024 * 1024 - 16 * 1024
"""The API server refuses a ConfigMap over 1 MiB; the rest is for its metadata."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One owned object.

    Attributes:
        key: its name.
        uid: the UID the API server gave it; empty while the apply is only intended.
        created: the API server said that our apply created it (an adopted one is never cascaded away).
    """

    key: ObjectKey
    uid: str
    created: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything one release owns.

    Attributes:
        chain_id: the ledger.
        release: the release.
        revision: the newest revision that was planned; 0 before the first.
        entries: by identity, versions aside.
        begun: the revision at which it was begun anew, what earlier revisions left being unknown; 0: never.
        astray: what others did to it on the cluster since it was written, where this is not what they left.
    """

    chain_id: str
    release: str
    revision: int
    entries: Mapping[Identity, Entry]
    begun: int = 0
    astray: str = ""


def empty(chain_id: str, release: str) -> Inventory:
    """Give the inventory of a release that owns nothing yet."""
    return Inventory(chain_id, release, 0, {})


def prunable(inventory: Inventory, desired: Collection[Identity]) -> tuple[Entry, ...]:
    """Give the entries that are owned and no longer desired."""
    return tuple(entry for identity, entry in inventory.entries.items() if identity not in desired)


def intend(inventory: Inventory, revision: int, keys: Iterable[ObjectKey]) -> Inventory:
    """Record ``keys`` as about to be applied; what was recorded stays, under its newest version.

    What comes out is to be written, wherever ``inventory`` came from.
    """
    entries = dict(inventory.entries)
    for key in keys:
        known = entries.get(key.identity)
        entries[key.identity] = replace(known, key=key) if known else Entry(key, "", created=False)
    return replace(inventory, revision=revision, entries=entries, astray="")


def settle(inventory: Inventory, applied: Iterable[Entry], gone: Collection[Identity]) -> Inventory:
    """Record what an apply found out: UIDs of applied objects, and objects that are ours no longer."""
    entries = {identity: entry for identity, entry in inventory.entries.items() if identity not in gone}
    for entry in applied:
        known = entries.get(entry.key.identity)
        kept = known is not None and known.uid == entry.uid and known.created
        entries[entry.key.identity] = replace(entry, created=entry.created or kept)
    return replace(inventory, entries=entries)


def config_map_name(release: str) -> str:
    """Give the name of a release's inventory ConfigMap."""
    return NAME_PREFIX + release


def encode(inventory: Inventory, namespace: str) -> JsonObject:
    """Give the ConfigMap that keeps ``inventory``.

    Raises:
        Refused: LIMIT_EXCEEDED when it would be larger than a ConfigMap may be.
    """
    text = _text(inventory)
    size = _size(inventory, text)
    if size > INVENTORY_BYTES_MAX:
        raise _too_large(inventory.release, f"an inventory of {size} bytes")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(inventory.release),
            "namespace": namespace,
            "labels": {MARK_LABEL: "true"},
            "annotations": {
                CHAIN_ANNOTATION: inventory.chain_id,
                RELEASE_ANNOTATION: inventory.release,
                REVISION_ANNOTATION: str(inventory.revision),
                **({BEGUN_ANNOTATION: str(inventory.begun)} if inventory.begun else {}),
            },
        },
        "data": {OBJECTS_FIELD: text},
    }


def check_room(release: str, wanted: Iterable[ObjectKey], before: Iterable[ObjectKey] = ()) -> None:
    """See that one record can name all that a release wants, and what the revision before it wanted.

    Both are in it until what goes has gone. What earlier revisions left behind may be in it besides: nobody
    but the bridge knows that.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    alone = intend(empty("", release), 1, wanted)
    size = _size(alone, _text(alone))
    if size > INVENTORY_BYTES_MAX:
        raise _too_large(release, f"objects whose names take {size} bytes of the bridge's record")
    both = intend(alone, 1, before)
    size = _size(both, _text(both))
    if size > INVENTORY_BYTES_MAX:
        raise _too_large(
            release,
            f"objects that, with those of the revision before, take {size} bytes of the bridge's record",
            "replace the objects in two revisions: the first keeps half of the old ones",
        )


def _text(inventory: Inventory) -> str:
    objects = {str(entry.key): [entry.uid, entry.created] for entry in inventory.entries.values()}
    return json.dumps(objects, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _size(inventory: Inventory, text: str) -> int:
    # What is only intended gets its UID once it is applied; there must be room for it.
    return len(text.encode()) + _UID_BYTES * sum(not entry.uid for entry in inventory.entries.values())


def _too_large(release: str, got: str, todo: str = "split the release") -> Refused:
    expected = f"at most {INVENTORY_BYTES_MAX} bytes"
    return Refused(Code.LIMIT_EXCEEDED, got=got, expected=expected, todo=todo, release=release)


def decode(config_map: JsonObject) -> Inventory:
    """Read an inventory back from its ConfigMap, whichever ledger it belongs to.

    Args:
        config_map: as the API server returned it.

    Raises:
        Refused: INVENTORY_UNREADABLE.
    """
    name = str(field(config_map, "metadata", "name"))
    annotations = field(config_map, "metadata", "annotations") or {}
    release, found_chain = annotations.get(RELEASE_ANNOTATION), annotations.get(CHAIN_ANNOTATION)
    if not release or config_map_name(release) != name:
        raise unreadable(name, f"release annotation {release!r}", "the release its name says")
    if not isinstance(found_chain, str) or not found_chain:
        raise unreadable(name, f"chain annotation {found_chain!r}", "the ledger's chain id")
    revision = _number(name, annotations.get(REVISION_ANNOTATION, ""))
    begun = _number(name, annotations.get(BEGUN_ANNOTATION, "0"))
    entries = _entries(name, field(config_map, "data", OBJECTS_FIELD))
    return Inventory(found_chain, release, revision, entries, begun)


def _number(name: str, text: object) -> int:
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 16:
        return int(text)
    raise unreadable(name, f"revision annotation {text!r}", "a number")


def _entries(name: str, text: object) -> dict[Identity, Entry]:
    if not isinstance(text, str) or len(text) > INVENTORY_BYTES_MAX:
        raise unreadable(name, "no readable objects entry", f"JSON text in data.{OBJECTS_FIELD}")
    try:
        objects = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(name, str(error), "JSON") from None
    if not isinstance(objects, dict):
        raise unreadable(name, type(objects).__name__, "a JSON object")
    entries: dict[Identity, Entry] = {}
    for object_id, record in objects.items():
        entry = _entry(name, object_id, record)
        if entry.key.identity in entries:
            raise unreadable(name, f"two entries for {object_id}", "one an object")
        entries[entry.key.identity] = entry
    return entries


def _entry(name: str, object_id: str, record: object) -> Entry:
    match record:
        case [str(uid), bool(created)]:
            try:
                return Entry(parse_object_id(object_id), uid, created)
            except Refused as refusal:
                raise unreadable(name, refusal.got, refusal.expected) from None
        case _:
            raise unreadable(name, f"{object_id}: {record!r}", "[uid, created]")


def unreadable(name: str, got: str, expected: str) -> Refused:
    """Make the refusal of an inventory."""
    return Refused(
        Code.INVENTORY_UNREADABLE,
        got=got,
        expected=expected,
        todo="nothing is pruned until it is readable; restore it, or delete it: a bridge that knew it writes "
        "it again, any other begins anew",
        config_map=name,
    )
