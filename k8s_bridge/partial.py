"""Looking at some objects of a release, and not at all of it.

Owns which objects a partial look is about, and how what it found joins what is known of the rest. Promises
that its plan has exactly the steps that a full plan has for these objects, and no prune: what an object
stands on, its namespace and the definition of its kind, is looked at with it. Says where only a full look
will do.

Source: docs/spec/bridge.md §9.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from k8s_bridge.changeset import ChangeSet, Outcome
from k8s_bridge.desired import Desired
from k8s_bridge.objects import ObjectKey, defined_kind
from k8s_bridge.order import STAGE_FOUNDATION, stage_of
from k8s_bridge.report import Finding

TOUCHED_MAX = 256
"""Objects of one partial look; where more were touched the whole release is looked at."""


def grounded(desired: Desired, touched: Collection[ObjectKey]) -> frozenset[ObjectKey] | None:
    """Give the objects to look at for the touched ones: these, and what of the release they stand on.

    None where the whole release is to be looked at: too many, or one that it does not name.
    """
    if not 0 < len(touched) <= TOUCHED_MAX or not all(key in desired.objects for key in touched):
        return None
    namespaces = {key.namespace for key in touched if key.namespace}
    kinds = {(key.group, key.kind) for key in touched}
    ground = {
        key
        for key, manifest in desired.objects.items()
        if stage_of(key) == STAGE_FOUNDATION
        and (key.name in namespaces if key.is_namespace else defined_kind(manifest) in kinds)
    }
    return frozenset(ground | set(touched))


def shakes(changes: ChangeSet) -> bool:
    """Whether a partial look changed what objects it did not look at stand on, or could not record."""
    return any(not result.wanted or _shaken(result.key, result.outcome) for result in changes.results)


def waiting(changes: ChangeSet) -> set[ObjectKey]:
    """Give the objects that are not in place, or contested, and are to be looked at again."""
    return {result.key for result in changes.results if result.wanted and result.code}


def joined(before: Finding, part: Finding) -> Finding:
    """Give what is known of a release after a partial look: of the others, what was known before."""
    found = {result.key: result for result in part.changes.results if result.wanted}
    results = tuple(
        found.get(result.key, result) if result.wanted else result for result in before.changes.results
    )
    health = {key: health for key, health in before.health.items() if key not in found}
    return Finding(replace(before.changes, results=results), health | dict(part.health))


def _shaken(key: ObjectKey, outcome: Outcome) -> bool:
    calm = {Outcome.UNCHANGED, Outcome.CONFIGURED} if key.is_namespace else {Outcome.UNCHANGED}
    return stage_of(key) == STAGE_FOUNDATION and outcome not in calm
