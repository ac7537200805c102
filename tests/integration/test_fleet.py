"""Releases over two real API servers, each with its own bridge: waves, the machine's rollback, freeze, scale.

What the ledger says is read back with proof at the heights that matter; what runs is what the API
servers say. Every test has releases of its own, so that each can run alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from consensus import ledger_reader, release_reader
from ledger.errors import Code
from ledger.manifest import object_id
from ledger.records import IncidentKind, IncidentRecord, MetricRecord
from ledger.rollout import ClusterState, RolloutState
from ledger.types import JsonObject
from tests.support.fleet import SIMULATE, Fleet, failing, running_fleet, simulated
from tests.support.manifests import config_map, deployment, namespace_object

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EAST, WEST = "east", "west"
EAST_FIRST = {"waves": [{"clusters": [EAST]}, {"clusters": [WEST]}]}
PEOPLE = ("alice", "bob", "carol")
COLD = "cold"
"""The release that is frozen."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), EAST, WEST, validators=4) as made:
        yield made


def _incident(fleet: Fleet, name: str) -> IncidentRecord:
    """Wait for the first incident of a release."""

    def ask() -> IncidentRecord | None:
        found = ledger_reader.incidents(fleet.view()).value
        return next((incident for incident in reversed(found) if incident.release == name), None)

    return fleet.until(f"an incident of {name}", ask)


def _text(fleet: Fleet, cluster: str, manifest: JsonObject) -> str:
    return str(fleet.clusters[cluster].found(manifest)["data"]["text"])


@dataclass(frozen=True, slots=True)
class Thawed:
    """What was seen while a release was frozen, until a quorum lifted the freeze."""

    settings: JsonObject
    refused: list[int | None]
    approved: JsonObject
    after_one_approval: str
    desired: list[int | None]
    text: list[str]


@pytest.fixture(scope="module")
def thawed(fleet: Fleet) -> Thawed:
    """Freeze a release, change it by hand and by proposal, lift the freeze."""
    settings = config_map("settings", COLD, text="one")
    fleet.release(COLD, [namespace_object(COLD), settings])
    fleet.complete(COLD, 1)
    height = fleet.conclave("freeze", "incident-7", "--release", COLD, "--as", "bob")["height"]
    refused = []
    for cluster in (EAST, WEST):
        fleet.looked(cluster, height)
        refused.append(fleet.status(cluster)["refused"].get(COLD, {}).get("code"))
        fleet.clusters[cluster].edit(settings, {"data": {"text": "by hand"}})
    renewed = config_map("settings", COLD, text="two")
    approved = fleet.release(COLD, [namespace_object(COLD), renewed])
    lift = str(fleet.conclave("remove", "Freeze/incident-7", "--as", "alice")["number"])
    half = fleet.conclave("approve", lift, "--as", "bob")
    for cluster in (EAST, WEST):
        fleet.looked(cluster, half["height"])
    desired = [fleet.desired(cluster, COLD) for cluster in (EAST, WEST)]
    text = [_text(fleet, cluster, settings) for cluster in (EAST, WEST)]
    fleet.conclave("approve", lift, "--as", "carol")
    return Thawed(settings, refused, approved, half["state"], desired, text)


@pytest.mark.requires("fleet.freeze")
def test_one_person_freezes_a_scope_and_a_quorum_lifts_it(fleet: Fleet, thawed: Thawed) -> None:
    assert thawed.refused == [Code.FROZEN, Code.FROZEN]
    # Neither the revision that was approved nor the repair of a hand edit reaches a frozen cluster.
    assert (thawed.approved["state"], thawed.approved["revision"]) == ("approved", None)
    assert thawed.after_one_approval == "open"
    assert (thawed.desired, thawed.text) == ([1, 1], ["by hand", "by hand"])

    def undone() -> bool:
        return "by hand" not in {_text(fleet, cluster, thawed.settings) for cluster in (EAST, WEST)}

    fleet.until("the hand edits undone", undone)
    assert fleet.conclave("get", "freezes")["items"] == []


@pytest.mark.requires("fleet.waves")
def test_the_second_wave_waits_until_the_first_is_reported_healthy(fleet: Fleet) -> None:
    name = "waves"
    web = simulated(deployment("web", name), "unready")
    height = fleet.release(name, [namespace_object(name), web], rollout=EAST_FIRST)["height"]

    waiting = fleet.reported(EAST, name, 1, health="in_progress")
    fleet.looked(WEST, waiting.height)
    assert fleet.clusters[EAST].look(web) is not None
    assert fleet.clusters[WEST].look(namespace_object(name)) is None
    assert fleet.status(WEST)["releases"].get(name) is None

    def become_ready(cluster: str) -> None:
        (pod,) = fleet.until("a pod", lambda: fleet.clusters[cluster].pods(name) or None)
        fleet.clusters[cluster].edit(pod, {"metadata": {"annotations": {SIMULATE: "ready"}}})

    become_ready(EAST)
    healthy = fleet.reported(EAST, name, 1)
    assert healthy.reporter == fleet.did(f"bridge-{EAST}")
    # It was this report, and nothing before it.
    assert {fleet.desired(WEST, name, earlier) for earlier in range(height, healthy.height)} == {None}
    assert fleet.desired(WEST, name, healthy.height) == 1
    fleet.reported(WEST, name, 1, health="in_progress")
    become_ready(WEST)
    fleet.complete(name, 1)
    assert fleet.conclave("get", "release", name)["items"][0]["healthy"] == 1


@pytest.mark.requires("fleet.rollback")
def test_the_machine_alone_rolls_back_a_revision_that_fails_on_the_first_cluster(fleet: Fleet) -> None:
    name = "back"
    settings, extra = config_map("settings", name, text="one"), config_map("extra", name)
    web = deployment("web", name)
    first = fleet.release(name, [namespace_object(name), settings, web], rollout=EAST_FIRST)
    fleet.complete(name, 1)
    west_before = fleet.clusters[WEST].found(settings)
    old_pods = {pod["metadata"]["uid"] for pod in fleet.clusters[EAST].pods(name)}

    broken = failing(web, after_s=2)
    changed = [namespace_object(name), config_map("settings", name, text="two"), broken, extra]
    second = fleet.release(name, changed, rollout=EAST_FIRST)
    assert second["revision"] == 2

    incident = _incident(fleet, name)
    assert (incident.kind, incident.revision, incident.new_revision, incident.cluster) == (
        IncidentKind.ROLLBACK,
        2,
        3,
        EAST,
    )
    assert "failed" in incident.reason, incident.reason
    # The second wave never got revision 2; revision 3 became desired everywhere at once.
    between = range(second["height"], incident.height)
    assert {fleet.desired(EAST, name, height) for height in between} == {2}
    assert {fleet.desired(WEST, name, height) for height in between} == {1}
    assert {fleet.desired(cluster, name, incident.height) for cluster in (EAST, WEST)} == {3}

    # Nobody signed anything: it stands under the approvals of the content it goes back to.
    records = {r.revision: r for r in release_reader.history(fleet.view(), name).value}
    assert (records[3].rollback_of, records[3].cause) == (1, incident.number)
    assert (records[3].authority, records[3].digest) == (records[1].authority, records[1].digest)
    said = [fleet.nonces(*PEOPLE, height=height) for height in (second["height"], incident.height)]
    assert said[0] == said[1]
    approvers = fleet.approvers(EAST, name)
    assert approvers == fleet.approvers(EAST, name, height=first["height"])
    assert approvers == sorted(map(fleet.did, ("bob", "carol")))
    assert all(step["holds"] for step in fleet.conclave("verify", "release", name)["steps"])

    # The bridge made it so: what is old runs, what was new is gone, and the other cluster was not touched.
    fleet.complete(name, 3)
    east = fleet.clusters[EAST]
    assert _text(fleet, EAST, settings) == "one"
    assert east.look(extra) is None
    assert "annotations" not in east.found(web)["spec"]["template"]["metadata"]
    pods = {pod["metadata"]["uid"] for pod in east.pods(name) if "deletionTimestamp" not in pod["metadata"]}
    assert pods == old_pods
    assert fleet.clusters[WEST].found(settings) == west_before
    assert fleet.applied(WEST, name) == [1]
    assert fleet.applied(EAST, name) == [1, 2, 3]


@pytest.mark.requires("fleet.rollout-failed")
def test_a_first_revision_that_fails_stays_where_it_is_and_goes_nowhere_new(fleet: Fleet) -> None:
    name = "stuck"
    settings = config_map("settings", name, text="one")
    refused = deployment("web", name)
    refused["spec"]["selector"]["matchLabels"] = {"app": "another"}
    made = [namespace_object(name), settings, refused]
    height = fleet.release(name, made, rollout=EAST_FIRST | {"progressDeadlineSeconds": 2})["height"]

    def partly() -> bool | None:
        found = fleet.report(EAST, name)
        return found is not None and found.outcome == "partial"

    fleet.until("the refusal reported", partly)
    told = fleet.report(EAST, name)
    assert told is not None
    assert [o["code"] for o in told.objects if o["outcome"] == "failed"] == [Code.KUBERNETES_REFUSED]

    incident = _incident(fleet, name)
    assert (incident.kind, incident.revision, incident.new_revision, incident.cluster) == (
        IncidentKind.ROLLOUT_FAILED,
        1,
        None,
        EAST,
    )
    view = fleet.view()
    rollout = release_reader.rollout(view, name).value
    assert rollout is not None
    states = {cluster.name: cluster.state for cluster in rollout.clusters}
    assert rollout.state is RolloutState.FAILED
    assert states == {EAST: ClusterState.FAILED, WEST: ClusterState.WAITING}
    record = release_reader.release_record(view, name).value
    assert (record.revision, record.healthy) == (1, None)

    fleet.looked(WEST, incident.height)
    assert {fleet.desired(WEST, name, each) for each in range(height, view.height + 1)} == {None}
    assert fleet.clusters[WEST].look(namespace_object(name)) is None
    assert fleet.desired(EAST, name) == 1
    assert _text(fleet, EAST, settings) == "one"


@pytest.mark.requires("fleet.autoscale")
def test_reported_metrics_raise_the_replicas_within_the_signed_bounds(fleet: Fleet) -> None:
    name = "busy"
    web = deployment("web", name)
    rule = {
        "object": object_id(web),
        "minReplicas": 1,
        "maxReplicas": 5,
        "initialReplicas": 2,
        "metrics": [{"name": "load", "target": 50}],
    }
    fleet.release(name, [namespace_object(name), web], autoscale=[rule])
    fleet.complete(name, 1)

    def scaled(cluster: str, count: int) -> None:
        def ask() -> bool:
            live = fleet.clusters[cluster].found(web)
            counts = {live["spec"]["replicas"], live.get("status", {}).get("readyReplicas")}
            return counts == {count}

        fleet.until(f"{count} replicas on {cluster}", ask)

    def held() -> int | None:
        found = release_reader.scale(fleet.view(), EAST, name).value
        return found.objects[0].replicas if found else None

    scaled(EAST, 2)
    scaled(WEST, 2)
    fleet.measure(EAST, name, MetricRecord(object_id(web), "load", 100, 2))
    fleet.until("4 replicas decided", lambda: held() == 4)
    scaled(EAST, 4)
    # A hand that scales it back is undone: the count is the ledger's.
    fleet.clusters[EAST].edit(web, {"spec": {"replicas": 1}})
    scaled(EAST, 4)
    fleet.reported(EAST, name, 1)
    fleet.measure(EAST, name, MetricRecord(object_id(web), "load", 1000, 4))
    fleet.until("5 replicas decided", lambda: held() == 5)
    scaled(EAST, 5)
    # The metrics are those of one cluster, and of no other.
    west = release_reader.scale(fleet.view(), WEST, name).value
    assert west is None or [found.replicas for found in west.objects] == [2]
    scaled(WEST, 2)


@pytest.mark.requires("fleet.freeze")
def test_what_was_approved_while_frozen_goes_on_when_the_freeze_is_gone(fleet: Fleet, thawed: Thawed) -> None:
    # Last: the machine tries a change that met a freeze again every minute, which the tests before use up.
    fleet.complete(COLD, 2, seconds=90.0)
    assert {_text(fleet, cluster, thawed.settings) for cluster in (EAST, WEST)} == {"two"}
    record = release_reader.history(fleet.view(), COLD).value[0]
    assert (record.revision, record.authority) == (2, thawed.approved["proposal"])
