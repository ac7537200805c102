"""What of a record leaves the cluster, and what of it stays.

Owns the decisions about what is recorded and no longer wanted, and about a record that was begun anew.
Promises that nothing is deleted which was not recorded, does not carry the recorded UID, was not applied by
us, or is a namespace or a definition in which anything is that does not go with it. Never does anything.

Source: docs/spec/bridge.md §5.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from k8s_bridge.compare import is_bare, owned_by
from k8s_bridge.desired import Desired
from k8s_bridge.inventory import Entry, config_map_name, prunable
from k8s_bridge.objects import Identity, ObjectKey, defined_kind, metadata_text, uid_of
from k8s_bridge.order import STAGE_REST, prune_order, stage_of
from k8s_bridge.steps import Action, Observation, Step, World
from k8s_bridge.tenants import tenants_of
from ledger.errors import Code, Refused

_UNOBSERVED_FAULT = Refused(Code.KUBERNETES_UNREACHABLE, got="not observed")
TENANTS_SHOWN_MAX = 3
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def prune_steps(desired: Desired, world: World) -> list[Step]:
    """Decide about all that is recorded and not wanted, containers last; of some objects alone nothing."""
    if world.inventory is None or desired.part:
        return []
    if not desired.prune:
        return [_forget_step(entry) for entry in prunable(world.inventory, desired.identities)]
    entries = {entry.key: entry for entry in prunable(world.inventory, desired.identities)}
    wanted = desired.identities | world.claims.keys()
    steps: list[Step] = []
    going: set[str] = set()
    for key in prune_order(entries):
        step = _prune_step(entries[key], world, wanted, going)
        steps.append(step)
        # Containers come last: what of their content goes is decided by then.
        if step.action is Action.DELETE:
            going.add(uid_of(step.live))
    return steps


def _forget_step(entry: Entry) -> Step:
    reason = "the release was deleted without its objects"
    return Step(Action.SKIP, entry.key, stage_of(entry.key), reason, forget=True, wanted=False)


def _prune_step(entry: Entry, world: World, wanted: frozenset[Identity], going: Collection[str]) -> Step:
    key = entry.key
    seen = world.observed.get(key, Observation(fault=_UNOBSERVED_FAULT))
    step = Step(Action.SKIP, key, stage_of(key), "", live=seen.live, wanted=False)
    if seen.fault is not None and seen.fault.code is not Code.OBJECT_KIND_UNKNOWN:
        return replace(
            step, action=Action.REFUSED, code=seen.fault.code, reason=str(seen.fault), fault=seen.fault
        )
    reason, forget = _why_keep(entry, seen, world)
    if not reason:
        reason, forget = _keep_container(entry, seen, wanted, going)
    if reason:
        return replace(step, reason=reason, forget=forget)
    return replace(step, action=Action.DELETE, reason="no longer in the release", forget=True)


def _why_keep(entry: Entry, seen: Observation, world: World) -> tuple[str, bool]:
    """Why a recorded object is not deleted (empty: it is), and whether the inventory forgets it."""
    holder = world.claims.get(entry.key.identity)
    if holder is not None:
        return f"release {holder} owns it now", True
    if seen.live is None:
        return "already gone", True
    applied = owned_by(seen.live) or is_bare(seen.live)
    if entry.uid != uid_of(seen.live) and (entry.uid or not applied):
        return "another object has this name now", True
    # Whoever may write the record, but not the object, must not have us delete it.
    if not applied:
        return "recorded as ours, but not applied by us", False
    if metadata_text(seen.live, "deletionTimestamp"):
        return "it is being deleted", False
    return "", False


def _keep_container(
    entry: Entry, seen: Observation, wanted: frozenset[Identity], going: Collection[str]
) -> tuple[str, bool]:
    """Why a namespace or definition stays (empty: it may go), and whether to forget it.

    Deleting one takes along everything inside it: nothing may be there but what this plan deletes, by the
    UIDs ``going``, and what goes with that.
    """
    key = entry.key
    if key.is_namespace:
        if key.name in PROTECTED_NAMESPACES or not entry.created:
            return "the namespace was here before the release", True
        held = [identity for identity in wanted if identity[2] == key.name]
    elif key.is_definition:
        group, kind = defined_kind(seen.live)
        held = [identity for identity in wanted if identity[:2] == (group, kind)]
    else:
        return "", False
    if held:
        return "it still holds a wanted object", False
    if seen.held is None:
        return "what it holds could not be listed", False
    tenants = tenants_of(seen.held, going)
    if tenants:
        named = ", ".join(str(tenant.key) for tenant in tenants[:TENANTS_SHOWN_MAX])
        more = len(tenants) - TENANTS_SHOWN_MAX
        return f"it holds objects of others: {named}{f', {more} more' if more > 0 else ''}", False
    return "", False


def begun(desired: Desired, world: World) -> int:
    """Give the revision at which the record was begun anew; this one, where that is now.

    A record that names nothing is one that was lost where an earlier revision may have had it written: where
    an object is ours already, or where the release is to leave and what it had must be known.
    """
    inventory = world.inventory
    if inventory is None or inventory.revision:
        return inventory.begun if inventory else 0
    unclaimed = [key for key in desired.objects if key.identity not in world.claims]
    seen = [world.observed.get(key, Observation()).live for key in unclaimed]
    ours = desired.removal or any(live is not None and owned_by(live) for live in seen)
    return desired.revision if ours and (desired.revision > 1 or desired.removal) else 0


def record_steps(desired: Desired, world: World) -> list[Step]:
    """Say that the record was begun anew, as long as that is of this revision."""
    if desired.part or begun(desired, world) != desired.revision:
        return []
    key = ObjectKey("v1", "ConfigMap", "", config_map_name(desired.release))
    reason = "begun anew: what only earlier revisions had is not known, and stays"
    if desired.removal:
        reason = "there was none: what the release had here, if anything, is not known, and stays"
    return [Step(Action.SKIP, key, STAGE_REST, reason, code=Code.INVENTORY_LOST, wanted=False)]
