"""What others wrote is put back at once, as the watch told of it; what is not plain takes a look."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from k8s_bridge.desired import Desired, desired_of
from k8s_bridge.drift import Change, Event, Tracker, Verdict
from k8s_bridge.objects import key_of
from k8s_bridge.repair import repair
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, namespace_object
from tests.support.verified import release
from tests.unit.k8s_bridge.test_contests import World

FIRST = config_map("first", key="value", other="stays ours")
SECOND = config_map("second", key="value", other="stays ours")
KEY = key_of(FIRST)


class Told(World):
    """A loop whose watches tell what they saw."""

    def __init__(self) -> None:
        super().__init__()
        self.want(2, FIRST, SECOND)
        # The looks, and the rests after them, are over.
        self.turn(1.0)
        self.turn(5.0)
        self.cluster.attempts.clear()

    def edit(self, manifest: JsonObject, **data: Any) -> None:
        """Write as somebody else, and have the watch tell."""
        edited = copy.deepcopy(self.cluster.objects[key_of(manifest).identity])
        edited["data"].update(data)
        self.told(self.cluster.put(edited, "rogue"))

    def told(self, live: JsonObject) -> None:
        metadata = copy.deepcopy(live["metadata"])
        self.bell.ring(Verdict(self.name, key_of(live), Change.DRIFT, metadata))

    def repaired(self) -> list[str]:
        """Take a turn; gives what was asked of the API server."""
        self.turn(0.1)
        asked, self.cluster.attempts = self.cluster.attempts, []
        return asked


@pytest.mark.requires("bridge.drift-at-once", "bridge.drift-undone")
def test_a_field_of_ours_is_put_back_by_one_request() -> None:
    world = Told()
    undone = world.loop.account()["releases"][world.name]["undone"]
    world.edit(FIRST, key="by hand")
    assert world.repaired() == [f"apply {KEY}"]
    assert world.is_in_place(FIRST)
    assert world.loop.account()["releases"][world.name]["undone"] == undone + 1


@pytest.mark.requires("bridge.drift-at-once", "bridge.drift-partial")
def test_a_look_at_what_was_repaired_follows_every_repair() -> None:
    world = Told()
    world.edit(FIRST, key="by hand")
    world.repaired()
    world.turn(1.0)
    assert world.cluster.attempts == [f"try {KEY}"]


@pytest.mark.requires("bridge.drift-at-once", "bridge.foreign-fields")
def test_what_others_added_is_taken_out_in_the_same_turn() -> None:
    world = Told()
    world.edit(FIRST, key="by hand", added="by hand")
    assert len(world.repaired()) > 1
    assert world.is_in_place(FIRST)
    world.edit(SECOND, added="by hand")
    world.turn(5.0)
    assert world.is_in_place(SECOND)


@pytest.mark.requires("bridge.drift-at-once", "bridge.foreign-fields")
def test_where_our_entry_is_gone_from_the_record_nothing_is_applied_before_a_look() -> None:
    world = Told()
    hidden = world.cluster.objects[KEY.identity]
    hidden["data"]["added"] = "by somebody who hides"
    hidden["metadata"]["managedFields"] = [
        {"manager": "controller", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:status": {}}}
    ]
    hidden["metadata"]["resourceVersion"] = "1000"
    world.told(hidden)
    assert world.repaired()[0].startswith("try ")


@pytest.mark.requires("bridge.drift-at-once")
def test_only_the_version_that_was_told_is_written() -> None:
    world = Told()
    world.edit(FIRST, key="by hand")
    later = world.cluster.objects[KEY.identity]
    later["metadata"]["resourceVersion"] = "1000"
    asked = world.repaired()
    assert asked[0] == f"apply {KEY}"
    assert asked[1:].count(f"try {KEY}") == 1, "refused, and looked at"
    assert world.is_in_place(FIRST)


@pytest.mark.requires("bridge.drift-at-once", "bridge.contested")
def test_repairs_that_repeat_are_a_contest_and_rest() -> None:
    world = Told()
    for _ in range(200):
        world.edit(FIRST, key="by hand")
        world.turn(0.1)
    assert world.cluster.writes.count(f"apply {KEY}") < 20
    account = world.loop.account()["releases"][world.name]
    assert [found["object"] for found in account["objects"]] == [str(KEY)]


@pytest.mark.requires("bridge.drift-at-once", "bridge.drift-undone")
def test_an_object_that_was_deleted_is_made_again() -> None:
    world = Told()
    world.cluster.remove(KEY)
    world.bell.ring(Verdict(world.name, KEY, Change.DRIFT))
    world.turn(0.1)
    assert world.is_in_place(FIRST)


@pytest.mark.requires("bridge.drift-at-once")
@pytest.mark.parametrize(
    "change",
    [
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"managedFields": []},
        {"resourceVersion": ""},
    ],
)
def test_what_is_not_plain_is_not_repaired_without_a_look(change: JsonObject) -> None:
    ours = {"manager": "conclave", "operation": "Apply", "fieldsV1": {"f:data": {}}}
    metadata = {"name": "first", "uid": "u", "resourceVersion": "7", "managedFields": [ours]}
    wanted = _desired(FIRST)
    assert repair(wanted, {KEY: metadata}) is not None
    assert repair(wanted, {KEY: {**metadata, **change}}) is None


@pytest.mark.requires("bridge.drift-at-once")
def test_what_other_objects_live_in_and_what_is_not_wanted_are_looked_at() -> None:
    ours = {"manager": "conclave", "operation": "Apply", "fieldsV1": {"f:data": {}}}
    for manifest in (namespace_object(), definition()):
        metadata = {**manifest["metadata"], "uid": "u", "resourceVersion": "7", "managedFields": [ours]}
        assert repair(_desired(manifest), {key_of(manifest): metadata}) is None
        assert repair(_desired(FIRST), {key_of(manifest): metadata}) is None


@pytest.mark.requires("bridge.drift-at-once", "bridge.drift-not-status")
def test_what_a_repair_left_is_known_and_the_rest_of_the_release_still_watched() -> None:
    tracker = Tracker()
    told = {"uid": "u", "resourceVersion": "1"}
    other = key_of(SECOND)
    tracker.learn("shop", [(KEY, {"metadata": told}), (other, {"metadata": told})])
    tracker.pause("shop", [KEY])
    after = {"uid": "u", "resourceVersion": "2"}
    assert tracker.notice(Event(KEY, after)) is None
    assert tracker.learn("shop", [(KEY, {"metadata": after})], whole=False) == []
    verdict = tracker.notice(Event(other, {"uid": "u", "resourceVersion": "3"}))
    assert verdict is not None
    assert (verdict.change, verdict.metadata) == (Change.DRIFT, {"uid": "u", "resourceVersion": "3"})


def _desired(manifest: JsonObject) -> Desired:
    return desired_of(release([manifest]))
