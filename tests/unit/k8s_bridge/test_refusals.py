"""Foreign additions, changes that are not allowed and refusals for good, on an API server in memory."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from consensus.verified import Verified
from k8s_bridge.changeset import Outcome
from k8s_bridge.given_up import ASK_AGAIN_S
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from k8s_bridge.plan import Action
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.store import InventoryStore
from ledger.errors import Code, EnvironmentFault
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from runtime.clock import NS_PER_S
from tests.support.bridge import Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, namespace_object, service
from tests.support.pipeline import make_plan, outcomes, reconcile
from tests.support.verified import CHAIN_ID, release, verified

SHOP = [namespace_object(), config_map("settings"), service("web")]
SETTINGS, WEB = key_of(SHOP[1]), key_of(SHOP[2])


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def _with_label(cluster: FakeCluster, key: ObjectKey, manager: str = "kubectl-edit") -> None:
    edited = copy.deepcopy(cluster.objects[key.identity])
    edited["metadata"]["labels"] = {**edited["metadata"].get("labels", {}), "theirs": "yes"}
    cluster.put(edited, manager)


def _labels(cluster: FakeCluster, key: ObjectKey) -> dict[str, str]:
    labels: dict[str, str] = cluster.objects[key.identity]["metadata"].get("labels", {})
    return labels


@pytest.mark.requires("bridge.foreign-fields")
@pytest.mark.parametrize("manager", ["kubectl-edit", "conclave"])
def test_what_others_add_goes_and_nothing_is_written_after_that(cluster: FakeCluster, manager: str) -> None:
    reconcile(cluster, release(SHOP))
    _with_label(cluster, SETTINGS, manager)
    (step,) = (step for step in make_plan(cluster, release(SHOP)).steps if step.action is Action.CONFIGURE)
    assert (step.key, step.reason) == (SETTINGS, f"metadata.labels.theirs added by {manager}")
    assert outcomes(reconcile(cluster, release(SHOP)))["ConfigMap/settings"] == "configured"
    assert "theirs" not in _labels(cluster, SETTINGS)
    cluster.writes.clear()
    reconcile(cluster, release(SHOP))
    assert cluster.writes == []


@pytest.mark.requires("bridge.foreign-fields")
def test_a_take_over_that_was_cut_short_is_finished(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    _with_label(cluster, SETTINGS)
    foreign = next(step.foreign for step in make_plan(cluster, release(SHOP)).steps if step.foreign)
    cluster.take_over(SETTINGS, cluster.objects[SETTINGS.identity], foreign.takeover)
    assert "theirs" in _labels(cluster, SETTINGS)
    reconcile(cluster, release(SHOP))
    assert "theirs" not in _labels(cluster, SETTINGS)


@pytest.mark.requires("bridge.foreign-fields")
def test_an_object_that_changes_before_it_is_taken_over_is_left_for_the_next_look(
    cluster: FakeCluster,
) -> None:
    reconcile(cluster, release(SHOP))
    _with_label(cluster, SETTINGS)
    foreign = next(step.foreign for step in make_plan(cluster, release(SHOP)).steps if step.foreign)
    seen = copy.deepcopy(cluster.objects[SETTINGS.identity])
    _with_label(cluster, SETTINGS, "another")
    with pytest.raises(EnvironmentFault) as caught:
        cluster.take_over(SETTINGS, seen, foreign.takeover)
    assert caught.value.facts["status"] == 409


@pytest.mark.requires("bridge.co-owned")
def test_a_namespace_that_was_here_before_keeps_what_others_set(cluster: FakeCluster) -> None:
    cluster.put(namespace_object())
    reconcile(cluster, release(SHOP))
    _with_label(cluster, key_of(SHOP[0]))
    reconcile(cluster, release(SHOP))
    assert _labels(cluster, key_of(SHOP[0])) == {"theirs": "yes"}


@pytest.mark.requires("bridge.foreign-fields")
def test_a_namespace_that_we_made_does_not(cluster: FakeCluster) -> None:
    reconcile(cluster, release(SHOP))
    _with_label(cluster, key_of(SHOP[0]))
    reconcile(cluster, release(SHOP))
    assert _labels(cluster, key_of(SHOP[0])) == {}


@pytest.mark.requires("bridge.admitted")
def test_what_admission_adds_to_every_apply_causes_no_writes(cluster: FakeCluster) -> None:
    cluster.admitted = {"cost-centre": "7"}
    reconcile(cluster, release(SHOP))
    cluster.writes.clear()
    assert set(outcomes(reconcile(cluster, release(SHOP))).values()) == {"unchanged"}
    assert cluster.writes == []
    _with_label(cluster, SETTINGS, "conclave")
    reconcile(cluster, release(SHOP))
    assert "theirs" not in _labels(cluster, SETTINGS)


def _moved(recreate: tuple[str, ...] = (), *, revision: int = 2) -> Verified[ReleaseRevision]:
    moved = copy.deepcopy(SHOP)
    moved[2]["spec"]["selector"] = {"app": "other"}
    wanted = release(moved, revision=revision).value
    return verified(dataclasses.replace(wanted, recreate=recreate))


@pytest.fixture
def fixed(cluster: FakeCluster) -> FakeCluster:
    """A cluster whose Services may not change their selector, with the first revision on it."""
    cluster.immutable = {"Service": ("spec", "selector")}
    reconcile(cluster, release(SHOP))
    return cluster


@pytest.mark.requires("bridge.immutable")
def test_a_change_that_is_not_allowed_is_reported_and_leaves_what_runs(fixed: FakeCluster) -> None:
    before = copy.deepcopy(fixed.objects[WEB.identity])
    (result,) = (r for r in reconcile(fixed, _moved()).results if r.key == WEB)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.OBJECT_IMMUTABLE)
    assert result.fault is not None
    assert "recreate" in result.fault.todo
    assert fixed.objects[WEB.identity] == before


@pytest.mark.requires("bridge.immutable")
def test_it_is_made_anew_where_the_release_says_so(fixed: FakeCluster) -> None:
    before = uid_of(fixed.objects[WEB.identity])
    fixed.writes.clear()
    assert outcomes(reconcile(fixed, _moved((str(WEB),))))["Service/web"] == "created"
    live = fixed.objects[WEB.identity]
    assert live["spec"]["selector"] == {"app": "other"}
    assert uid_of(live) != before
    assert [write for write in fixed.writes if "conclave-system" not in write] == [
        f"delete {WEB}",
        f"apply {WEB}",
    ]
    assert outcomes(reconcile(fixed, _moved((str(WEB),), revision=3)))["Service/web"] == "unchanged"


@pytest.mark.requires("bridge.immutable")
def test_an_allowed_change_of_an_object_to_recreate_is_an_ordinary_one(fixed: FakeCluster) -> None:
    before = uid_of(fixed.objects[WEB.identity])
    other = [*SHOP[:2], service("web", port=81)]
    wanted = dataclasses.replace(release(other, revision=2).value, recreate=(str(WEB),))
    assert outcomes(reconcile(fixed, verified(wanted)))["Service/web"] == "configured"
    assert uid_of(fixed.objects[WEB.identity]) == before


@pytest.mark.requires("bridge.immutable", "bridge.foreign-untouched")
def test_an_object_that_is_not_the_one_we_made_is_not_made_anew(fixed: FakeCluster) -> None:
    fixed.remove(WEB)
    fixed.put(SHOP[2])
    before = copy.deepcopy(fixed.objects[WEB.identity])
    reconcile(fixed, _moved((str(WEB),)))
    assert fixed.objects[WEB.identity] == before


@pytest.mark.requires("bridge.immutable")
def test_a_manifest_that_could_not_be_made_anew_deletes_nothing(fixed: FakeCluster) -> None:
    before = copy.deepcopy(fixed.objects[WEB.identity])
    fixed.faults[WEB.identity] = EnvironmentFault(
        Code.KUBERNETES_REFUSED, got="422 invalid", status=422, permanent=True
    )
    fixed.refuses_new = True
    (result,) = (r for r in reconcile(fixed, _moved((str(WEB),))).results if r.key == WEB)
    assert (result.outcome, result.code) == (Outcome.FAILED, Code.KUBERNETES_REFUSED)
    assert fixed.objects[WEB.identity] == before


class Watched:
    """A reconciler whose clock is moved by hand."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.now_s = 1000.0
        store = InventoryStore(cluster, CHAIN_ID)
        self.reconciler = Reconciler(cluster, store, Unwatched(), lambda: int(self.now_s * NS_PER_S))
        self._cluster = cluster

    def turn(self, manifests: list[JsonObject], revision: int = 1) -> tuple[Standing, list[str]]:
        self.now_s += 1
        self._cluster.attempts.clear()
        standing = self.reconciler.reconcile(release(manifests, revision=revision))
        return standing, [attempt for attempt in self._cluster.attempts if attempt.endswith(str(SETTINGS))]


def _refuse(cluster: FakeCluster, *, permanent: bool) -> None:
    cluster.faults[SETTINGS.identity] = EnvironmentFault(
        Code.KUBERNETES_REFUSED, got="500 no", status=500, permanent=permanent
    )


@pytest.mark.requires("bridge.lasting-refusal")
@pytest.mark.parametrize("there", [False, True])
def test_what_is_refused_for_good_is_asked_once(cluster: FakeCluster, there: bool) -> None:
    watched = Watched(cluster)
    if there:
        watched.turn(SHOP)
    changed = [SHOP[0], config_map("settings", key="new"), SHOP[2]]
    _refuse(cluster, permanent=True)
    standing, attempts = watched.turn(changed)
    assert (standing.lasting, len(attempts)) == (True, 1)
    for _ in range(5):
        standing, attempts = watched.turn(changed)
        assert (standing.lasting, attempts) == (True, [])
        assert [r.code for r in standing.finding.changes.results if r.code] == [Code.KUBERNETES_REFUSED]
    watched.now_s += ASK_AGAIN_S
    assert len(watched.turn(changed)[1]) == 1


@pytest.mark.requires("bridge.lasting-refusal")
def test_it_is_asked_again_when_the_manifest_or_the_object_changes(cluster: FakeCluster) -> None:
    watched = Watched(cluster)
    watched.turn(SHOP)
    changed = [SHOP[0], config_map("settings", key="new"), SHOP[2]]
    _refuse(cluster, permanent=True)
    watched.turn(changed)
    assert len(watched.turn([SHOP[0], config_map("settings", key="newer"), SHOP[2]], 2)[1]) == 1
    assert watched.turn([SHOP[0], config_map("settings", key="newer"), SHOP[2]], 2)[1] == []
    _with_label(cluster, SETTINGS)
    assert len(watched.turn([SHOP[0], config_map("settings", key="newer"), SHOP[2]], 2)[1]) == 1
    cluster.faults.clear()
    watched.now_s += ASK_AGAIN_S
    standing, _ = watched.turn([SHOP[0], config_map("settings", key="newer"), SHOP[2]], 2)
    assert (standing.lasting, cluster.objects[SETTINGS.identity]["data"]) == (False, {"key": "newer"})


@pytest.mark.requires("bridge.lasting-refusal")
def test_what_may_pass_is_asked_each_time(cluster: FakeCluster) -> None:
    watched = Watched(cluster)
    _refuse(cluster, permanent=False)
    for _ in range(3):
        standing, attempts = watched.turn(SHOP)
        assert (standing.lasting, len(attempts)) == (False, 1)
