"""A record that somebody deleted or edited: written again as its writer knew it, or begun anew and told."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from typing import Any

import pytest

from consensus.verified import Verified
from k8s_bridge import trail
from k8s_bridge.changeset import ChangeSet, ReleaseOutcome
from k8s_bridge.inventory import Inventory, decode
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.store import InventoryStore
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.records import DesiredState
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, namespace_object
from tests.support.verified import CHAIN_ID, release, verified

RECORD = ObjectKey("v1", "ConfigMap", "conclave-system", "conclave-inventory-guestbook")
STAY, GONE, EXTRA = config_map("stay"), config_map("gone"), namespace_object("extra")
FIRST = [STAY, GONE, EXTRA]


class Writes:
    """A writer in one term after another."""

    def __init__(self) -> None:
        self.now = "1"

    def term(self) -> str:
        return self.now

    def pin(self) -> None:
        """Nothing to bind to."""

    def check(self) -> None:
        """Nothing to see."""


class Place:
    """A cluster with a bridge that has applied the first revision."""

    def __init__(self) -> None:
        self.cluster, self.writes = FakeCluster(), Writes()
        self.cluster.put(namespace_object("shop"))
        self.start()
        self.apply(release(FIRST))

    def start(self) -> None:
        """Begin a bridge's process."""
        self.store = InventoryStore(self.cluster, CHAIN_ID)
        self._reconciler = Reconciler(self.cluster, self.store, Unwatched(), lambda: 0, writes=self.writes)

    def apply(self, wanted: Verified[ReleaseRevision]) -> ChangeSet:
        return self._reconciler.reconcile(wanted).finding.changes

    def has(self, manifest: JsonObject) -> bool:
        return key_of(manifest).identity in self.cluster.objects

    def record(self) -> Inventory:
        return decode(self.cluster.objects[RECORD.identity])

    def edit(self, **objects: Any) -> None:
        """Write other objects into the record, as somebody else."""
        edited = copy.deepcopy(self.cluster.objects[RECORD.identity])
        edited["data"]["objects"] = json.dumps(objects)
        self.cluster.put(edited)


@pytest.fixture
def place() -> Place:
    return Place()


def _lost(changes: ChangeSet) -> list[str]:
    return [result.reason for result in changes.results if result.code is Code.INVENTORY_LOST]


def _ended(revision: int = 1) -> Verified[ReleaseRevision]:
    last = release([STAY], revision=revision).value
    return verified(dataclasses.replace(last, state=DesiredState.DELETED, prune=True))


@pytest.mark.requires("bridge.inventory-kept")
def test_a_deleted_record_is_written_again_as_its_writer_knew_it(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    before = place.record()
    place.cluster.remove(RECORD)
    changes = place.apply(release(FIRST))
    assert place.record() == before
    assert _lost(changes) == []
    said: list[Any] = [r for r in caplog.records if r.getMessage() == trail.RESTORED]
    assert [r.fields["was"] for r in said] == ["deleted"]
    place.cluster.writes.clear()
    place.apply(release(FIRST))
    assert place.cluster.writes == []


@pytest.mark.requires("bridge.inventory-kept")
def test_what_a_deleted_record_named_is_pruned_all_the_same(place: Place) -> None:
    place.cluster.remove(RECORD)
    assert place.apply(release([STAY], revision=2)).outcome is ReleaseOutcome.APPLIED
    assert not place.has(GONE)
    assert not place.has(EXTRA)
    assert {entry.key.name for entry in place.record().entries.values()} == {"stay"}


@pytest.mark.requires("bridge.inventory-kept", "bridge.foreign-untouched")
def test_an_edited_record_neither_hides_nor_adds_anything(place: Place) -> None:
    theirs = place.cluster.put(config_map("theirs"))
    entry = {"manager": "conclave", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {}}
    theirs["metadata"]["managedFields"] = [entry]
    place.edit(**{"v1/ConfigMap/shop/theirs": [theirs["metadata"]["uid"], True]})
    place.apply(release([STAY], revision=2))
    assert place.has(config_map("theirs"))
    assert not place.has(GONE)
    assert not place.has(EXTRA)


@pytest.mark.requires("bridge.inventory-kept")
def test_what_was_known_in_another_term_says_nothing(place: Place) -> None:
    place.writes.now = "2"
    place.start()
    place.apply(release([STAY, GONE], revision=2))
    place.cluster.remove(RECORD)
    place.writes.now = "3"
    assert _lost(place.apply(release([STAY], revision=3)))
    assert place.has(GONE)


@pytest.mark.requires("bridge.inventory-kept")
def test_a_write_whose_answer_was_lost_is_no_edit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = place.cluster.apply

    def unanswered(manifest: JsonObject, *, dry_run: bool = False) -> Any:
        applied = apply(manifest, dry_run=dry_run)
        if key_of(manifest) == RECORD and "more" in manifest["data"]["objects"]:
            raise EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="timeout")
        return applied

    more = release([*FIRST, config_map("more")])
    with monkeypatch.context() as outage:
        outage.setattr(place.cluster, "apply", unanswered)
        with pytest.raises(EnvironmentFault):
            place.apply(more)
    assert place.store.load().readable["guestbook"].astray == ""
    place.apply(more)
    assert place.has(config_map("more"))


@pytest.mark.requires("bridge.inventory-kept", "bridge.inventory-unreadable")
def test_a_record_that_became_unreadable_is_let_alone_until_it_is_deleted(place: Place) -> None:
    place.cluster.objects[RECORD.identity]["data"]["objects"] = "{"
    place.apply(release([STAY], revision=2))
    assert place.has(GONE)
    place.cluster.remove(RECORD)
    place.apply(release([STAY], revision=2))
    assert not place.has(GONE)


@pytest.mark.requires("bridge.inventory-lost")
def test_a_record_that_nobody_knows_is_begun_anew_and_said_until_the_next_revision(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.plan")
    place.cluster.remove(RECORD)
    for _ in range(2):
        place.start()
        changes = place.apply(release([STAY], revision=2))
        assert _lost(changes) == ["begun anew: what only earlier revisions had is not known, and stays"]
        assert changes.outcome is ReleaseOutcome.APPLIED
    assert [r.getMessage() for r in caplog.records].count(trail.BEGUN_ANEW) == 1
    assert place.has(GONE)
    assert place.has(EXTRA)
    assert place.record().begun == 2
    assert _lost(place.apply(release([STAY], revision=3))) == []


@pytest.mark.requires("bridge.inventory-lost")
def test_a_release_that_is_deleted_without_a_record_is_told(place: Place) -> None:
    place.cluster.remove(RECORD)
    place.start()
    for _ in range(2):
        changes = place.apply(_ended())
        assert changes.outcome is ReleaseOutcome.APPLIED
        assert len(_lost(changes)) == 1
    assert place.has(STAY)


@pytest.mark.requires("bridge.inventory-lost")
@pytest.mark.parametrize("revision", [1, 2])
def test_a_first_record_is_no_lost_one(revision: int) -> None:
    place = Place()
    fresh = [namespace_object("other"), config_map("new", "other")]
    assert _lost(place.apply(release(fresh, name="rival", revision=revision))) == []


@pytest.mark.requires("bridge.inventory-round-trip")
def test_a_record_with_a_mark_that_is_no_number_is_unreadable(place: Place) -> None:
    live = place.cluster.objects[RECORD.identity]
    live["metadata"]["annotations"]["conclave.internal/begun-anew"] = "x"
    with pytest.raises(Refused) as caught:
        decode(live)
    assert caught.value.code is Code.INVENTORY_UNREADABLE
