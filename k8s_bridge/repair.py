"""Putting back objects that somebody wrote, as the watch told of them, without looking first.

Owns the plan of a repair and the question what it settled. Promises that only an object we put in place is
applied, in exactly the version the watch told of, and only where that version's record of ownership still
names us: of any other the record does not say what others added, and an apply would destroy that evidence.
Whatever is not as plain as that takes a look at these objects, and so does every repair a moment later. Never
writes, prunes or records anything.

Source: docs/spec/bridge.md §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from k8s_bridge.changeset import ChangeSet, Outcome
from k8s_bridge.cluster import only_version
from k8s_bridge.co_owners import foreign_of
from k8s_bridge.compare import owned_by
from k8s_bridge.desired import Desired
from k8s_bridge.objects import ObjectKey, metadata_text
from k8s_bridge.order import STAGE_FOUNDATION, apply_order, stage_of
from k8s_bridge.plan import Action, Plan, Step
from ledger.types import JsonObject

Told = Mapping[ObjectKey, JsonObject]
"""The metadata that a watch told, by object."""


def repair(desired: Desired, told: Told) -> Plan | None:
    """Give the plan that puts these objects back; None where it takes a look.

    Its manifests are what was signed, bound to the version that was told.
    """
    steps = []
    for key in apply_order(told):
        manifest, live = desired.objects.get(key), _live(key, told[key])
        if manifest is None or stage_of(key) == STAGE_FOUNDATION:
            return None
        version = metadata_text(live, "resourceVersion")
        if not version or not owned_by(live) or metadata_text(live, "deletionTimestamp"):
            return None
        bound = only_version(manifest, version)
        steps.append(
            Step(Action.CONFIGURE, key, stage_of(key), "written by others", manifest=bound, live=live)
        )
    about = (desired.chain_id, desired.release, desired.revision, desired.height)
    return Plan(*about, tuple(steps), before=None, inventory=None)


def settled(changes: ChangeSet, told: Told) -> ChangeSet:
    """Give what a repair wrote and left as signed, with nothing that others added.

    Where nothing was written, what the watch told of is no field of ours.
    """
    return replace(
        changes,
        results=tuple(
            result
            for result in changes.results
            if result.outcome is Outcome.CONFIGURED
            and result.live is not None
            and metadata_text(result.live, "resourceVersion") != told[result.key].get("resourceVersion")
            and foreign_of(result.key, result.live) is None
        ),
    )


def _live(key: ObjectKey, metadata: JsonObject) -> JsonObject:
    return {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
