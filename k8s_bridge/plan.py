"""What to do, decided before anything is done.

Owns every decision about a cluster: a verified revision, the inventory and what was observed go in, an
ordered list of steps with reasons comes out (their form: ``steps``; what leaves: ``prune``). Promises that
the same inputs give the same plan, that nothing unowned is touched, that nothing is pruned which was not
recorded, does not carry the recorded UID, holds a wanted or foreign object, or while any other step cannot
succeed. Never does anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from consensus.verified import Verified
from k8s_bridge.compare import changed_paths, is_bare, owned_by, same
from k8s_bridge.desired import Desired, desired_of
from k8s_bridge.inventory import Inventory, config_map_name, intend, unreadable
from k8s_bridge.objects import ObjectKey, defined_kind, metadata_text, uid_of
from k8s_bridge.order import STAGE_FOUNDATION, apply_order, stage_of
from k8s_bridge.prune import begun, prune_steps, record_steps
from k8s_bridge.steps import WRITING, Action, Observation, Plan, Step, World
from ledger.errors import Code, Refused
from ledger.release import ReleaseRevision
from ledger.types import JsonObject

__all__ = ["WRITING", "Action", "Observation", "Plan", "Step", "World", "owns", "plan", "steps_of"]


def plan(
    verified: Verified[ReleaseRevision], world: World, keys: Collection[ObjectKey] | None = None
) -> Plan:
    """Decide what to do for a verified revision.

    Args:
        verified: the revision.
        world: what was seen.
        keys: the wanted objects that are planned; None: all, and prunes. Of some nothing is pruned or
            forgotten, and the inventory goes on naming the same objects.

    Raises:
        TypeError: handed anything but a ``Verified`` release revision.
        Refused: EMPTY_RELEASE, OBJECT_INVALID, OBJECT_DUPLICATE, LIMIT_EXCEEDED; STALE when the inventory
            already records a newer revision (revisions only move forward); INVENTORY_UNREADABLE for a deleted
            release whose objects are not known, or where it does not name all of ``keys`` at this revision.
    """
    desired = desired_of(verified)
    if keys is not None:
        desired = desired.narrowed(keys)
        _check_recorded(desired, world.inventory)
    steps = steps_of(desired, world)
    inventory = None
    if world.inventory is not None:
        ours = [step.key for step in steps if step.wanted and step.manifest is not None]
        inventory = replace(intend(world.inventory, desired.revision, ours), begun=begun(desired, world))
    about = (desired.chain_id, desired.release, desired.revision, desired.height)
    return Plan(*about, steps, world.inventory, inventory, desired.removal)


def steps_of(desired: Desired, world: World) -> tuple[Step, ...]:
    """Decide the steps alone, of what is wanted or only might be: nothing can carry them out but a ``Plan``.

    Raises:
        Refused: STALE, INVENTORY_UNREADABLE, as ``plan``.
    """
    _check_forward(desired, world.inventory)
    if desired.removal and world.inventory is None:
        raise unreadable(config_map_name(desired.release), "no readable record", "what the release owns")
    defined = _changing_definitions(desired, world)
    applies = [_apply_step(key, desired, world, defined) for key in apply_order(desired.objects)]
    blocked = any(step.action in {Action.CONFLICT, Action.REFUSED, Action.SKIP} for step in applies)
    prunes = [_hold(step) if blocked else step for step in prune_steps(desired, world)]
    return (*applies, *prunes, *record_steps(desired, world))


def owns(key: ObjectKey, live: JsonObject, inventory: Inventory | None) -> bool:
    """Whether a live object is ours: we applied it, or a record says that this name was ours before."""
    entry = inventory.entries.get(key.identity) if inventory else None
    return owned_by(live) or (entry is not None and (bool(entry.uid) or is_bare(live)))


def _check_forward(desired: Desired, inventory: Inventory | None) -> None:
    if inventory is not None and inventory.revision > desired.revision:
        raise Refused(
            Code.STALE,
            got=f"revision {desired.revision}",
            expected=f"at least {inventory.revision}, which the inventory records",
            todo="wait until the ledger that is read has caught up",
            release=desired.release,
        )


def _check_recorded(desired: Desired, inventory: Inventory | None) -> None:
    """See that planning some objects adds none to the inventory: what is not recorded takes a full plan."""
    recorded = inventory.entries.keys() if inventory is not None else frozenset()
    missing = desired.identities - recorded
    if inventory is None or inventory.revision != desired.revision or missing:
        name = config_map_name(desired.release)
        raise unreadable(name, f"{len(missing)} objects not recorded", "a record of this revision with each")


def _changing_definitions(desired: Desired, world: World) -> frozenset[tuple[str, str]]:
    """Kinds whose definition this plan creates or changes: what the server says of them now is void."""
    kinds = set()
    for key, manifest in desired.objects.items():
        seen = world.observed.get(key, Observation())
        if key.is_definition and not (seen.live and same(seen.live, seen.dry_run)):
            kinds.add(defined_kind(manifest))
    return frozenset(kinds)


def _apply_step(key: ObjectKey, desired: Desired, world: World, defined: frozenset[tuple[str, str]]) -> Step:
    seen = world.observed.get(key, Observation())
    if (key.group, key.kind) in defined:
        seen = replace(seen, fault=None)
    step = Step(Action.SKIP, key, stage_of(key), "", live=seen.live)
    manifest = desired.objects[key]
    obstacle = _obstacle(key, seen, world)
    if obstacle is not None:
        action, code, reason = obstacle
        if code is Code.OBJECT_IMMUTABLE and _may_recreate(key, desired, world):
            return replace(step, action=Action.RECREATE, reason=reason, manifest=manifest)
        fault = seen.fault if action is Action.REFUSED else None
        return replace(step, action=action, code=code, reason=reason, fault=fault)
    if seen.live is None:
        return replace(step, action=Action.CREATE, reason="absent", manifest=manifest)
    unchanged = same(seen.live, seen.dry_run)
    if unchanged and seen.foreign is None:
        return replace(step, action=Action.UNCHANGED, reason="as signed", manifest=manifest)
    reasons = [seen.foreign.reason] if seen.foreign is not None else []
    if not unchanged and seen.dry_run:
        reasons += changed_paths(seen.live, seen.dry_run)
    step = replace(
        step,
        action=Action.CONFIGURE,
        reason=", ".join(reasons) or "its definition changes",
        manifest=manifest,
    )
    return replace(step, foreign=seen.foreign)


def _may_recreate(key: ObjectKey, desired: Desired, world: World) -> bool:
    """Whether an object may be deleted to be made anew: the release says so, and it is the one we made.

    Never what others would go with.
    """
    entry = world.inventory.entries.get(key.identity) if world.inventory else None
    live = world.observed[key].live
    ours = entry is not None and live is not None and entry.uid == uid_of(live) and owned_by(live)
    return ours and key in desired.recreate and stage_of(key) != STAGE_FOUNDATION


def _obstacle(key: ObjectKey, seen: Observation, world: World) -> tuple[Action, Code, str] | None:
    """What forbids applying a wanted object, the strongest first; None when nothing does."""
    holder = world.claims.get(key.identity)
    found: tuple[Action, Code, str] | None = None
    if holder is not None:
        found = (Action.CONFLICT, Code.OBJECT_CLAIMED, f"release {holder} owns it")
    elif seen.live is not None and not key.is_namespace and not owns(key, seen.live, world.inventory):
        found = (Action.CONFLICT, Code.OBJECT_NOT_OWNED, "it exists and was not made by this ledger")
    elif metadata_text(seen.live, "deletionTimestamp"):
        found = (Action.SKIP, Code.OBJECT_TERMINATING, "it is being deleted; created again once gone")
    elif seen.fault is not None:
        rests = seen.fault.code in {Code.OBJECT_CONTESTED, Code.OBJECT_TERMINATING}
        found = (Action.SKIP if rests else Action.REFUSED, seen.fault.code, str(seen.fault))
    elif seen.live is None and world.inventory is None:
        found = (Action.SKIP, Code.INVENTORY_UNREADABLE, "cannot be recorded before it is created")
    return found


def _hold(step: Step) -> Step:
    if step.action is not Action.DELETE:
        return step
    return replace(
        step, action=Action.SKIP, reason="held: not everything that is wanted can be applied", forget=False
    )
