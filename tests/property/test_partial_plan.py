"""Plans of some objects beside plans of all, in random worlds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_bridge.desired import desired_of
from k8s_bridge.objects import Identity, key_of
from k8s_bridge.observe import observe
from k8s_bridge.partial import grounded
from k8s_bridge.plan import WRITING, Action, plan
from k8s_bridge.store import InventoryStore
from ledger.errors import Refused
from ledger.types import JsonObject
from tests.property.test_bridge_plan import OBJECTS, _meddle, _refusal, faulty, hands, manifests, some
from tests.support.fake_cluster import FakeCluster
from tests.support.pipeline import reconcile
from tests.support.verified import CHAIN_ID, release, verified

Hand = tuple[int, Callable[[JsonObject], None] | None, str]


@pytest.mark.requires("bridge.drift-partial")
@settings(max_examples=120, deadline=None)
@given(
    manifests,
    manifests,
    st.tuples(hands, st.lists(st.sampled_from(OBJECTS), max_size=2)),
    faulty,
    st.sets(st.integers(0, 20), max_size=5),
    st.sets(some.map(str), max_size=3),
)
def test_a_partial_plan_has_the_full_plans_steps_for_its_objects_and_no_prune(
    first: list[JsonObject],
    second: list[JsonObject],
    others: tuple[list[Hand], list[JsonObject]],
    faults: dict[Identity, bool],
    touched: set[int],
    named: set[str],
) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(first))
    cluster.faults = {identity: _refusal(permanent) for identity, permanent in faults.items()}
    # What is refused now leaves the second revision's removals held: recorded, unwanted, still there.
    wanted = dataclasses.replace(release(second, revision=2).value, recreate=tuple(sorted(named)))
    reconcile(cluster, verified(wanted))
    cluster.immutable = {"Deployment": ("spec", "replicas")}
    _meddle(cluster, others[0])
    for manifest in others[1]:
        cluster.put(manifest, "operator")
    desired = desired_of(verified(wanted))
    ordered = sorted(desired.objects)
    keys = grounded(desired, {ordered[which % len(ordered)] for which in touched})
    if keys is None:
        return
    inventories = InventoryStore(cluster, CHAIN_ID).load()
    full = plan(verified(wanted), observe(cluster, desired, inventories))
    recorded = full.before is not None and {key.identity for key in keys} <= full.before.entries.keys()
    world = observe(cluster, desired.narrowed(keys), inventories)
    assert world.observed.keys() == keys
    try:
        part = plan(verified(wanted), world, keys)
    except Refused:
        assert not recorded
        return
    assert recorded
    assert part.steps == tuple(step for step in full.steps if step.wanted and step.key in keys)
    assert all(step.wanted and not step.forget and step.action is not Action.DELETE for step in part.steps)
    assert part.before is not None
    assert part.inventory is not None
    assert part.inventory.entries.keys() == part.before.entries.keys()
    assert part.writes == any(step.action in WRITING for step in part.steps)
    assert {key_of(m).identity for m in second} >= {step.key.identity for step in part.steps}
