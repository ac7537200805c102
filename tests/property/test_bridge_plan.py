"""Plans in random worlds."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_bridge.inventory import Entry, Inventory, decode, encode, intend, prunable, settle
from k8s_bridge.objects import Identity, ObjectKey, key_of, parse_object_id, uid_of
from k8s_bridge.plan import Action
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import make_plan, reconcile
from tests.support.verified import CHAIN_ID, release, verified

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


def _add_label(live: JsonObject) -> None:
    live["metadata"]["labels"] = {**live["metadata"].get("labels", {}), "theirs": "yes"}


def _add_data(live: JsonObject) -> None:
    live["data"] = {**live.get("data", {}), "theirs": "yes"}


def _add_to_spec(live: JsonObject) -> None:
    live["spec"] = {**live.get("spec", {}), "theirs": {"deep": [1, 2]}}


def _overwrite(live: JsonObject) -> None:
    for name in ("data", "spec"):
        if name in live:
            live[name] = {**live[name], next(iter(live[name])): "overwritten"}


EDITS = (_add_label, _add_data, _add_to_spec, _overwrite)
MANAGERS = ("kubectl-edit", "conclave", "operator")
hands = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from((*EDITS, None)), st.sampled_from(MANAGERS)), max_size=6
)


HOLDERS = {"Namespace", "CustomResourceDefinition"}


def _meddle(cluster: FakeCluster, found: list[tuple[int, Callable[[JsonObject], None] | None, str]]) -> None:
    """Edit or delete some of what is there, as others would."""
    for which, edit, manager in found:
        present = sorted(i for i in cluster.content() if i[1] not in HOLDERS)
        if not present:
            return
        live = copy.deepcopy(cluster.objects[present[which % len(present)]])
        if edit is None:
            cluster.remove(key_of(live))
        else:
            edit(live)
            cluster.put(live, manager)


def _as_signed(cluster: FakeCluster, wanted: list[JsonObject]) -> bool:
    return all(
        {**cluster.objects[key_of(manifest).identity], "metadata": None} == {**manifest, "metadata": None}
        and "labels" not in cluster.objects[key_of(manifest).identity]["metadata"]
        for manifest in wanted
    )


@pytest.mark.requires("bridge.foreign-fields", "bridge.no-op-writes-nothing")
@settings(max_examples=60, deadline=None)
@given(manifests, hands)
def test_whatever_others_did_one_run_makes_it_as_signed_and_the_next_writes_nothing(
    wanted: list[JsonObject], found: list[tuple[int, Callable[[JsonObject], None] | None, str]]
) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(wanted))
    _meddle(cluster, found)
    reconcile(cluster, release(wanted))
    assert _as_signed(cluster, wanted)
    cluster.writes.clear()
    assert {step.action for step in make_plan(cluster, release(wanted)).steps} == {Action.UNCHANGED}
    reconcile(cluster, release(wanted))
    assert cluster.writes == []


def _refusal(permanent: bool) -> EnvironmentFault:
    status = 422 if permanent else 503
    return EnvironmentFault(Code.KUBERNETES_REFUSED, got="no", status=status, permanent=permanent)


some = st.sampled_from(OBJECTS).map(key_of)
faulty = st.dictionaries(some.map(lambda key: key.identity), st.booleans(), max_size=3)


@pytest.mark.requires("bridge.failure-deletes-nothing", "bridge.foreign-untouched")
@settings(max_examples=80, deadline=None)
@given(manifests, manifests, hands, faulty, st.lists(st.sampled_from(OBJECTS), max_size=3).map(_one_each))
def test_what_is_deleted_is_ours_unwanted_and_only_where_all_that_is_wanted_can_be(
    first: list[JsonObject],
    second: list[JsonObject],
    found: list[tuple[int, Callable[[JsonObject], None] | None, str]],
    faults: dict[Identity, bool],
    foreign: list[JsonObject],
) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(first))
    _meddle(cluster, found)
    # A name that was ours and is another's object now is drift where it is wanted.
    theirs = {key_of(m).identity for m in foreign} - {key_of(m).identity for m in first}
    for manifest in foreign:
        if key_of(manifest).identity in theirs:
            cluster.put(manifest)
    made = {identity: copy.deepcopy(cluster.objects[identity]) for identity in theirs}
    cluster.faults = {identity: _refusal(permanent) for identity, permanent in faults.items()}
    wanted = release(second, revision=2)
    found_plan = make_plan(cluster, wanted)
    deleted = [step for step in found_plan.steps if step.action is Action.DELETE]
    assert not {step.key.identity for step in deleted} & {key_of(m).identity for m in second}
    assert not {step.key.identity for step in deleted} & theirs
    assert found_plan.before is not None
    for step in deleted:
        assert found_plan.before.entries[step.key.identity].uid == uid_of(step.live)
    if any(step.wanted and step.code for step in found_plan.steps):
        assert deleted == []
    reconcile(cluster, wanted)
    assert {identity: cluster.objects[identity] for identity in theirs} == made


@pytest.mark.requires("bridge.failure-deletes-nothing", "bridge.no-op-writes-nothing")
@settings(max_examples=40, deadline=None)
@given(manifests, manifests, faulty)
def test_once_nothing_is_in_the_way_two_runs_bring_everything_to_rest(
    first: list[JsonObject], second: list[JsonObject], faults: dict[Identity, bool]
) -> None:
    cluster = FakeCluster()
    reconcile(cluster, release(first))
    cluster.faults = {identity: _refusal(permanent) for identity, permanent in faults.items()}
    reconcile(cluster, release(second, revision=2))
    cluster.faults = {}
    reconcile(cluster, release(second, revision=2))
    assert cluster.content().keys() == {key_of(manifest).identity for manifest in second}
    again = make_plan(cluster, release(second, revision=2))
    assert {step.action for step in again.steps} == {Action.UNCHANGED}
    assert again.inventory == again.before


@pytest.mark.requires("bridge.immutable")
@settings(max_examples=40, deadline=None)
@given(manifests, manifests, st.sets(some.map(str)))
def test_nothing_is_made_anew_that_the_release_does_not_name(
    first: list[JsonObject], second: list[JsonObject], named: set[str]
) -> None:
    cluster = FakeCluster()
    cluster.immutable = {"ConfigMap": ("data",), "Deployment": ("spec", "replicas")}
    reconcile(cluster, release(first))
    before = {identity: uid_of(live) for identity, live in cluster.objects.items()}
    wanted = dataclasses.replace(release(second, revision=2).value, recreate=tuple(sorted(named)))
    steps = make_plan(cluster, verified(wanted)).steps
    anew = {str(step.key) for step in steps if step.action is Action.RECREATE}
    stuck = {str(step.key) for step in steps if step.code is Code.OBJECT_IMMUTABLE}
    assert anew <= named
    assert not stuck & named
    reconcile(cluster, verified(wanted))
    for manifest in second:
        identity = key_of(manifest).identity
        if identity in before and str(key_of(manifest)) not in anew:
            assert uid_of(cluster.objects[identity]) == before[identity]
