"""Health of objects as the API server returns them."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_bridge.health import HealthStatus, health_of, worst


def _object(kind: str, group: str = "apps/v1", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "a", "generation": 2}, **parts}


def _conditions(*conditions: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    return {
        "conditions": [{"type": t, "status": s, "reason": r, "message": ""} for t, s, r in conditions],
        **more,
    }


DEPLOYED = {
    "observedGeneration": 2,
    "replicas": 2,
    "updatedReplicas": 2,
    "readyReplicas": 2,
    "availableReplicas": 2,
}
GOOD = (("Progressing", "True", "NewReplicaSetAvailable"), ("Available", "True", "MinimumReplicasAvailable"))
CASES: list[tuple[str, dict[str, Any], str]] = [
    (
        "deployment done",
        _object(
            "Deployment",
            spec={"replicas": 2, "progressDeadlineSeconds": 600},
            status=_conditions(*GOOD, **DEPLOYED),
        ),
        "current",
    ),
    (
        "deployment old pods left",
        _object("Deployment", spec={"replicas": 2}, status=_conditions(*GOOD, **{**DEPLOYED, "replicas": 3})),
        "in_progress",
    ),
    (
        "deployment updated absent",
        _object(
            "Deployment", spec={"replicas": 2}, status=_conditions(*GOOD, observedGeneration=2, replicas=2)
        ),
        "in_progress",
    ),
    (
        "deployment not observed",
        _object("Deployment", status={**DEPLOYED, "observedGeneration": 1}),
        "in_progress",
    ),
    (
        "deployment deadline",
        _object(
            "Deployment",
            spec={"replicas": 2, "progressDeadlineSeconds": 10},
            status=_conditions(
                ("Progressing", "False", "ProgressDeadlineExceeded"), ("Available", "True", ""), **DEPLOYED
            ),
        ),
        "failed",
    ),
    (
        "deployment progressing",
        _object(
            "Deployment",
            spec={"replicas": 2, "progressDeadlineSeconds": 10},
            status=_conditions(
                ("Progressing", "True", "ReplicaSetUpdated"), ("Available", "True", ""), **DEPLOYED
            ),
        ),
        "in_progress",
    ),
    ("deployment unavailable", _object("Deployment", spec={"replicas": 2}, status=DEPLOYED), "in_progress"),
    ("deployment no status", _object("Deployment", spec={"replicas": 1}), "in_progress"),
    (
        "stateful set done",
        _object(
            "StatefulSet",
            spec={"replicas": 1},
            status={
                "replicas": 1,
                "readyReplicas": 1,
                "currentReplicas": 1,
                "currentRevision": "a",
                "updateRevision": "a",
            },
        ),
        "current",
    ),
    (
        "stateful set revision",
        _object(
            "StatefulSet",
            spec={"replicas": 1},
            status={
                "replicas": 1,
                "readyReplicas": 1,
                "currentReplicas": 1,
                "currentRevision": "a",
                "updateRevision": "b",
            },
        ),
        "in_progress",
    ),
    (
        "stateful set partition",
        _object(
            "StatefulSet",
            spec={"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            status={
                "replicas": 3,
                "readyReplicas": 3,
                "updatedReplicas": 1,
                "currentRevision": "a",
                "updateRevision": "b",
            },
        ),
        "current",
    ),
    (
        "stateful set on delete",
        _object("StatefulSet", spec={"updateStrategy": {"type": "OnDelete"}}),
        "current",
    ),
    (
        "daemon set done",
        _object(
            "DaemonSet",
            status={
                "observedGeneration": 2,
                "desiredNumberScheduled": 1,
                "currentNumberScheduled": 1,
                "updatedNumberScheduled": 1,
                "numberAvailable": 1,
                "numberReady": 1,
            },
        ),
        "current",
    ),
    ("daemon set unobserved", _object("DaemonSet", status={"desiredNumberScheduled": 0}), "in_progress"),
    (
        "daemon set not ready",
        _object(
            "DaemonSet",
            status={
                "observedGeneration": 2,
                "desiredNumberScheduled": 1,
                "currentNumberScheduled": 1,
                "updatedNumberScheduled": 1,
            },
        ),
        "in_progress",
    ),
    (
        "replica set failure",
        _object("ReplicaSet", status=_conditions(("ReplicaFailure", "True", "x"))),
        "in_progress",
    ),
    ("replica set done", _object("ReplicaSet", spec={"replicas": 0}), "current"),
    (
        "pod ready",
        _object("Pod", "v1", status=_conditions(("Ready", "True", ""), phase="Running")),
        "current",
    ),
    ("pod not ready", _object("Pod", "v1", status={"phase": "Running"}), "in_progress"),
    (
        "pod crash loop",
        _object(
            "Pod",
            "v1",
            status={
                "phase": "Running",
                "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
        ),
        "failed",
    ),
    (
        "pod unschedulable",
        _object("Pod", "v1", status=_conditions(("PodScheduled", "False", "Unschedulable"), phase="Pending")),
        "failed",
    ),
    ("pod done", _object("Pod", "v1", status={"phase": "Succeeded"}), "current"),
    ("pod new", _object("Pod", "v1"), "in_progress"),
    ("claim bound", _object("PersistentVolumeClaim", "v1", status={"phase": "Bound"}), "current"),
    ("claim pending", _object("PersistentVolumeClaim", "v1", status={"phase": "Pending"}), "in_progress"),
    (
        "load balancer",
        _object("Service", "v1", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1"}),
        "current",
    ),
    ("load balancer new", _object("Service", "v1", spec={"type": "LoadBalancer"}), "in_progress"),
    (
        "batch failed",
        _object("Job", "batch/v1", status=_conditions(("Failed", "True", "BackoffLimitExceeded"))),
        "failed",
    ),
    ("batch done", _object("Job", "batch/v1", status=_conditions(("Complete", "True", ""))), "current"),
    ("batch not started", _object("Job", "batch/v1"), "in_progress"),
    (
        "definition established",
        _object(
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            status=_conditions(("NamesAccepted", "True", ""), ("Established", "True", "")),
        ),
        "current",
    ),
    (
        "definition name clash",
        _object(
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            status=_conditions(
                ("NamesAccepted", "False", "Conflict"), ("Established", "False", "NotAccepted")
            ),
        ),
        "failed",
    ),
    (
        "definition installing",
        _object(
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            status=_conditions(("Established", "False", "Installing")),
        ),
        "in_progress",
    ),
    ("role", _object("ClusterRole", "rbac.authorization.k8s.io/v1"), "current"),
    (
        "namespace terminating",
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        },
        "terminating",
    ),
    ("custom ready", _object("Widget", "shop.test/v1", status=_conditions(("Ready", "True", ""))), "current"),
    (
        "custom not ready",
        _object("Widget", "shop.test/v1", status=_conditions(("Ready", "False", ""))),
        "in_progress",
    ),
    (
        "custom stalled",
        _object("Widget", "shop.test/v1", status=_conditions(("Stalled", "True", ""))),
        "failed",
    ),
    (
        "custom reconciling",
        _object("Widget", "shop.test/v1", status=_conditions(("Reconciling", "True", ""))),
        "in_progress",
    ),
    ("custom silent", _object("Widget", "shop.test/v1"), "unknown"),
    ("custom under k8s.io", _object("Gateway", "gateway.networking.k8s.io/v1"), "unknown"),
]


@pytest.mark.requires("bridge.health")
@pytest.mark.parametrize(("live", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_health_of_an_object(live: dict[str, Any], expected: str) -> None:
    found = health_of(live)
    assert found.status == expected
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
