"""Looking at a cluster before deciding about it.

Owns the gathering of one ``World``: live objects, dry-run results, inventories. Promises to look at every
desired and every recorded object exactly once and to keep a fault beside the object it belongs to, so that
one unreadable object does not hide the others; an unreachable server ends the look at once. Never decides,
never writes.
"""

from __future__ import annotations

from typing import Protocol

from k8s_bridge.cluster import Cluster, Kind
from k8s_bridge.desired import Desired
from k8s_bridge.inventory import Inventory, prunable
from k8s_bridge.objects import Identity, ObjectKey, field, key_of, metadata_text
from k8s_bridge.plan import Observation, World, owns
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

LOOKS_MAX = 4
"""How often an object that changes while it is looked at is looked at again."""


class Claims(Protocol):
    """What all releases of the cluster own (``store.Inventories``)."""

    def of(self, release: str) -> Inventory | None:
        """Give a release's inventory; None when it cannot be read."""
        ...

    def of_others(self, release: str) -> dict[Identity, str]:
        """Give which other release owns each identity."""
        ...


def observe(cluster: Cluster, desired: Desired, claims: Claims) -> World:
    """Look at everything one plan needs.

    Raises:
        EnvironmentFault: KUBERNETES_UNREACHABLE. Every other fault is kept with its object.
    """
    inventory = claims.of(desired.release)
    observed = {key: _look(cluster, key, manifest, inventory) for key, manifest in desired.objects.items()}
    # What is only forgotten is not looked at: it is let alone, whatever it is.
    for entry in prunable(inventory, desired.identities) if inventory and desired.prune else ():
        seen = _look(cluster, entry.key, None, inventory)
        observed[entry.key] = _with_tenants(cluster, entry.key, seen, inventory)
    return World(inventory, observed, claims.of_others(desired.release))


def _look(
    cluster: Cluster, key: ObjectKey, manifest: JsonObject | None, inventory: Inventory | None
) -> Observation:
    live = dry_run = None
    try:
        for _ in range(LOOKS_MAX):
            live = cluster.get(key)
            if live is None or manifest is None or metadata_text(live, "deletionTimestamp"):
                return Observation(live)
            if key.kind != "Namespace" and not owns(key, live, inventory):
                return Observation(live)
            dry_run = cluster.apply(manifest, dry_run=True).live
            # Controllers write too: compare two views of one version only.
            if metadata_text(live, "resourceVersion") == metadata_text(dry_run, "resourceVersion"):
                break
        return Observation(live, dry_run)
    except EnvironmentFault as fault:
        if fault.code is Code.KUBERNETES_UNREACHABLE:
            raise
        return Observation(live, fault=fault)


def _with_tenants(
    cluster: Cluster, key: ObjectKey, seen: Observation, inventory: Inventory | None
) -> Observation:
    """Add what a namespace or definition that could be pruned still holds."""
    if seen.live is None or key.kind not in {"Namespace", "CustomResourceDefinition"}:
        return seen
    try:
        held = (
            _inside_namespace(cluster, key.name)
            if key.kind == "Namespace"
            else _instances(cluster, seen.live)
        )
    except EnvironmentFault as fault:
        if fault.code is Code.KUBERNETES_UNREACHABLE:
            raise
        return seen
    ours = inventory.entries.keys() if inventory else frozenset()
    foreign = tuple(str(found) for found in held if found.identity not in ours)
    return Observation(seen.live, seen.dry_run, seen.fault, foreign)


_MADE_BY_CONTROLLERS = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
_PASSING_KINDS = frozenset({"Event", "Lease", "PodMetrics"})


def _inside_namespace(cluster: Cluster, namespace: str) -> list[ObjectKey]:
    found = []
    for kind in cluster.namespaced_kinds():
        if kind.kind not in _PASSING_KINDS:
            items, _ = cluster.list(kind, namespace, metadata_only=True)
            found += [_key(kind, item) for item in items if not _derived(kind, item)]
    return found


def _instances(cluster: Cluster, definition: JsonObject) -> list[ObjectKey]:
    group, name = field(definition, "spec", "group"), field(definition, "spec", "names", "kind")
    versions = [v["name"] for v in field(definition, "spec", "versions") or () if v.get("served")]
    if not versions:
        return []
    kind = cluster.kind_of(f"{group}/{versions[0]}", str(name))
    items, _ = cluster.list(kind, metadata_only=True)
    return [_key(kind, item) for item in items]


def _key(kind: Kind, item: JsonObject) -> ObjectKey:
    return key_of({**item, "apiVersion": kind.api_version, "kind": kind.kind})


def _derived(kind: Kind, item: JsonObject) -> bool:
    """Whether a controller made the object: it goes with its owner, or comes with every namespace."""
    own_name = (kind.kind, str(field(item, "metadata", "name")))
    return bool(field(item, "metadata", "ownerReferences")) or own_name in _MADE_BY_CONTROLLERS
