"""Plans in random worlds."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_bridge.inventory import Entry, Inventory, decode, encode, intend, prunable, settle
from k8s_bridge.objects import ObjectKey, key_of, parse_object_id, uid_of
from k8s_bridge.order import rank
from k8s_bridge.plan import Action
from ledger.types import JsonObject
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import make_plan, reconcile
from tests.support.verified import CHAIN_ID, release

BASE = [namespace_object(), definition()]
OBJECTS: list[JsonObject] = [
    *(config_map(f"c{index}", key=value) for index in range(3) for value in ("one", "two")),
    *(service(f"s{index}") for index in range(2)),
    *(deployment("web", replicas=count) for count in (1, 2)),
    widget("one"),
    widget("two"),
]


def _one_each(chosen: list[JsonObject]) -> list[JsonObject]:
    return list({key_of(manifest): manifest for manifest in chosen}.values())


manifests = st.lists(st.sampled_from(OBJECTS), max_size=8).map(lambda chosen: [*BASE, *_one_each(chosen)])
names = st.text("abcz09-.", min_size=1, max_size=8)
keys = st.builds(
    ObjectKey,
    st.sampled_from(["v1", "apps/v1", "shop.test/v1"]),
    st.sampled_from(["ConfigMap", "Deployment", "Namespace"]),
    st.one_of(st.just(""), names.filter(lambda name: name != "-")),
    names,
)
entries = st.lists(st.builds(Entry, keys, st.text("0a-", max_size=6), st.booleans()), max_size=6)


@pytest.mark.requires("bridge.no-op-writes-nothing")
@settings(max_examples=40, deadline=None)
@given(manifests, manifests)
def test_planning_after_a_perfect_apply_is_all_unchanged(
    first: list[JsonObject], second: list[JsonObject]
) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(first))
    reconcile(cluster, release(second, revision=2))
    again = make_plan(cluster, release(second, revision=2))
    assert {step.action for step in again.steps} == {Action.UNCHANGED}
    assert again.inventory == again.before
    assert cluster.content().keys() == {key_of(manifest).identity for manifest in second}


@pytest.mark.requires("bridge.foreign-untouched")
@settings(max_examples=60, deadline=None)
@given(manifests, manifests, st.lists(st.sampled_from(OBJECTS), max_size=4).map(_one_each))
def test_no_foreign_object_is_touched(
    first: list[JsonObject], second: list[JsonObject], foreign: list[JsonObject]
) -> None:
    cluster = FakeCluster()
    cluster.put(namespace_object())
    reconcile(cluster, release(BASE))
    for manifest in foreign:
        cluster.put(manifest)
    before = {
        key_of(manifest).identity: copy.deepcopy(cluster.objects[key_of(manifest).identity])
        for manifest in foreign
    }
    for revision, wanted in enumerate((first, second), 2):
        steps = make_plan(cluster, release(wanted, revision=revision)).steps
        touched = {
            step.key.identity
            for step in steps
            if step.action in {Action.DELETE, Action.CONFIGURE, Action.CREATE}
        }
        assert not touched & before.keys()
        reconcile(cluster, release(wanted, revision=revision))
    assert before.items() <= cluster.objects.items()


@pytest.mark.requires("bridge.order")
@settings(max_examples=30, deadline=None)
@given(manifests, manifests)
def test_the_order_of_a_plan_respects_dependencies(first: list[JsonObject], second: list[JsonObject]) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(first))
    steps = make_plan(cluster, release(second, revision=2)).steps
    wanted = [rank(step.key) for step in steps if step.wanted]
    pruned = [rank(step.key) for step in steps if not step.wanted]
    assert wanted == sorted(wanted)
    assert pruned == sorted(pruned, reverse=True)
    assert [step.wanted for step in steps] == sorted((step.wanted for step in steps), reverse=True)


@pytest.mark.requires("bridge.plan-deterministic")
@settings(max_examples=20, deadline=None)
@given(manifests)
def test_the_same_inputs_in_any_order_give_the_same_plan(wanted: list[JsonObject]) -> None:
    shuffled = list(reversed(wanted))
    assert make_plan(FakeCluster(), release(wanted)) == make_plan(FakeCluster(), release(shuffled))


@pytest.mark.requires("bridge.inventory-round-trip")
@given(entries, st.integers(0, 2**53 - 1))
def test_an_inventory_survives_its_config_map(found: list[Entry], revision: int) -> None:
    inventory = Inventory(CHAIN_ID, "shop", revision, {entry.key.identity: entry for entry in found})
    assert decode(encode(inventory, "conclave-system")) == inventory


@pytest.mark.requires("bridge.inventory-round-trip")
@given(entries, st.lists(keys, max_size=6))
def test_intending_loses_nothing_and_settling_keeps_what_is_there(
    found: list[Entry], wanted: list[ObjectKey]
) -> None:
    inventory = Inventory(CHAIN_ID, "shop", 1, {entry.key.identity: entry for entry in found})
    intended = intend(inventory, 2, wanted)
    assert intended.entries.keys() == inventory.entries.keys() | {key.identity for key in wanted}
    settled = settle(intended, [Entry(key, "uid", created=False) for key in wanted], set())
    assert settled.entries.keys() == intended.entries.keys()
    left = {entry.key.identity for entry in prunable(settled, {key.identity for key in wanted})}
    assert left == inventory.entries.keys() - {key.identity for key in wanted}


@pytest.mark.requires("bridge.object-id")
@given(keys)
def test_an_object_id_survives_its_text(key: ObjectKey) -> None:
    assert parse_object_id(str(key)) == key
    assert uid_of(None) == ""
