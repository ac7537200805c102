"""Health of objects as the API server returns them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from k8s_bridge.health import HealthStatus, health_of, worst

VECTORS = Path(__file__).parents[2] / "vectors"


def _object(kind: str, group: str = "apps/v1", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "a", "generation": 2}, **parts}


def _conditions(*conditions: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    return {
        "conditions": [{"type": t, "status": s, "reason": r, "message": ""} for t, s, r in conditions],
        **more,
    }


CASES = [json.loads(line) for line in (VECTORS / "health.jsonl").read_text().splitlines()]
"""Objects by what they show, each with its verdict: the rules of kstatus one by one, and ours beyond them."""


@pytest.mark.requires("bridge.health")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_health_of_an_object(case: dict[str, Any]) -> None:
    found = health_of(case["object"])
    assert found.status == case["verdict"]
    assert found.reason


@pytest.mark.requires("bridge.health")
def test_an_unschedulable_pod_gets_time_first() -> None:
    pod = _object(
        "Pod", "v1", status=_conditions(("PodScheduled", "False", "Unschedulable"), phase="Pending")
    )
    pod["metadata"]["creationTimestamp"] = "1970-01-01T00:01:40Z"
    assert health_of(pod, now_s=110).status == "in_progress"
    assert health_of(pod, now_s=116).status == "failed"


@pytest.mark.requires("bridge.health")
@pytest.mark.parametrize(
    "live",
    [
        None,
        3,
        {},
        {"metadata": 1},
        _object("Pod", "v1", status={"phase": ["x"], "conditions": 3}),
        _object("Pod", "v1", status={"phase": "Running", "containerStatuses": [3, {"state": "x"}]}),
        _object("Deployment", status={"conditions": ["x", None], "replicas": "many"}, spec=[]),
        {"apiVersion": 3, "kind": [], "metadata": {"deletionTimestamp": None}},
    ],
)
def test_malformed_objects_get_an_answer(live: Any) -> None:
    assert health_of(live).status in HealthStatus


@pytest.mark.requires("bridge.health")
def test_a_release_is_as_healthy_as_its_worst_object() -> None:
    order = ["current", "unknown", "in_progress", "terminating", "failed"]
    for index in range(1, len(order) + 1):
        assert worst(map(HealthStatus, order[:index])) == order[index - 1]
    assert worst([]) == "unknown"


@pytest.mark.requires("bridge.health")
@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_what_is_scaled_to_nothing_is_current_and_says_so(kind: str) -> None:
    status = _conditions(("Available", "True", "MinimumReplicasAvailable"), observedGeneration=2)
    found = health_of(_object(kind, spec={"replicas": 0}, status=status))
    assert (found.status, found.reason) == ("current", "no replicas are wanted: nothing of it runs")
