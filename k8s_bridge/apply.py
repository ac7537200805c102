"""Carrying a plan out.

Owns the only loop that writes wanted objects. Promises: the inventory is written before the first object and
settled after the last; steps go in the plan's order, those of one kind at once, a kind beginning when the
earlier one is done, a stage when the earlier one serves; one object's failure stops neither its neighbours
nor what runs, and holds every delete. Never does what the plan does not contain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from k8s_bridge.changeset import ChangeSet, ObjectResult, Outcome
from k8s_bridge.cluster import Cluster, only_new, only_same
from k8s_bridge.co_owners import managers_of, our_fields
from k8s_bridge.field_sets import minus
from k8s_bridge.inventory import Entry, Inventory, settle
from k8s_bridge.objects import ObjectKey, uid_of
from k8s_bridge.order import STAGE_FOUNDATION
from k8s_bridge.plan import Action, Plan, Step
from k8s_bridge.workers import OneByOne, Workers
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

ESTABLISH_TIMEOUT_S = 60.0
BRIEFLY_S = 1.0
SaveInventory = Callable[[Inventory], None]

_STANDING = {
    Action.UNCHANGED: Outcome.UNCHANGED,
    Action.SKIP: Outcome.SKIPPED,
    Action.CONFLICT: Outcome.CONFLICT,
    Action.REFUSED: Outcome.FAILED,
}


def carry_out(plan: Plan, cluster: Cluster, save: SaveInventory, workers: Workers | None = None) -> ChangeSet:
    """Carry out a plan.

    Args:
        plan: what to do.
        cluster: where.
        save: writes an inventory; called before the first write and after the last.
        workers: who applies the objects of one kind; None: one after the other.

    Raises:
        EnvironmentFault: the inventory cannot be written before anything else was; nothing was done then.
        Refused: LIMIT_EXCEEDED, an inventory too large to keep; nothing was done then.
    """
    if plan.inventory is not None and plan.writes and plan.inventory != plan.before:
        save(plan.inventory)
    results = _apply_all(plan, cluster, workers or OneByOne())
    blocked = any(result.outcome is not Outcome.UNCHANGED and result.code for result in results)
    results += _prune_all([step for step in plan.steps if not step.wanted], cluster, blocked=blocked)
    if plan.inventory is not None:
        settled = _settled(plan.inventory, plan, results)
        if settled != (plan.inventory if plan.writes else plan.before):
            results = _save_settled(settled, save, results)
    return ChangeSet(plan.chain_id, plan.release, plan.revision, tuple(results), plan.removal)


def _apply_all(plan: Plan, cluster: Cluster, workers: Workers) -> list[ObjectResult]:
    foundation = [step for step in plan.steps if step.wanted and step.stage == STAGE_FOUNDATION]
    results = _apply_kinds(foundation, cluster, workers)
    definitions = [
        result.key
        for result in results
        if result.key.is_definition and result.outcome in {Outcome.CREATED, Outcome.CONFIGURED}
    ]
    unready: dict[ObjectKey, EnvironmentFault] = {}
    for key in definitions:
        # One that hangs has used up the time of those behind it.
        fault = _wait(key, cluster, BRIEFLY_S if unready else ESTABLISH_TIMEOUT_S)
        if fault is not None:
            unready[key] = fault
    results = [_unready(result, unready) for result in results]
    if definitions:
        cluster.forget_kinds()
    rest = [step for step in plan.steps if step.wanted and step.stage != STAGE_FOUNDATION]
    return results + _apply_kinds(rest, cluster, workers)


def _apply_kinds(steps: list[Step], cluster: Cluster, workers: Workers) -> list[ObjectResult]:
    """Apply kind after kind: objects of one kind do not refer to each other."""
    results: list[ObjectResult] = []
    for _, alike in itertools.groupby(steps, lambda step: (step.key.group, step.key.kind)):
        results += workers.each(lambda step: _apply(step, cluster), list(alike))
    return results


def _wait(definition: ObjectKey, cluster: Cluster, timeout_s: float) -> EnvironmentFault | None:
    try:
        cluster.wait_established(definition, timeout_s)
    except EnvironmentFault as fault:
        return fault
    return None


def _unready(result: ObjectResult, unready: dict[ObjectKey, EnvironmentFault]) -> ObjectResult:
    fault = unready.get(result.key)
    if fault is None:
        return result
    return replace(result, outcome=Outcome.FAILED, code=fault.code, reason=str(fault), fault=fault)


def _apply(step: Step, cluster: Cluster) -> ObjectResult:
    result = _before(step)
    if step.manifest is None or step.action in _STANDING:
        return replace(result, outcome=_STANDING[step.action])
    try:
        if step.action is Action.RECREATE and not _cleared(step, cluster):
            reason = "deleted to be made anew, once it is gone"
            return replace(result, outcome=Outcome.SKIPPED, code=Code.OBJECT_TERMINATING, reason=reason)
        if step.foreign is not None and step.live is not None:
            cluster.take_over(step.key, step.live, step.foreign.takeover)
        applied = cluster.apply(_bound(step, step.manifest))
    except EnvironmentFault as fault:
        return _failed(result, fault if step.foreign is None else _passing(fault))
    outcome = Outcome.CREATED if applied.created else Outcome.CONFIGURED
    return replace(result, outcome=outcome, live=applied.live, rivals=_rivals(step, applied.live))


def _bound(step: Step, manifest: JsonObject) -> JsonObject:
    """Bind an apply to what was seen: a plan that got old neither takes over nor revives an object."""
    if step.live is None or step.action is Action.RECREATE:
        return only_new(manifest)
    return only_same(manifest, uid_of(step.live))


def _rivals(step: Step, after: JsonObject) -> tuple[str, ...]:
    """Name who else had written what this step took back."""
    added = step.foreign.managers if step.foreign is not None else ()
    taken = managers_of(step.live, minus(our_fields(after), our_fields(step.live))) if step.live else ()
    return tuple(sorted({*added, *taken}))


def _cleared(step: Step, cluster: Cluster) -> bool:
    """Delete exactly the object that was seen; give whether its place is free."""
    cluster.delete(step.key, uid_of(step.live))
    return cluster.get(step.key) is None


def _prune_all(steps: list[Step], cluster: Cluster, *, blocked: bool) -> list[ObjectResult]:
    """Delete, containers last, and these only where all that was to go before them went.

    A delete that is refused may have met another object than the one that was seen.
    """
    results: list[ObjectResult] = []
    stuck = False
    for step in steps:
        held = "held: not everything that is wanted was applied" if blocked else ""
        if stuck and step.stage == STAGE_FOUNDATION:
            held = "held: not everything that was to go before it went"
        results.append(_prune(step, cluster, held))
        stuck = stuck or (step.action is Action.DELETE and results[-1].outcome is Outcome.FAILED)
    return results


def _prune(step: Step, cluster: Cluster, held: str) -> ObjectResult:
    result = replace(_before(step), outcome=Outcome.SKIPPED)
    if step.action is not Action.DELETE:
        return replace(result, outcome=_STANDING[step.action])
    if held:
        return replace(result, reason=held)
    try:
        cluster.delete(step.key, uid_of(step.live))
    except EnvironmentFault as fault:
        return _failed(result, fault)
    return replace(result, outcome=Outcome.DELETED)


def _before(step: Step) -> ObjectResult:
    return ObjectResult(
        step.key,
        Outcome.FAILED,
        wanted=step.wanted,
        code=step.code,
        reason=step.reason,
        live=step.live,
        fault=step.fault,
    )


def _failed(result: ObjectResult, fault: EnvironmentFault) -> ObjectResult:
    return replace(result, outcome=Outcome.FAILED, code=fault.code, reason=str(fault), fault=fault)


def _passing(fault: EnvironmentFault) -> EnvironmentFault:
    """Give a refusal as one to be judged anew: whose the object's fields are has changed since the plan."""
    facts = {**fault.facts, "permanent": False}
    return EnvironmentFault(fault.code, got=fault.got, expected=fault.expected, todo=fault.todo, **facts)


def _settled(inventory: Inventory, plan: Plan, results: list[ObjectResult]) -> Inventory:
    """The inventory after the fact: UIDs of what is in place, without what is gone."""
    by_key: dict[tuple[ObjectKey, bool], ObjectResult] = {(r.key, r.wanted): r for r in results}
    applied, gone = [], set()
    for step in plan.steps:
        result = by_key[step.key, step.wanted]
        if step.wanted and _in_place(result.outcome, result.live):
            applied.append(Entry(step.key, uid_of(result.live), result.outcome is Outcome.CREATED))
        # A delete that was held or failed keeps its place; a plan's own skip may forget.
        elif step.forget and (step.action is Action.SKIP or result.outcome is Outcome.DELETED):
            gone.add(step.key.identity)
    return settle(inventory, applied, gone)


def _in_place(outcome: Outcome, live: JsonObject | None) -> bool:
    return outcome in {Outcome.CREATED, Outcome.CONFIGURED, Outcome.UNCHANGED} and bool(uid_of(live))


def _save_settled(settled: Inventory, save: SaveInventory, results: list[ObjectResult]) -> list[ObjectResult]:
    """Write the settled inventory; a failure leaves the intended one, which the next plan settles again."""
    try:
        save(settled)
    except EnvironmentFault as fault:
        key = ObjectKey("v1", "ConfigMap", "", settled.release)
        return [
            *results,
            ObjectResult(key, Outcome.FAILED, wanted=False, code=Code(fault.code), reason=str(fault)),
        ]
    return results
