"""Keeping inventories on the cluster they describe.

Owns the bridge's own namespace and the ConfigMaps in it. Promises that all inventories are read in one list,
that one unreadable inventory does not make the others unreadable, and that one which is unreadable, or was
written by somebody else since it was read, is never overwritten; that one which somebody deleted or edited
since this store read or wrote it is given as this store knew it, while it serves one writer's term. Never
interprets what it keeps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from k8s_bridge.cluster import Applied, Cluster, only_version
from k8s_bridge.inventory import MARK_LABEL, Inventory, config_map_name, decode, empty, encode, unreadable
from k8s_bridge.objects import Identity, ObjectKey, field, metadata_text
from ledger.errors import EnvironmentFault, Refused
from ledger.types import JsonObject

DEFAULT_NAMESPACE = "conclave-system"
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Inventories:
    """Every inventory of a cluster, as read at one moment.

    Attributes:
        chain_id: the ledger.
        readable: by release.
        unreadable: why, by ConfigMap name; another ledger's is not ours to use.
        foreign: those of other ledgers on the same cluster.
    """

    chain_id: str
    readable: Mapping[str, Inventory]
    unreadable: Mapping[str, Refused]
    foreign: tuple[Inventory, ...] = ()

    def of(self, release: str) -> Inventory | None:
        """Give a release's inventory, an empty one if it has none yet, None if it cannot be read."""
        if config_map_name(release) in self.unreadable:
            return None
        return self.readable.get(release) or empty(self.chain_id, release)

    def of_others(self, release: str) -> dict[Identity, str]:
        """Give which other release, of any ledger, owns each identity."""
        claims = {i: f"{other.release} of {other.chain_id}" for other in self.foreign for i in other.entries}
        for name, inventory in self.readable.items():
            if name != release:
                claims.update(dict.fromkeys(inventory.entries, name))
        return claims


class Loading:
    """Inventories that are being read: whoever asks for one waits, and meets what the reading met.

    Leaving it waits too: what is read late must not be taken for newer than what is written then.
    """

    def __init__(self, wait: Callable[[], Inventories]) -> None:
        self._wait = wait

    def __enter__(self) -> Self:
        """Begin to use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the reading is over."""
        with contextlib.suppress(EnvironmentFault):
            self._wait()

    def of(self, release: str) -> Inventory | None:
        """As ``Inventories.of``."""
        return self._wait().of(release)

    def of_others(self, release: str) -> dict[Identity, str]:
        """As ``Inventories.of_others``."""
        return self._wait().of_others(release)


@dataclass(frozen=True, slots=True)
class _Known:
    """A record as it is on the cluster as far as we know.

    Attributes:
        version: the resource version.
        inventory: what it says.
        tried: what it says instead, if a write came through whose answer did not.
    """

    version: str
    inventory: Inventory
    tried: Inventory | None = None


class InventoryStore:
    """The inventories in one namespace of one cluster."""

    def __init__(self, cluster: Cluster, chain_id: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._cluster = cluster
        self._chain_id = chain_id
        self._namespace = namespace
        self._namespace_exists = False
        self._versions: dict[str, str] | None = None
        self._term: str | None = None
        self._known: dict[str, _Known] = {}

    def serve(self, term: str | None) -> None:
        """Serve the writer of this term; what was known in another says nothing: others wrote since."""
        if term != self._term:
            self._term, self._known = term, {}

    def load(self) -> Inventories:
        """Read every inventory.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
        """
        kind = self._cluster.kind_of("v1", "ConfigMap")
        items, _ = self._cluster.list(kind, self._namespace, label=f"{MARK_LABEL}=true")
        self._versions = {
            metadata_text(item, "name"): metadata_text(item, "resourceVersion") for item in items
        }
        readable: dict[str, Inventory] = {}
        refused: dict[str, Refused] = {}
        foreign = []
        for item in items:
            name = str(field(item, "metadata", "name"))
            try:
                inventory = decode(item)
            except Refused as refusal:
                refused[name] = refusal
                continue
            if inventory.chain_id == self._chain_id:
                readable[inventory.release] = self._as_known(inventory, self._versions[name])
            else:
                refused[name] = unreadable(name, f"chain {inventory.chain_id}", f"chain {self._chain_id}")
                foreign.append(inventory)
        for release, known in self._known.items():
            if release not in readable and config_map_name(release) not in refused:
                readable[release] = replace(known.inventory, astray="deleted")
        return Inventories(self._chain_id, readable, refused, tuple(foreign))

    def _as_known(self, found: Inventory, version: str) -> Inventory:
        """Take note of a record; one that nobody but we should have written is as we wrote it."""
        known = self._known.get(found.release)
        if known is None or version == known.version or found in (known.inventory, known.tried):
            self._known[found.release] = _Known(version, found)
            return found
        return replace(known.inventory, astray="edited")

    def reach(self) -> None:
        """See that the inventories could be read now.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
        """
        kind = self._cluster.kind_of("v1", "ConfigMap")
        self._cluster.list(kind, self._namespace, label=f"{MARK_LABEL}=true", metadata_only=True)

    def save(self, inventory: Inventory) -> None:
        """Write one inventory over the version that was read, making the namespace first where it is missing.

        Raises:
            Refused: LIMIT_EXCEEDED.
            EnvironmentFault: KUBERNETES_UNREACHABLE; KUBERNETES_REFUSED, with status 409 where somebody else
                has written it since.
        """
        config_map, name = encode(inventory, self._namespace), config_map_name(inventory.release)
        self._ensure_namespace()
        known = self._known.get(inventory.release)
        if known is not None:
            self._known[inventory.release] = replace(known, tried=inventory)
        try:
            applied = self._apply(name, config_map)
        except EnvironmentFault:
            # Somebody may have deleted the namespace; the next attempt makes it again.
            self._namespace_exists = False
            raise
        version = metadata_text(applied.live, "resourceVersion")
        self._known[inventory.release] = _Known(version, inventory)
        if self._versions is not None:
            self._versions[name] = version

    def _apply(self, name: str, config_map: JsonObject) -> Applied:
        if self._versions is None:
            return self._cluster.apply(config_map)
        known = self._versions.get(name, "")
        try:
            return self._cluster.apply(only_version(config_map, known))
        except EnvironmentFault as fault:
            # One that lost its label is in no list, and has a version all the same.
            found = self._version(name) if not known and fault.facts.get("status") == _CONFLICT else ""
            if not found:
                raise
            return self._cluster.apply(only_version(config_map, found))

    def _version(self, name: str) -> str:
        live = self._cluster.get(ObjectKey("v1", "ConfigMap", self._namespace, name))
        return metadata_text(live, "resourceVersion")

    def _ensure_namespace(self) -> None:
        if self._namespace_exists:
            return
        if self._cluster.get(ObjectKey("v1", "Namespace", "", self._namespace)) is None:
            self._cluster.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
            )
        self._namespace_exists = True
