"""Health over time: what real status does (devkube notes), told as one answer and not as many."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest

from k8s_bridge.latch import CALM_S, FALLS_MAX, FALLS_WINDOW_S, HOLD_S, Judgement, Memory, forgiven, judge
from k8s_bridge.objects import ObjectKey
from k8s_bridge.vitals import Vitals
from ledger.types import JsonObject
from tests.support.verified import release

NOW = 1_800_000_000.0


def _deployment(
    ready: bool, *, generation: int = 1, observed: int | None = None, failing: str = ""
) -> JsonObject:
    count = 2 if ready else 0
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    if failing:
        progressing |= {"status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": failing}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "uid": "u", "generation": generation},
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 600,
            "template": {"spec": {"containers": [{"name": "main"}]}},
        },
        "status": {
            "observedGeneration": generation if observed is None else observed,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": count,
            "availableReplicas": count,
            "conditions": [progressing, {"type": "Available", "status": "True" if ready else "False"}],
        },
    }


def _over(looks: Iterable[tuple[float, JsonObject]], before: Memory | None = None) -> list[Judgement]:
    """Judge one look after another."""
    found: list[Judgement] = []
    for second, live in looks:
        found.append(judge(found[-1].memory if found else before, live, NOW + second))
    return found


def _said(found: Iterable[Judgement]) -> list[str]:
    return [one.health.status.value for one in found]


@pytest.mark.requires("bridge.health-over-time")
def test_a_crash_loop_without_probe_is_never_told_as_current_and_fails_after_its_third_fall() -> None:
    looks = []
    for restart in (0.0, 11.0, 32.0, 73.0):
        looks += [(restart, _deployment(ready=True)), (restart + 0.7, _deployment(ready=False))]
    found = _over([(-1.0, _deployment(ready=False)), *looks])
    assert "current" not in _said(found)
    assert _said(found) == ["in_progress"] * (2 * FALLS_MAX) + ["failed"] * 3
    assert found[1].held
    assert found[1].again_s == pytest.approx(HOLD_S)
    assert not found[2].held


@pytest.mark.requires("bridge.health-over-time")
def test_what_a_crash_loop_pretends_on_a_busy_node_is_not_told() -> None:
    # 1.12 s were seen on a real kubelet (docs/guides/figures.md); twice that is not enough either.
    found = _over(
        [(0, _deployment(ready=False)), (1, _deployment(ready=True)), (3.3, _deployment(ready=True))]
    )
    assert _said(found) == ["in_progress"] * 3


@pytest.mark.requires("bridge.health-over-time")
def test_a_workload_that_stays_ready_is_current_after_the_hold_and_one_with_probes_at_once() -> None:
    held, told = _over(
        [(0, _deployment(ready=False)), (1, _deployment(ready=True)), (1 + HOLD_S, _deployment(ready=True))]
    )[1:]
    assert (held.health.status, held.held, told.health.status, told.held) == (
        "in_progress",
        True,
        "current",
        False,
    )

    def change(path: str, value: Any) -> JsonObject:
        live = _deployment(ready=True)
        if path == "probe":
            live["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = value
        else:
            live["spec"][path] = value
        return live

    for live in (change("probe", {"httpGet": {}}), change("minReadySeconds", 5)):
        assert _said(_over([(0, _deployment(ready=False)), (1, live)]))[-1] == "current"


@pytest.mark.requires("bridge.health-over-time")
def test_a_bridge_that_starts_does_not_doubt_what_has_been_available_for_long() -> None:
    live = _deployment(ready=True)
    live["status"]["conditions"][1]["lastTransitionTime"] = "2027-01-01T00:00:00Z"
    assert _said(_over([(0, live)])) == ["current"]
    live["status"]["conditions"][1]["lastTransitionTime"] = "2027-01-15T08:00:00Z"
    assert _over([(0, live)])[0].held


@pytest.mark.requires("bridge.health-over-time")
def test_a_passed_deadline_stays_told_when_the_controller_takes_it_back_until_there_is_calm() -> None:
    bad, good = _deployment(ready=False, failing="a"), _deployment(ready=True)
    found = _over(
        [
            (0, _deployment(ready=False)),
            (12, bad),
            (13, _deployment(ready=False)),
            (20, good),
            (20 + CALM_S - 1, good),
            (20 + CALM_S, good),
        ]
    )
    assert _said(found) == ["in_progress", "failed", "failed", "failed", "failed", "current"]
    assert found[3].again_s == pytest.approx(CALM_S)


@pytest.mark.requires("bridge.health-over-time")
def test_a_failure_of_the_generation_before_is_not_the_next_ones() -> None:
    failed = _over([(0, _deployment(ready=False)), (12, _deployment(ready=False, failing="a"))])[-1].memory
    # An apply answers with the status of before; then, for a moment, the new generation beside it.
    looks = [
        (13.0, _deployment(ready=False, generation=2, observed=1, failing="a")),
        (13.05, _deployment(ready=False, generation=2, failing="a")),
        (20.0, _deployment(ready=False, generation=2, failing="a")),
        (30.0, _deployment(ready=False, generation=2, failing="b")),
    ]
    assert _said(_over(looks, failed)) == ["in_progress"] * 3 + ["failed"]
    # The same where the bridge began with the apply, and remembers nothing.
    assert _said(_over(looks)) == ["in_progress"] * 3 + ["failed"]


@pytest.mark.requires("bridge.health-over-time")
def test_another_revision_fails_by_itself_only() -> None:
    bad = _deployment(ready=False, failing="a")
    failed = _over([(0, _deployment(ready=False)), (12, bad)])[-1].memory
    found = _over(
        [(13, bad), (14, _deployment(ready=False)), (15, _deployment(ready=False, failing="b"))],
        forgiven(failed),
    )
    assert _said(found) == ["in_progress", "in_progress", "failed"]


@pytest.mark.requires("bridge.health-over-time")
def test_falls_are_counted_of_one_content_within_a_window() -> None:
    def fall(at: float, generation: int = 1) -> list[tuple[float, JsonObject]]:
        return [
            (at, _deployment(ready=True, generation=generation)),
            (at + 2, _deployment(ready=True, generation=generation)),
            (at + 3, _deployment(ready=False, generation=generation)),
        ]

    assert _said(_over([*fall(0), *fall(10), *fall(20)]))[-1] == "failed"
    assert _said(_over([*fall(0), *fall(10), *fall(20, generation=2)]))[-1] == "in_progress"
    assert _said(_over([*fall(0), *fall(10), *fall(10 + FALLS_WINDOW_S)]))[-1] == "in_progress"
    # A clock that was set back forgets rather than condemns.
    assert _said(_over([*fall(5000), *fall(5010), *fall(20)]))[-1] == "in_progress"


@pytest.mark.requires("bridge.health-over-time")
def test_pods_of_a_release_that_ended_badly_or_cannot_begin_have_failed() -> None:
    pod: JsonObject = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}}
    ended = pod | {"status": {"phase": "Failed"}}
    waiting = {"name": "init", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    looping = pod | {"status": {"phase": "Pending", "initContainerStatuses": [waiting]}}
    assert _said([_over([(0, ended)])[0], _over([(0, looping)])[0]]) == ["failed", "failed"]
    going = copy.deepcopy(ended)
    going["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert _said(_over([(0, going)])) == ["terminating"]


@pytest.mark.requires("bridge.health-over-time")
def test_a_pod_nobody_schedules_is_looked_at_again_when_its_time_is_over() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    metadata = {"name": "a", "uid": "u", "creationTimestamp": "2027-01-15T08:00:00Z"}
    status = {"phase": "Pending", "conditions": [scheduled]}
    pod: JsonObject = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
    early, late = _over([(5, pod), (15, pod)])
    assert (early.health.status, early.again_s, late.health.status) == ("in_progress", 10.0, "failed")


@pytest.mark.requires("bridge.health-over-time")
def test_what_is_no_workload_is_what_it_says_now() -> None:
    claim: JsonObject = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}}
    bound, lost = claim | {"status": {"phase": "Bound"}}, claim | {"status": {"phase": "Lost"}}
    found = _over([(0, bound), (1, lost), (2, bound), (3, lost), (4, bound), (5, lost), (6, bound)])
    assert _said(found)[::2] == ["current"] * 4


@pytest.mark.requires("bridge.health-over-time")
def test_a_release_remembers_its_objects_until_they_leave_and_their_failures_until_it_is_another() -> None:
    web, vitals = ObjectKey("apps/v1", "Deployment", "shop", "web"), Vitals()
    bad, waiting = _deployment(ready=False, failing="a"), _deployment(ready=False)
    first = release([bad]).value

    def said(live: JsonObject, second: float) -> str:
        return vitals.judge(web, live, NOW + second).status.value

    vitals.begin(first, [web])
    assert (said(bad, 0), said(waiting, 1)) == ("failed", "failed")
    vitals.begin(first, [web])
    assert said(waiting, 2) == "failed"
    vitals.begin(dataclasses.replace(first, revision=2), [web])
    assert said(waiting, 3) == "in_progress"
    assert said(_deployment(ready=True), 4) == "in_progress"
    assert vitals.held == {web}
    assert vitals.again[web] == pytest.approx(HOLD_S)
    assert said(_deployment(ready=True), 4 + HOLD_S) == "current"
    assert (vitals.held, vitals.again) == (set(), {})
    vitals.begin(dataclasses.replace(first, revision=2), [])
    assert vitals.memories == {}


@pytest.mark.requires("bridge.health-over-time")
def test_a_crash_loop_of_a_set_whose_pods_are_replaced_by_hand_fails_too() -> None:
    def look(ready: bool) -> JsonObject:
        live = _deployment(ready)
        spec = {**live["spec"], "updateStrategy": {"type": "OnDelete"}}
        return {**live, "kind": "StatefulSet", "spec": spec}

    looks = [(float(second), look(ready=second % 10 == 0)) for second in range(30)]
    assert _said(_over(looks))[-1] == "failed"
