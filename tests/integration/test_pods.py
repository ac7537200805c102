"""Releases whose pods really run: a kubelet, containerd and images that were carried in; nothing simulated.

The bridge's every report is its own, and every figure the kubelet's. The tests go on from one another's
cluster and have releases of their own; the last ones kill the node and then everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from consensus import ledger_reader, release_reader
from k8s_bridge.health_rules import time_s
from ledger.errors import EnvironmentFault
from ledger.manifest import object_id
from ledger.records import IncidentKind, IncidentRecord, ReportRecord
from ledger.types import JsonObject
from tests.support.fleet import WAIT_S, Fleet, KubeCluster, running_fleet
from tests.support.manifests import namespace_object
from tests.support.metrics_server import registration, serving_measured
from tests.support.real_node.cluster import RealCluster, RealPodsUnavailableError, real_cluster
from tests.support.real_node.images import PORT
from tests.support.real_node.node import NAME
from tests.support.real_node.usage import used
from tests.support.real_node.watching import Watched, watching
from tests.support.real_node.workloads import (
    PATIENT_S,
    bare,
    burning,
    containers,
    is_ready,
    web,
    with_command,
    with_image,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EAST = "east"
WEB, BARE, ABSENT, BUSY = "web", "bare", "absent", "busy"
CRASH = "sleep 0.2; exit 3"
FALLS_S = 300.0
"""A kubelet waits 10 s, 20 s and 40 s between starts: three falls take some 35 s."""
BACK_S = 240.0
"""For a whole cluster to come back, on a machine that does other work."""


@dataclass(slots=True)
class Pods:
    """A ledger with one cluster that has one real node."""

    fleet: Fleet
    real: RealCluster
    image: str

    @property
    def cube(self) -> KubeCluster:
        """The cluster as its administrator sees it."""
        return self.fleet.clusters[EAST]

    def until(self, what: str, ask: Callable[[], object], seconds: float = WAIT_S) -> None:
        """Wait until ``ask`` gives something true; fails with what the node says."""
        try:
            self.fleet.until(what, lambda: bool(ask()), seconds)
        except AssertionError as error:
            error.add_note(self.real.node.said())
            raise

    def ready(self, name: str, count: int, seconds: float = WAIT_S) -> list[JsonObject]:
        """Wait until exactly ``count`` pods of a release run and are ready; gives them."""

        def ask() -> bool:
            try:
                pods = self.cube.pods(name)
            except EnvironmentFault:
                return False
            return len(pods) == count and all(map(is_ready, pods))

        self.until(f"{count} pods of {name} ready", ask, seconds)
        return self.cube.pods(name)

    def answer(self, pod: JsonObject) -> bytes:
        """Ask a pod over the node's network."""
        with self.real.node.room.connect(pod["status"]["podIP"], PORT) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        return answer

    def incident(self, name: str) -> IncidentRecord | None:
        """Give the first incident of a release."""
        found = ledger_reader.incidents(self.fleet.view()).value
        return next((incident for incident in reversed(found) if incident.release == name), None)

    def dealt_with(self, name: str) -> IncidentRecord:
        """Wait for the first incident of a release."""
        self.until(f"an incident of {name}", lambda: self.incident(name), FALLS_S)
        found = self.incident(name)
        assert found is not None
        return found

    def steps(self) -> int:
        """Count what the bridge says it wrote, or would have."""
        return sum(entry["event"] == "step planned" for entry in self.fleet.log(EAST))

    def standing(self, name: str) -> ReportRecord:
        """Give the newest report of a release."""
        found = self.fleet.report(EAST, name)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    folder = tmp_path_factory.mktemp("pods")
    try:
        with (
            real_cluster() as real,
            running_fleet(folder, EAST, validators=1, kubeconfigs={EAST: real.kubeconfig}) as fleet,
        ):
            yield Pods(fleet, real, real.node.image)
    except RealPodsUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def running(pods: Pods) -> list[JsonObject]:
    """Release two web servers and wait for their pods."""
    pods.fleet.release(WEB, [namespace_object(WEB), web(WEB, pods.image)])
    pods.fleet.complete(WEB, 1)
    return pods.ready(WEB, 2)


@pytest.mark.requires("pods.release")
def test_an_approved_release_runs_the_image_it_names_and_is_reported_current(
    pods: Pods, running: list[JsonObject]
) -> None:
    digest = pods.image.partition("@")[2]
    ran = {
        status["imageID"].partition("@")[2]
        for pod in running
        for status in pod["status"]["containerStatuses"]
    }
    assert ran == {digest}
    assert {pod["spec"]["nodeName"] for pod in running} == {NAME}
    assert [pods.answer(pod).endswith(b"here\n") for pod in running] == [True, True]
    told = pods.standing(WEB)
    assert (told.revision, told.outcome, told.health) == (1, "applied", "current")
    assert {(o["health"], o["code"]) for o in told.objects} == {("current", 0)}
    assert len(told.objects) == 2


@pytest.fixture(scope="module")
def trouble(pods: Pods, running: list[JsonObject]) -> Iterator[Watched]:
    """Release an upgrade that never answers, one that ends again and again, and an image that is not here."""
    fleet, image = pods.fleet, pods.image
    good = bare(BARE, image, "exec sleep 1000")
    fleet.release(BARE, [namespace_object(BARE), good])
    missing = with_image(web(ABSENT, image), image.partition("@")[0] + "@sha256:" + "ab" * 32)
    fleet.release(ABSENT, [namespace_object(ABSENT), missing])
    fleet.complete(BARE, 1)
    fleet.release(WEB, [namespace_object(WEB), with_command(web(WEB, image), CRASH)])
    with watching(lambda: pods.cube.found(good), lambda: fleet.status(EAST), CRASH) as watched:
        # Its falls shall be what is told of it, and not that Kubernetes gave it up.
        fleet.release(BARE, [namespace_object(BARE), with_command(good, CRASH, PATIENT_S)])
        yield watched


@pytest.mark.requires("pods.measured")
def test_what_the_kubelet_measures_raises_the_replicas_within_the_rule_and_lowers_them(
    pods: Pods, trouble: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Meanwhile the crash loop of another release takes its time.
    load = pods.real.node.folder / "load"
    load.mkdir()
    burner = burning(BUSY, pods.image, load)
    rule = {
        "object": object_id(burner),
        "minReplicas": 1,
        "maxReplicas": 3,
        "initialReplicas": 1,
        "metrics": [{"name": "cpu", "target": 30}],
        "windowSeconds": 4,
        "scaleDown": {"stabilizationSeconds": 0},
    }
    measured: list[int] = []

    def metrics(namespace: str) -> list[JsonObject]:
        return used(pods.real.node.room, pods.real.kubeconfig, namespace)

    def scaled(count: int) -> None:
        def ask() -> bool:
            told = pods.fleet.report(EAST, BUSY)
            measured.extend(metric.value for metric in told.metrics) if told else None
            live = pods.cube.found(burner)
            return {live["spec"]["replicas"], live["status"].get("readyReplicas")} == {count}

        pods.until(f"{count} replicas", ask)

    with serving_measured(tmp_path_factory.mktemp("metrics"), metrics) as port:
        for manifest in registration(port):
            pods.cube.create(manifest)
        pods.fleet.release(BUSY, [namespace_object(BUSY), burner], autoscale=[rule])
        pods.fleet.complete(BUSY, 1)
        scaled(1)
        (load / "on").touch()
        # By the figure alone it would be more than three.
        scaled(3)
        highest = max(measured)
        (load / "on").unlink()
        scaled(1)
        assert 30 < highest < 150, measured
        assert measured[-1] < 30, measured


@pytest.mark.requires("pods.rollback")
def test_an_upgrade_that_never_answers_is_rolled_back_and_the_old_pods_never_left(
    pods: Pods, running: list[JsonObject], trouble: Watched
) -> None:
    incident = pods.dealt_with(WEB)
    assert (incident.kind, incident.revision, incident.new_revision) == (IncidentKind.ROLLBACK, 2, 3)
    pods.fleet.complete(WEB, 3)
    assert containers(pods.ready(WEB, 2)) == containers(running)
    assert pods.standing(WEB).health == "current"
    assert "ProgressDeadlineExceeded" in str(trouble.unhealthy[WEB])


@pytest.mark.requires("pods.crash-loop")
def test_a_crash_loop_that_kubernetes_calls_available_is_never_taken_for_healthy(
    pods: Pods, trouble: Watched
) -> None:
    incident = pods.dealt_with(BARE)
    assert (incident.kind, incident.revision, incident.new_revision) == (IncidentKind.ROLLBACK, 2, 3)
    before = pods.fleet.view(incident.height - 1)
    assert release_reader.release_record(before, BARE).value.healthy == 1
    assert trouble.pretended_s() != []
    assert "fell from ready" in str(trouble.unhealthy[BARE])
    pods.fleet.complete(BARE, 3)
    pods.ready(BARE, 1)


@pytest.mark.requires("pods.image-absent")
def test_an_image_that_is_not_there_is_reported_as_failed_and_of_which_object(
    pods: Pods, trouble: Watched
) -> None:
    told = pods.fleet.reported(EAST, ABSENT, 1, health="failed")
    failed = [o["object"] for o in told.objects if o["health"] == "failed"]
    assert failed == [f"apps/v1/Deployment/{ABSENT}/web"]
    assert list(trouble.unhealthy[ABSENT]) == failed
    incident = pods.dealt_with(ABSENT)
    assert (incident.kind, incident.new_revision) == (IncidentKind.ROLLOUT_FAILED, None)
    waiting = {
        status["state"]["waiting"]["reason"]
        for pod in pods.cube.pods(ABSENT)
        for status in pod["status"]["containerStatuses"]
    }
    assert waiting == {"ErrImageNeverPull"}


@pytest.mark.requires("pods.node-restart")
def test_a_kubelet_and_a_runtime_that_are_killed_come_back_and_the_bridge_writes_nothing(
    pods: Pods, running: list[JsonObject], trouble: Watched
) -> None:
    before, steps = containers(pods.ready(WEB, 2)), pods.steps()
    live = pods.cube.found(web(WEB, pods.image))
    pods.real.node.kill()
    assert pods.answer(running[0]).endswith(b"here\n")
    time.sleep(3)
    started = time.time()
    pods.real.node.start()
    pods.until("the node says that it is ready", lambda: _heard(pods, started))
    assert containers(pods.ready(WEB, 2)) == before
    assert pods.fleet.reported(EAST, WEB, 3).health == "current"
    assert pods.steps() == steps > 0
    now = pods.cube.found(web(WEB, pods.image))
    assert (now["metadata"]["uid"], now["metadata"]["generation"]) == (
        live["metadata"]["uid"],
        live["metadata"]["generation"],
    )


@pytest.mark.requires("pods.node-restart")
def test_everything_of_the_cluster_is_killed_and_comes_back_and_the_bridge_writes_nothing(
    pods: Pods, running: list[JsonObject], trouble: Watched
) -> None:
    before, steps = containers(pods.ready(WEB, 2)), pods.steps()
    incidents = len(ledger_reader.incidents(pods.fleet.view()).value)
    desired = {name: pods.fleet.desired(EAST, name) for name in (WEB, BARE, ABSENT)}
    pods.real.kill()
    pods.until("the bridge misses it", lambda: pods.fleet.status(EAST)["kubernetes"]["code"])
    pods.real.start_again()
    pods.until("the bridge reaches it", lambda: not pods.fleet.status(EAST)["kubernetes"]["code"], BACK_S)

    def began_anew() -> bool:
        found = containers(pods.cube.pods(WEB))
        return len(found) == 2 and all(count > before[uid][1] for uid, (_, count) in found.items())

    pods.until("the same pods, their containers started anew", began_anew, BACK_S)
    again = pods.ready(WEB, 2, BACK_S)
    assert containers(again).keys() == before.keys()
    pods.ready(BARE, 1, BACK_S)
    for name in (WEB, BARE):
        pods.fleet.reported(EAST, name, 3)
    assert pods.steps() == steps
    # Nothing was rolled back for it either.
    assert len(ledger_reader.incidents(pods.fleet.view()).value) == incidents
    assert {name: pods.fleet.desired(EAST, name) for name in (WEB, BARE, ABSENT)} == desired


def _heard(pods: Pods, since_s: float) -> bool:
    """Whether the node's lease was renewed since a time, in seconds since the epoch."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": "kube-node-lease"},
    }
    renewed = time_s(pods.cube.found(lease)["spec"]["renewTime"])
    return renewed is not None and renewed > since_s
