"""Drift costs a look at the objects it is of, and not at their release."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest

from k8s_bridge import partial, trail
from k8s_bridge.changeset import ChangeSet
from k8s_bridge.desired import desired_of
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.inventory import decode
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from k8s_bridge.partial import TOUCHED_MAX, grounded
from k8s_bridge.reconcile import Reconciler
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, namespace_object, widget
from tests.support.verified import release
from tests.unit.k8s_bridge.test_contests import World

MANY = [config_map(f"m{index}", "shop", key="value") for index in range(6)]
ONE, TWO = key_of(MANY[0]), key_of(MANY[1])
RECORD = ObjectKey("v1", "ConfigMap", "conclave-system", "conclave-inventory-guestbook")


class Touched(World):
    """A loop whose release has objects of one field each, as the watch tells of them."""

    def __init__(self, *others: JsonObject) -> None:
        super().__init__()
        self.want(2, *others, *MANY)
        self.turn(1.0)
        self.turn(5.0)
        self.cluster.attempts.clear()

    def overwrite(self, key: ObjectKey, manager: str = "rogue", **more: str) -> None:
        """Write all fields of an object: our entry leaves its record of ownership."""
        edited = copy.deepcopy(self.cluster.objects[key.identity])
        edited["data"] = {"key": "by hand", **more}
        live = self.cluster.put(edited, manager)
        self.bell.ring(Verdict(self.name, key, Change.DRIFT, copy.deepcopy(live["metadata"])))

    def vanish(self, key: ObjectKey) -> None:
        self.cluster.remove(key)
        self.bell.ring(Verdict(self.name, key, Change.DRIFT))

    def asked_about(self) -> set[str]:
        """Take a turn; gives the names of the release's objects that were asked for."""
        self.turn(0.1)
        names = {asked.rpartition("/")[2] for asked in self.cluster.attempts}
        self.cluster.attempts.clear()
        return {key_of(m).name for m in MANY if any(key_of(m).name in name for name in names)}

    def recorded(self) -> dict[str, str]:
        found = decode(self.cluster.objects[RECORD.identity])
        return {entry.key.name: entry.uid for entry in found.entries.values()}


@pytest.mark.requires("bridge.drift-partial", "bridge.drift-undone", "bridge.foreign-fields")
def test_an_object_whose_record_names_us_no_more_is_looked_at_alone() -> None:
    world = Touched()
    world.overwrite(ONE, more="by hand")
    assert world.asked_about() == {"m0"}
    assert world.is_in_place(MANY[0])
    assert world.loop.account()["releases"][world.name]["outcome"] == "applied"


@pytest.mark.requires("bridge.drift-partial", "bridge.drift-undone")
def test_a_deleted_object_is_made_again_alone_and_recorded_with_its_new_uid() -> None:
    world = Touched()
    before = world.recorded()
    world.vanish(ONE)
    assert world.asked_about() == {"m0"}
    new = uid_of(world.cluster.objects[ONE.identity])
    assert new != before["m0"]
    assert world.recorded() == before | {"m0": new}


@pytest.mark.requires("bridge.drift-partial")
def test_what_happens_to_several_objects_at_once_is_one_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    world = Touched()
    caplog.clear()
    world.overwrite(ONE)
    world.vanish(TWO)
    assert world.asked_about() == {"m0", "m1"}
    said: list[Any] = [r for r in caplog.records if r.getMessage() == trail.PLANNED]
    assert len({record.fields["plan"] for record in said}) == 1
    actions = {record.fields["object"]: record.fields["action"] for record in said}
    assert actions == {str(ONE): "configure", str(TWO): "create"}
    assert sum(r.getMessage() == trail.DONE for r in caplog.records) == 2


@pytest.mark.requires("bridge.drift-partial")
def test_above_a_number_the_whole_release_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "TOUCHED_MAX", 1)
    world = Touched()
    world.overwrite(ONE)
    world.overwrite(TWO)
    assert world.asked_about() == {key_of(m).name for m in MANY}
    assert world.is_in_place(MANY[0])
    assert world.is_in_place(MANY[1])


@pytest.mark.requires("bridge.drift-partial", "bridge.inventory-unreadable")
def test_where_the_inventory_does_not_name_an_object_the_whole_release_is_looked_at() -> None:
    world = Touched()
    world.cluster.remove(RECORD)
    # Whoever knew the record writes it again; here nobody does.
    world.store.serve("another term")
    world.vanish(ONE)
    assert world.asked_about() == {key_of(m).name for m in MANY}
    assert world.recorded().keys() == {key_of(m).name for m in MANY}


@pytest.mark.requires("bridge.drift-partial", "bridge.inventory-unreadable")
def test_an_unreadable_inventory_is_not_written_by_a_partial_look() -> None:
    world = Touched()
    world.cluster.objects[RECORD.identity]["data"]["objects"] = "{"
    world.vanish(ONE)
    assert world.asked_about() == {key_of(m).name for m in MANY} - {"m0"}, "looked at whole, and not made"
    assert world.cluster.objects[RECORD.identity]["data"]["objects"] == "{"


@pytest.mark.requires("bridge.drift-partial")
def test_what_a_partial_look_cannot_put_back_is_told_and_tried_again_by_itself() -> None:
    world = Touched()
    fault = EnvironmentFault(Code.KUBERNETES_REFUSED, got="403 no", status=403)
    world.cluster.faults[ONE.identity] = fault
    world.overwrite(ONE)
    assert world.asked_about() == {"m0"}
    account = world.loop.account()["releases"][world.name]
    assert (account["outcome"], account["counts"]["failed"]) == ("partial", 1)
    assert [found["object"] for found in account["objects"]] == [str(ONE)]
    assert world.offered.findings[-1].changes.outcome == "partial"
    world.cluster.faults.clear()
    world.clock.advance(2.0)
    assert world.asked_about() == {"m0"}
    assert world.loop.account()["releases"][world.name]["outcome"] == "applied"
    assert world.offered.findings[-1].changes.outcome == "applied"


@pytest.mark.requires("bridge.drift-partial", "bridge.contested")
def test_an_object_that_is_overwritten_again_and_again_is_contested_without_a_look_at_the_others() -> None:
    world = Touched()
    asked: set[str] = set()
    for _ in range(100):
        world.overwrite(ONE)
        asked |= world.asked_about()
    account = world.loop.account()["releases"][world.name]
    assert [found["object"] for found in account["objects"]] == [str(ONE)]
    assert "rogue" in account["objects"][0]["reason"]
    assert asked == {"m0"}
    for _ in range(300):
        account = world.turn(0.5)
    assert (account["outcome"], world.is_in_place(MANY[0])) == ("applied", True)


@pytest.mark.requires("bridge.drift-partial")
def test_what_is_written_while_everything_is_looked_at_is_no_reason_to_do_so_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Touched()
    round_of = Reconciler._round

    def disturbed(reconciler: Reconciler, *about: Any) -> ChangeSet:
        changes = round_of(reconciler, *about)
        world.overwrite(ONE)
        return changes

    with monkeypatch.context() as looking:
        looking.setattr(Reconciler, "_round", disturbed)
        world.want(3, *MANY)
        assert world.asked_about() == {key_of(m).name for m in MANY}
    assert not world.is_in_place(MANY[0])
    assert world.asked_about() == {"m0"}
    assert world.is_in_place(MANY[0])


@pytest.mark.requires("bridge.drift-partial", "bridge.outage")
def test_a_server_that_is_in_trouble_takes_the_way_of_a_full_look() -> None:
    world = Touched()
    world.cluster.faults = {key_of(m).identity: _trouble() for m in MANY}
    world.overwrite(ONE)
    world.turn(0.1)
    assert world.loop.account()["releases"][world.name]["fault"] is not None
    world.cluster.faults = {}
    world.turn(10.0)
    assert world.is_in_place(MANY[0])


@pytest.mark.requires("bridge.drift-partial", "bridge.outage")
def test_drift_does_not_shorten_the_pauses_of_a_look_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Touched()
    asked: list[object] = []

    def down(*about: object, **_: object) -> None:
        asked.append(about)
        raise EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="refused")

    with monkeypatch.context() as outage:
        outage.setattr(world.cluster, "get", down)
        world.want(3, *MANY)
        world.overwrite(ONE)
        world.turn(1.0)
        assert asked
        asked.clear()
        world.turn(0.1)
        assert asked == []
    world.turn(10.0)
    assert world.is_in_place(MANY[0])


@pytest.mark.requires("bridge.drift-partial")
def test_a_namespace_that_is_made_again_has_everything_looked_at() -> None:
    shop = namespace_object("shop")
    world = Touched(shop)
    world.vanish(key_of(shop))
    world.turn(0.1)
    assert all(world.is_in_place(manifest) for manifest in MANY)


@pytest.mark.requires("bridge.drift-partial")
def test_an_object_is_looked_at_with_what_it_stands_on_and_nothing_else() -> None:
    ground = [namespace_object(), definition(), namespace_object("other")]
    desired = desired_of(release([*ground, widget("one"), widget("two"), config_map("c")]))
    namespace, kind = key_of(ground[0]), key_of(ground[1])
    one, plain = key_of(widget("one")), key_of(config_map("c"))
    assert grounded(desired, {one}) == frozenset({namespace, kind, one})
    assert grounded(desired, {plain}) == frozenset({namespace, plain})
    assert grounded(desired, set()) is None
    assert grounded(desired, {one, key_of(config_map("unknown"))}) is None
    large = [config_map(f"c{index}") for index in range(TOUCHED_MAX + 1)]
    keys = {key_of(manifest) for manifest in large}
    assert grounded(desired_of(release(large)), keys) is None
    assert grounded(desired_of(release(large)), keys - {key_of(large[0])}) is not None


def _trouble() -> EnvironmentFault:
    return EnvironmentFault(Code.KUBERNETES_REFUSED, got="503", status=503)
