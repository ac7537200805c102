"""Looking at a cluster before deciding about it.

Owns the gathering of one ``World``: live objects, dry-run results, inventories. Promises to look at every
desired and every recorded object exactly once and to keep a fault beside the object it belongs to, so that
one unreadable object does not hide the others; an unreachable server ends the look at once. Never decides,
never writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from k8s_bridge.cluster import Cluster
from k8s_bridge.co_owners import Foreign, foreign_of, our_fields, with_all_owned, without_admitted
from k8s_bridge.compare import is_bare, owned_by
from k8s_bridge.desired import Desired
from k8s_bridge.given_up import GivenUp, is_trouble
from k8s_bridge.inventory import Inventory, prunable
from k8s_bridge.objects import (
    Identity,
    ObjectKey,
    content_of,
    metadata_text,
    trial_name,
    uid_of,
)
from k8s_bridge.plan import Observation, World, owns
from k8s_bridge.tenants import held_by
from k8s_bridge.workers import OneByOne, Workers
from ledger.errors import Code, ConclaveError, EnvironmentFault, caused
from ledger.types import JsonObject

UNPROCESSABLE = 422
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


def observe(
    cluster: Cluster,
    desired: Desired,
    claims: Claims,
    given_up: GivenUp | None = None,
    resting: Mapping[ObjectKey, EnvironmentFault] | None = None,
    workers: Workers | None = None,
) -> World:
    """Look at everything one plan needs.

    Args:
        cluster: where.
        desired: the release.
        claims: what all releases own.
        given_up: what need not be asked again; what is refused for good is added.
        resting: what is let alone for now, and why.
        workers: who looks at the objects; None: one after the other.

    Raises:
        EnvironmentFault: KUBERNETES_UNREACHABLE, or KUBERNETES_REFUSED where a server in trouble refused
            every object. Every other fault is kept with its object.
    """
    known = given_up if given_up is not None else GivenUp()
    crew, keys = workers or OneByOne(), list(desired.objects)
    first = crew.each(lambda key: _at(cluster, key), keys)
    # Only now: the inventories may have been read meanwhile.
    look = _Look(cluster, claims.of(desired.release), known, resting or {})
    wanted = zip(keys, desired.objects.values(), first, strict=True)
    found = crew.each(lambda about: look.at_wanted(*about), list(wanted))
    observed = dict(zip(keys, found, strict=True))
    # What is only forgotten is not looked at: it is let alone, whatever it is.
    pruning = desired.prune and not desired.part
    for entry in prunable(look.inventory, desired.identities) if look.inventory and pruning else ():
        observed[entry.key] = _with_held(cluster, entry.key, _at(cluster, entry.key))
    faults = [seen.fault for seen in observed.values()]
    if faults and faults[0] is not None and all(map(is_trouble, faults)):
        # Nothing was learnt of any object.
        raise faults[0]
    return World(look.inventory, observed, claims.of_others(desired.release))


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a cluster, for one release."""

    cluster: Cluster
    inventory: Inventory | None
    given_up: GivenUp
    resting: Mapping[ObjectKey, EnvironmentFault]

    def at_wanted(self, key: ObjectKey, manifest: JsonObject, first: Observation) -> Observation:
        """Look on at an object that is to be as ``manifest`` says, after a ``first`` look at it alone."""
        live, dry_run = first.live, None
        try:
            if isinstance(first.fault, EnvironmentFault):
                raise first.fault
            for look in range(LOOKS_MAX):
                live = self.cluster.get(key) if look else live
                vain = self.resting.get(key) or self.given_up.of(key, manifest, live)
                if vain is not None:
                    return Observation(live, fault=vain)
                if live is None or metadata_text(live, "deletionTimestamp"):
                    return Observation(live)
                if not key.is_namespace and not owns(key, live, self.inventory):
                    return Observation(live)
                dry_run = self.cluster.apply(manifest, dry_run=True).live
                # Controllers write too: compare two views of one version only.
                if metadata_text(live, "resourceVersion") == metadata_text(dry_run, "resourceVersion"):
                    break
            return Observation(live, dry_run, foreign=self._foreign(key, manifest, live, dry_run))
        except EnvironmentFault as fault:
            foreign = self._in_the_way(key, manifest, live, _kept(fault))
            if foreign is not None:
                return Observation(live, foreign=foreign)
            found = self._judged(key, manifest, fault)
            self.given_up.remember(key, manifest, live, found)
            return Observation(live, fault=found)

    def _in_the_way(
        self, key: ObjectKey, manifest: JsonObject, live: JsonObject | None, fault: EnvironmentFault
    ) -> Foreign | None:
        """Find what others added to the object that we made: our manifest may be refused for just that."""
        entry = self.inventory.entries.get(key.identity) if self.inventory else None
        known = entry is not None and bool(entry.uid) and entry.uid == uid_of(live)
        if fault.facts.get("status") != UNPROCESSABLE or live is None or not (known or owned_by(live)):
            return None
        try:
            return self._foreign(key, manifest, live, None)
        except EnvironmentFault as again:
            _kept(again)
            return None

    def _foreign(
        self, key: ObjectKey, manifest: JsonObject, live: JsonObject | None, dry_run: JsonObject | None
    ) -> Foreign | None:
        """Find what others added, by the record of ownership; where ours is gone from it, by all there is."""
        if live is None or (key.is_namespace and not self._made(key)):
            return None
        emptied = not owned_by(live) and (dry_run is None or not is_bare(live))
        # Nobody's writes are recorded while nobody owns a field; an apply would record what it finds.
        recorded = self._surveyed(live) if emptied else dry_run if is_bare(live) and dry_run else live
        foreign = foreign_of(key, recorded)
        fresh = _made_anew(self.cluster, key, manifest) if foreign is not None else None
        if foreign is None or fresh is None:
            return foreign
        return without_admitted(foreign, live, with_all_owned(fresh, foreign.fields) if emptied else fresh)

    def _surveyed(self, found: JsonObject) -> JsonObject:
        """Give an object with a record that says of every field that somebody owns it.

        Which fields there are is the API server's answer to a dry run that applies the object as it is.
        """
        surveyed = self.cluster.apply(content_of(found), dry_run=True).live
        return with_all_owned(found, our_fields(surveyed))

    def _made(self, key: ObjectKey) -> bool:
        """Whether we made the object: a namespace that was here before has its own people."""
        entry = self.inventory.entries.get(key.identity) if self.inventory else None
        return entry is not None and entry.created

    def _judged(self, key: ObjectKey, manifest: JsonObject, fault: EnvironmentFault) -> ConclaveError:
        """Tell a change that is not allowed from a manifest that is not: the one could be made anew."""
        if fault.facts.get("status") != UNPROCESSABLE or _made_anew(self.cluster, key, manifest) is None:
            return fault
        todo = "name the object in the release's recreate, or undo the change"
        facts = {name: value for name, value in fault.facts.items() if name != "cause"}
        return caused(EnvironmentFault, Code.OBJECT_IMMUTABLE, fault, todo=todo, **facts)


def _at(cluster: Cluster, key: ObjectKey) -> Observation:
    """Look at an object as it is."""
    try:
        return Observation(cluster.get(key))
    except EnvironmentFault as fault:
        return Observation(fault=_kept(fault))


def _kept(fault: EnvironmentFault) -> EnvironmentFault:
    """Give a fault that belongs to one object; one of the whole server ends the look."""
    if fault.code is Code.KUBERNETES_UNREACHABLE:
        raise fault
    return fault


def _made_anew(cluster: Cluster, key: ObjectKey, manifest: JsonObject) -> JsonObject | None:
    """Give what the API server would make of a manifest where nothing is yet; None where it would not.

    A dry run under another name: it cannot be asked for the name that is taken.
    """
    metadata = {**manifest["metadata"], "name": trial_name(key.name)}
    try:
        made = cluster.apply({**manifest, "metadata": metadata}, dry_run=True)
    except EnvironmentFault as fault:
        _kept(fault)
        return None
    return made.live if made.created else None


def _with_held(cluster: Cluster, key: ObjectKey, seen: Observation) -> Observation:
    """Add what a namespace or definition that could be pruned still holds."""
    if seen.live is None or not (key.is_namespace or key.is_definition):
        return seen
    try:
        return replace(seen, held=held_by(cluster, key, seen.live))
    except EnvironmentFault as fault:
        _kept(fault)
        return seen
