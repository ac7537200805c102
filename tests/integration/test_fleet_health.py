"""What bridges see of real API servers and the machine decides on: crash loops, signed rules, measured load.

Nobody reports by hand here: every report is the bridge's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus import ledger_reader, release_reader
from k8s_bridge.latch import FALLS_MAX
from ledger.manifest import object_id
from ledger.records import IncidentKind
from ledger.types import JsonObject
from tests.support.fleet import SIMULATE, Fleet, running_fleet, simulated
from tests.support.manifests import config_map, definition, deployment, namespace_object, widget
from tests.support.metrics_server import Load, registration, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EAST, WEST = "east", "west"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), EAST, WEST, validators=1) as made:
        yield made


def _ready(live: JsonObject) -> int:
    return int(live.get("status", {}).get("readyReplicas") or 0)


@pytest.mark.requires("fleet.crash-loop")
def test_a_crash_loop_that_looks_available_by_turns_is_rolled_back_by_the_machine_alone(fleet: Fleet) -> None:
    name = "flapping"
    web = deployment("web", name)
    settled = {"health": {"settleSeconds": 500}, "clusters": [EAST]}
    fleet.release(name, [namespace_object(name), web], clusters=[EAST])
    fleet.complete(name, 1)
    fleet.release(name, [namespace_object(name), simulated(web, "unready")], **settled)
    cube = fleet.clusters[EAST]

    def newest() -> JsonObject | None:
        pods = [p for p in cube.pods(name) if "deletionTimestamp" not in p["metadata"]]
        return next((p for p in pods if SIMULATE in p["metadata"].get("annotations", {})), None)

    pod = fleet.until("a pod of revision 2", newest)
    reasons: set[str] = set()

    def become(how: str, count: int) -> None:
        cube.edit(pod, {"metadata": {"annotations": {SIMULATE: how}}})
        pods_ready = f"{count} of the new pods ready"
        fleet.until(pods_ready, lambda: cube.found(web)["status"].get("availableReplicas", 0) == count)

    def seen(*, ready: bool) -> bool:
        told = fleet.status(EAST)["releases"][name]
        unhealthy = told.get("unhealthy", {}).get(object_id(web))
        looks_ready = unhealthy is None or unhealthy["reason"].startswith("ready for less than")
        return told.get("revision") == 2 and looks_ready == ready

    # As a container does that starts, runs for less than a second, and ends: no probe, no minReadySeconds.
    for number in range(FALLS_MAX):
        become("ready", 1)
        fleet.until("the old pods gone", lambda: len(cube.pods(name)) == 1)
        # However busy it is, the bridge sees each of them: a fall that nobody saw is none.
        fleet.until("seen ready", lambda: seen(ready=True))
        become("crash", 0)
        said = cube.found(web)["status"]["conditions"]
        reasons.update(str(condition.get("reason")) for condition in said)
        if number + 1 < FALLS_MAX:
            fleet.until("seen to fall", lambda: seen(ready=False))

    def rolled_back() -> bool:
        found = ledger_reader.incidents(fleet.view()).value
        return any(i.release == name and i.kind is IncidentKind.ROLLBACK for i in found)

    fleet.until("a rollback", rolled_back)
    (incident,) = [i for i in ledger_reader.incidents(fleet.view()).value if i.release == name]
    assert (incident.revision, incident.new_revision, incident.cluster) == (2, 3, EAST)
    # Kubernetes itself never said that it failed.
    assert "ProgressDeadlineExceeded" not in reasons
    fleet.complete(name, 3)
    assert "annotations" not in cube.found(web)["spec"]["template"]["metadata"]


@pytest.mark.requires("fleet.health-rules")
def test_a_custom_kind_holds_the_rollout_until_its_signed_rule_says_true(fleet: Fleet) -> None:
    name = "custom"
    rule = {
        "kind": "Widget.shop.test",
        "current": "status.phase == 'Up'",
        "failed": "status.phase == 'Broken'",
    }
    made = [namespace_object(name), definition(), widget("one", name)]
    waves = {"waves": [{"clusters": [EAST]}, {"clusters": [WEST]}]}
    fleet.release(name, made, healthRules=[rule], rollout=waves)
    fleet.reported(EAST, name, 1, health="in_progress")
    assert fleet.desired(WEST, name) is None
    for cluster in (EAST, WEST):
        fleet.reported(cluster, name, 1, health="in_progress")
        fleet.clusters[cluster].edit(made[-1], {"status": {"phase": "Up"}})
        fleet.reported(cluster, name, 1)
    fleet.complete(name, 1)


def _falls_silent(fleet: Fleet, name: str) -> bool:
    """Whether nothing is reported of a release for longer than its window of 4 s."""
    before = fleet.report(EAST, name)
    time.sleep(5)
    return fleet.report(EAST, name) == before


@pytest.mark.requires("fleet.measured")
def test_the_bridge_measures_and_the_ledger_scales_until_nobody_knows(fleet: Fleet, tmp_path: Path) -> None:
    name = "loaded"
    web = deployment("web", name)
    rule = {
        "object": object_id(web),
        "minReplicas": 1,
        "maxReplicas": 5,
        "initialReplicas": 2,
        "metrics": [{"name": "cpu", "target": 50}],
        "windowSeconds": 4,
        "scaleDown": {"stabilizationSeconds": 0},
    }
    cube, load = fleet.clusters[EAST], Load(100)

    def replicas(cluster: str, count: int) -> None:
        def ask() -> bool:
            live = fleet.clusters[cluster].found(web)
            return {live["spec"]["replicas"], _ready(live)} == {count}

        fleet.until(f"{count} replicas on {cluster}", ask)

    def told(count: int) -> bool:
        found = fleet.report(EAST, name)
        return found is not None and [m.replicas for m in found.metrics] == [count]

    with serving(tmp_path, load, cube.pods) as port:
        for manifest in registration(port):
            cube.create(manifest)
        fleet.release(name, [namespace_object(name), web], autoscale=[rule])
        fleet.until("metrics of 2 pods told", lambda: told(2))
        replicas(EAST, 2)
        load.milli = 200
        replicas(EAST, 4)
        load.milli = 40
        replicas(EAST, 1)
        load.milli = 1000
        replicas(EAST, 5)
        fleet.until("metrics of 5 pods told", lambda: told(5))
        load.milli = None
        fleet.until("nothing told for longer than a window", lambda: _falls_silent(fleet, name))
        scale = release_reader.scale(fleet.view(), EAST, name).value
        assert scale is not None
        assert [found.replicas for found in scale.objects] == [5]
    # Nor when there is nobody to ask.
    assert _falls_silent(fleet, name)
    replicas(EAST, 5)
    # A cluster without a metrics API keeps what its release begins with.
    replicas(WEST, 2)


@pytest.mark.requires("bridge.reports-bounded")
def test_a_release_of_1000_objects_is_reported_in_few_reports_that_name_each(fleet: Fleet) -> None:
    name = "large"
    made = [namespace_object(name), *(config_map(f"c{number:03}", name) for number in range(999))]
    fleet.release(name, made, clusters=[EAST])
    fleet.complete(name, 1)
    told = fleet.report(EAST, name)
    assert told is not None
    assert {(o["health"], o["code"]) for o in told.objects} == {("current", 0)}
    assert len({o["object"] for o in told.objects}) == 1000
    # One report for each attempt, of which a busy machine may need more; at most one more for what came late.
    attempts = len(fleet.said(EAST, "applied", name))
    fleet.until("logged, too", lambda: fleet.said(EAST, "reported", name))
    assert len(fleet.said(EAST, "reported", name)) <= attempts + 1
