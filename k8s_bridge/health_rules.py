"""The health of built-in kinds, one small function each.

Owns the table from (group, kind) to a rule. Promises that a rule reads only what the kind's controller
writes, and that counts which are absent or of another type count as their default. Never raises.

Source: the rules of kstatus (kubernetes-sigs/cli-utils), in our own words; the devkube notes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TypeGuard

from k8s_bridge.objects import field
from k8s_bridge.status import Health, HealthStatus, condition_of, conditions, said
from ledger.types import JsonObject

SCHEDULE_WINDOW_S = 15
"""How long a pod may be unschedulable before that is a failure (kstatus)."""
_NO_DEADLINE = 2**31 - 1
"""The controller's own mark for "no progress deadline"."""

Rule = Callable[[JsonObject, float | None], Health]


def _current(reason: str) -> Health:
    return Health(HealthStatus.CURRENT, reason)


def _waiting(reason: str) -> Health:
    return Health(HealthStatus.IN_PROGRESS, reason)


def _failed(reason: str) -> Health:
    return Health(HealthStatus.FAILED, reason)


def _count(live: JsonObject, *path: str, default: int = 0) -> int:
    found = field(live, *path)
    return found if type(found) is int else default


def _serving(reason: str, total: int) -> Health:
    return _current(f"{reason}, {total} replicas" if total else "no replicas are wanted: nothing of it runs")


def _short_of(label: str, have: int, want: int) -> Health | None:
    return _waiting(f"{label}: {have}/{want}") if have < want else None


def _first(*found: Health | None) -> Health | None:
    return next((health for health in found if health is not None), None)


def _always(live: JsonObject, now_s: float | None) -> Health:
    del live, now_s
    return _current("the kind is ready once it exists")


def _deployment(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    progressing, available = condition_of(live, "Progressing") or {}, condition_of(live, "Available") or {}
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed(said(progressing))
    want = _count(live, "spec", "replicas", default=1)
    total, updated = _count(live, "status", "replicas"), _count(live, "status", "updatedReplicas")
    short = _first(
        _short_of("replicas", total, want),
        _short_of("updated", updated, want),
        _waiting(f"pending termination: {total - want}") if total > want else None,
        _short_of("available", _count(live, "status", "availableReplicas"), updated),
        _short_of("ready", _count(live, "status", "readyReplicas"), want),
    )
    if short is not None:
        return short
    # Without a deadline the controller writes no Progressing condition at all.
    if _count(live, "spec", "progressDeadlineSeconds", default=_NO_DEADLINE) != _NO_DEADLINE and not (
        progressing.get("status") == "True" and progressing.get("reason") == "NewReplicaSetAvailable"
    ):
        return _waiting("the new replica set is not available")
    if available.get("status") != "True":
        return _waiting("not available")
    return _serving("available", total)


def _replica_set(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    failure = condition_of(live, "ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        return _waiting(said(failure))
    want, total = _count(live, "spec", "replicas", default=1), _count(live, "status", "replicas")
    return _first(
        _short_of("labelled", _count(live, "status", "fullyLabeledReplicas"), want),
        _short_of("available", _count(live, "status", "availableReplicas"), want),
        _short_of("ready", _count(live, "status", "readyReplicas"), want),
        _waiting(f"pending termination: {total - want}") if total > want else None,
    ) or _serving("available", total)


def _stateful_set(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    want, total = _count(live, "spec", "replicas", default=1), _count(live, "status", "replicas")
    short = _first(
        _short_of("replicas", total, want),
        _short_of("ready", _count(live, "status", "readyReplicas"), want),
        _waiting(f"pending termination: {total - want}") if total > want else None,
    )
    if short is not None:
        return short
    if field(live, "spec", "updateStrategy", "type") == "OnDelete":
        # Of which revision its pods are is for whoever deletes them to say; that they run is not.
        return _serving("ready, updated by whoever deletes its pods", total)
    updated = _count(live, "status", "updatedReplicas")
    partition = _count(live, "spec", "updateStrategy", "rollingUpdate", "partition", default=-1)
    if partition != -1:
        return _short_of("updated", updated, want - partition) or _current(
            f"partition updated, {updated} pods"
        )
    short = _short_of("current", _count(live, "status", "currentReplicas"), want)
    if short is not None:
        return short
    if field(live, "status", "currentRevision") != field(live, "status", "updateRevision"):
        return _waiting("pods of an older revision remain")
    return _serving("all pods are current", total)


def _daemon_set(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    for path in (("metadata", "generation"), ("status", "observedGeneration")):
        if type(field(live, *path)) is not int:
            return _waiting(f"no {'.'.join(path)} yet")
    want = _count(live, "status", "desiredNumberScheduled", default=-1)
    if want < 0:
        return _waiting("no desired number yet")
    return _first(
        _short_of("current", _count(live, "status", "currentNumberScheduled"), want),
        _short_of("updated", _count(live, "status", "updatedNumberScheduled"), want),
        _short_of("available", _count(live, "status", "numberAvailable"), want),
        _short_of("ready", _count(live, "status", "numberReady"), want),
    ) or _current(f"all pods are current, {want} nodes")


def _pod(live: JsonObject, now_s: float | None) -> Health:
    phase = field(live, "status", "phase")
    if phase == "Succeeded":
        return _current("completed")
    if phase == "Failed":
        return _current("completed, but not successfully")
    if phase == "Running":
        return _running_pod(live)
    if phase == "Pending":
        return _pending_pod(live, now_s)
    if not phase:
        return _waiting("not observed yet")
    return Health(HealthStatus.UNKNOWN, f"phase {phase}")


def _running_pod(live: JsonObject) -> Health:
    ready = condition_of(live, "Ready")
    if ready is not None and ready.get("status") == "True":
        return _current("ready")
    statuses = field(live, "status", "containerStatuses")
    looping = [
        str(field(status, "name"))
        for status in (statuses if isinstance(statuses, list) else ())
        if field(status, "state", "waiting", "reason") == "CrashLoopBackOff"
    ]
    if looping:
        return _failed(f"containers crash again and again: {', '.join(looping)}")
    return _waiting("running but not ready")


def _pending_pod(live: JsonObject, now_s: float | None) -> Health:
    scheduled = condition_of(live, "PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        if now_s is not None and now_s - created_s(live) < SCHEDULE_WINDOW_S:
            return _waiting("not scheduled yet")
        return _failed(said(scheduled))
    return _waiting("pending")


def created_s(live: JsonObject) -> float:
    """When an object was created, in seconds since the epoch; 0 where it does not say."""
    return time_s(field(live, "metadata", "creationTimestamp")) or 0.0


def time_s(text: object) -> float | None:
    """Read a Kubernetes time, in seconds since the epoch; None where it is none."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _claim(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    phase = field(live, "status", "phase")
    return _current("bound") if phase == "Bound" else _waiting(f"not bound, phase {phase}")


def _batch(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    for condition in conditions(live):
        if condition.get("status") != "True":
            continue
        if condition.get("type") in {"Complete", "Suspended"}:
            return _current(said(condition))
        if condition.get("type") == "Failed":
            return _failed(said(condition))
    if not field(live, "status", "startTime"):
        return _waiting("not started")
    return _current("started")


def _service(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    # kstatus does not wait for the external address: nothing in the cluster may ever give one.
    if field(live, "spec", "type") == "LoadBalancer" and not field(live, "spec", "clusterIP"):
        return _waiting("no cluster IP yet")
    return _current("ready")


def _definition(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    for condition in conditions(live):
        kind, status = condition.get("type"), condition.get("status")
        if kind == "NamesAccepted" and status == "False":
            return _failed(said(condition))
        if kind == "Established" and status == "True":
            return _current("established")
        if kind == "Established" and status == "False" and condition.get("reason") != "Installing":
            return _failed(said(condition))
    return _waiting("not established yet")


def _namespace(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    if field(live, "status", "phase") == "Terminating":
        return Health(HealthStatus.TERMINATING, "scheduled for deletion")
    return _current("active")


def _volume(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    if field(live, "status", "phase") == "Failed":
        return _failed(str(field(live, "status", "message") or "phase Failed"))
    return _current("the volume exists")


def _api_service(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    # What it serves cannot be asked for, whatever else runs.
    available = condition_of(live, "Available")
    return _waiting(said(available)) if _is_false(available) else _current("served")


def _autoscaler(live: JsonObject, now_s: float | None) -> Health:
    del now_s
    # Missing metrics (ScalingActive) leave the replicas where they are; a missing target is no autoscaler.
    able = condition_of(live, "AbleToScale")
    return _waiting(said(able)) if _is_false(able) else _current("its target is found")


def _is_false(condition: JsonObject | None) -> TypeGuard[JsonObject]:
    return condition is not None and condition.get("status") == "False"


RULES: dict[tuple[str, str], Rule] = {
    ("", "ConfigMap"): _always,
    ("", "Namespace"): _namespace,
    ("", "PersistentVolume"): _volume,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("", "Secret"): _always,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch", "CronJob"): _always,
    ("batch", "Job"): _batch,
    ("extensions", "DaemonSet"): _daemon_set,
    ("extensions", "Deployment"): _deployment,
    ("extensions", "ReplicaSet"): _replica_set,
    ("policy", "PodDisruptionBudget"): _always,
}
