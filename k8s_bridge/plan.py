"""What to do, decided before anything is done.

Owns every decision about a cluster: a verified revision, the inventory and what was observed go in, an
ordered list of steps with reasons comes out. Promises that the same inputs give the same plan, that nothing
unowned is touched, that nothing is pruned which was not recorded, does not carry the recorded UID, holds a
wanted or foreign object, or while any other step cannot succeed. Never does anything.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from consensus.verified import Verified
from k8s_bridge.co_owners import Foreign
from k8s_bridge.compare import changed_paths, is_bare, owned_by, same
from k8s_bridge.desired import Desired, desired_of
from k8s_bridge.inventory import Entry, Inventory, config_map_name, intend, prunable, unreadable
from k8s_bridge.objects import Identity, ObjectKey, metadata_text, uid_of
from k8s_bridge.objects import field as field_at
from k8s_bridge.order import STAGE_FOUNDATION, STAGE_REST, apply_order, prune_order, stage_of
from k8s_bridge.tenants import Held, tenants_of
from ledger.errors import Code, ConclaveError, Refused
from ledger.release import ReleaseRevision
from ledger.types import JsonObject

_UNOBSERVED_FAULT = Refused(Code.KUBERNETES_UNREACHABLE, got="not observed")
TENANTS_SHOWN_MAX = 3
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


class Action(enum.StrEnum):
    """What a step does.

    ``recreate`` deletes and creates, where the release says so. ``skip``, ``conflict`` and ``refused`` do
    nothing, for the reason they carry.
    """

    CREATE = "create"
    CONFIGURE = "configure"
    RECREATE = "recreate"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    SKIP = "skip"
    CONFLICT = "conflict"
    REFUSED = "refused"


WRITING = frozenset({Action.CREATE, Action.CONFIGURE, Action.RECREATE, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one object.

    Attributes:
        live: the object as the API server holds it; None when there is none.
        dry_run: what applying our manifest would make of it; None when not asked or refused.
        fault: why it could not be read or would not be accepted.
        held: for a namespace or a definition that could be pruned: what goes with it; None when not listed.
        foreign: what others added to it.
    """

    live: JsonObject | None = None
    dry_run: JsonObject | None = None
    fault: ConclaveError | None = None
    held: tuple[Held, ...] | None = None
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class World:
    """The cluster as one plan sees it.

    Attributes:
        inventory: what the release owns; None when the record could not be read.
        observed: per desired and per recorded object.
        claims: which other release owns an identity.
    """

    inventory: Inventory | None
    observed: Mapping[ObjectKey, Observation]
    claims: Mapping[Identity, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision about one object.

    Attributes:
        action: what to do.
        key: to what.
        stage: steps of a later stage wait until the earlier stage serves.
        reason: why, for people.
        code: OK, or why it is not done.
        manifest: what to apply, exactly as signed; None unless create, configure or unchanged.
        live: what was seen, if anything.
        forget: the inventory drops the object once the step is done.
        wanted: the object is desired (False for a prune decision).
        foreign: what others added to it, to be taken over before the apply.
        fault: what the API server said, where that is why it is not done.
    """

    action: Action
    key: ObjectKey
    stage: int
    reason: str
    code: Code = Code.OK
    manifest: JsonObject | None = None
    live: JsonObject | None = None
    forget: bool = False
    wanted: bool = True
    foreign: Foreign | None = None
    fault: ConclaveError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions for one release revision, in the order they are carried out.

    Attributes:
        chain_id, release, revision, height: of what was verified.
        steps: applies in dependency order, then prunes in reverse.
        before: the inventory as read; None when unreadable.
        removal: the release was deleted.
        inventory: to be written before the first step; None when the record is unreadable and stays as it is.
    """

    chain_id: str
    release: str
    revision: int
    height: int
    steps: tuple[Step, ...]
    before: Inventory | None
    inventory: Inventory | None
    removal: bool = False

    @property
    def writes(self) -> bool:
        """Whether carrying it out would write any object."""
        return any(step.action in WRITING for step in self.steps)


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
        inventory = replace(intend(world.inventory, desired.revision, ours), begun=_begun(desired, world))
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
    prunes = [_hold(step) if blocked else step for step in _prune_steps(desired, world)]
    return (*applies, *prunes, *_record_steps(desired, world))


def _begun(desired: Desired, world: World) -> int:
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


def _record_steps(desired: Desired, world: World) -> list[Step]:
    """Say that the record was begun anew, as long as that is of this revision."""
    if desired.part or _begun(desired, world) != desired.revision:
        return []
    key = ObjectKey("v1", "ConfigMap", "", config_map_name(desired.release))
    reason = "begun anew: what only earlier revisions had is not known, and stays"
    if desired.removal:
        reason = "there was none: what the release had here, if anything, is not known, and stays"
    return [Step(Action.SKIP, key, STAGE_REST, reason, code=Code.INVENTORY_LOST, wanted=False)]


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


def defined_kind(definition: JsonObject | None) -> tuple[str, str]:
    """Give the group and the kind that a definition defines."""
    return (str(field_at(definition, "spec", "group")), str(field_at(definition, "spec", "names", "kind")))


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


def _prune_steps(desired: Desired, world: World) -> list[Step]:
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
