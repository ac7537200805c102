"""What a namespace or a definition holds, and what of it is lost to others when it is deleted.

Owns the listing of what goes with a namespace or a definition, and the question which of that forbids to
delete it. Promises that whatever was listed counts as somebody else's until it is shown to go anyway: by the
UID of an object that the same plan deletes, as being deleted already, or because everything that owns it, by
UID, goes or was itself counted. A name, a kind's name without its group, or an owner nobody has seen shows
nothing. Never deletes anything.

Source: docs/spec/bridge.md §5; Kubernetes' garbage collection (an object goes when all its owners are gone).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from k8s_bridge.cluster import Cluster, Kind
from k8s_bridge.objects import ObjectKey, field, key_of, metadata_text, uid_of
from ledger.types import JsonObject

_PASSING = frozenset(
    {
        ("", "Event"),
        ("events.k8s.io", "Event"),
        ("coordination.k8s.io", "Lease"),
        ("metrics.k8s.io", "PodMetrics"),
    }
)
"""Kinds whose objects come and go by themselves; of these groups and no others."""
_ORPHAN = "orphan"
"""The finalizer of a deletion that is not to take along what the object owns."""
_IN_EVERY_NAMESPACE = frozenset({("", "ServiceAccount", "default"), ("", "ConfigMap", "kube-root-ca.crt")})


@dataclass(frozen=True, slots=True)
class Held:
    """One object that goes with its namespace or definition.

    Attributes:
        key: its name.
        uid: its UID.
        owners: the UIDs of what it goes with; of Endpoints, which name no owner, the Service of their name.
        leaving: it is being deleted already.
        orphans: whoever deletes it lets what it owns stay.
    """

    key: ObjectKey
    uid: str
    owners: tuple[str, ...] = ()
    leaving: bool = False
    orphans: bool = False


def held_by(cluster: Cluster, key: ObjectKey, live: JsonObject) -> tuple[Held, ...]:
    """List what goes with a namespace, or with a definition that says ``live``.

    Raises:
        EnvironmentFault: whatever the API server answers; nothing is known then.
    """
    return tuple(_inside(cluster, key.name) if key.is_namespace else _instances(cluster, live))


def tenants_of(held: Collection[Held], going: Collection[str]) -> tuple[Held, ...]:
    """Give what of ``held`` is others', where the objects with the UIDs ``going`` are deleted, too.

    Takes time in the number of objects and owners.
    """
    # What an owner lets stay when it goes is there when its namespace is deleted.
    kept = {found.uid for found in held if found.orphans}
    settled = {*going, *(found.uid for found in held if found.leaving or not found.owners)} - {"", *kept}
    after: dict[str, list[int]] = defaultdict(list)
    missing = {}
    objects = list(held)
    for index, found in enumerate(objects):
        missing[index] = len(set(found.owners))
        for owner in set(found.owners):
            after[owner].append(index)
    queue = list(settled)
    while queue:
        for index in after.pop(queue.pop(), ()):
            missing[index] -= 1
            uid = objects[index].uid
            if not missing[index] and uid and uid not in settled and uid not in kept:
                settled.add(uid)
                queue.append(uid)
    ours = set(going) - {""}
    return tuple(
        found
        for index, found in enumerate(objects)
        if not (found.leaving or found.uid in ours or (found.owners and not missing[index]))
    )


def _inside(cluster: Cluster, namespace: str) -> Iterator[Held]:
    found = []
    for kind in cluster.namespaced_kinds():
        if (_group(kind), kind.kind) not in _PASSING:
            items, _ = cluster.list(kind, namespace, metadata_only=True)
            found += [_held(kind, item) for item in items]
    services = {one.key.name: one.uid for one in found if one.key.identity[:2] == ("", "Service")}
    for one in found:
        group, kind_name, _, name = one.key.identity
        if (group, kind_name, name) in _IN_EVERY_NAMESPACE:
            continue
        is_endpoints = (group, kind_name) == ("", "Endpoints") and not one.owners
        yield replace(one, owners=(services[name],)) if is_endpoints and name in services else one


def _instances(cluster: Cluster, definition: JsonObject) -> Iterator[Held]:
    group, name = field(definition, "spec", "group"), field(definition, "spec", "names", "kind")
    versions = [v["name"] for v in field(definition, "spec", "versions") or () if v.get("served")]
    if versions:
        kind = cluster.kind_of(f"{group}/{versions[0]}", str(name))
        items, _ = cluster.list(kind, metadata_only=True)
        yield from (_held(kind, item) for item in items)


def _held(kind: Kind, item: JsonObject) -> Held:
    key = key_of({**item, "apiVersion": kind.api_version, "kind": kind.kind})
    named = field(item, "metadata", "ownerReferences")
    owners = tuple(str(field(owner, "uid")) for owner in named) if isinstance(named, list) else ()
    leaving, finalizers = (
        bool(metadata_text(item, "deletionTimestamp")),
        field(item, "metadata", "finalizers"),
    )
    orphans = leaving and isinstance(finalizers, list) and _ORPHAN in finalizers
    return Held(key, uid_of(item), owners, leaving=leaving, orphans=orphans)


def _group(kind: Kind) -> str:
    return kind.api_version.rpartition("/")[0]
