"""What the bridge says of every write before it is sent, and of every planned write afterwards.

Owns the two log events of a plan and their one form (docs/spec/bridge.md §10): ``step planned`` for each
step that writes, all of them before the first is sent, and ``step done`` for the same steps once the plan is
carried out; and those of a record that others touched (§5). An audit of the API server is judged against the
first two. Never decides, never writes anything else.
"""

from __future__ import annotations

import logging

from k8s_bridge.changeset import ChangeSet
from k8s_bridge.objects import metadata_text, uid_of
from k8s_bridge.plan import WRITING, Plan
from ledger.types import JsonObject
from runtime.log import event

PLANNED, DONE = "step planned", "step done"
RESTORED, BEGUN_ANEW = "record written again", "record begun anew"
_LOG = logging.getLogger("bridge.plan")


def planned(plan: Plan, number: int) -> list[JsonObject]:
    """Give what is said of a plan before it is carried out: of each step that writes, in their order.

    Args:
        plan: what is about to be done.
        number: counts the plans of this process.
    """
    about: JsonObject = {"plan": number, "release": plan.release, "revision": plan.revision}
    return [
        {
            **about,
            "action": step.action.value,
            "object": str(step.key),
            "uid": uid_of(step.live),
            "version": metadata_text(step.manifest, "resourceVersion"),
            "takeover": step.foreign is not None,
        }
        for step in plan.steps
        if step.action in WRITING
    ]


def done(plan: Plan, changes: ChangeSet, number: int) -> list[JsonObject]:
    """Give what is said of the same steps when the plan was carried out."""
    writing = {(step.key, step.wanted) for step in plan.steps if step.action in WRITING}
    return [
        {"plan": number, "object": str(result.key), "outcome": result.outcome.value, "code": int(result.code)}
        for result in changes.results
        if (result.key, result.wanted) in writing
    ]


def tell_record(plan: Plan) -> None:
    """Say aloud that the record was deleted or edited, or was begun anew where there must have been one."""
    before = plan.before
    about: JsonObject = {"release": plan.release, "revision": plan.revision}
    if before is not None and before.astray:
        event(_LOG, RESTORED, level=logging.WARNING, was=before.astray, objects=len(before.entries), **about)
    if before is not None and plan.inventory is not None and before.begun != plan.inventory.begun:
        event(_LOG, BEGUN_ANEW, level=logging.WARNING, **about)


def tell_planned(plan: Plan, number: int) -> None:
    """Say what is about to be written."""
    for said in planned(plan, number):
        event(_LOG, PLANNED, **said)


def tell_done(plan: Plan, changes: ChangeSet, number: int) -> None:
    """Say what became of it."""
    for said in done(plan, changes, number):
        event(_LOG, DONE, **said)
