"""Judging a workload over time: what one look at its status cannot tell.

Owns the step (what was known before, object, now) → (health, what is known now), a pure function. Promises
that a workload which comes and goes is told as failed and not as current by turns, that a failure which its
controller takes back stays told until the workload was calm for a while or was changed, and that the failure
of an earlier generation or revision is not held against the next. Never asks, never waits: it says when to
look again.

Source: what real status does (devkube notes): a crash loop without probe is Available for 0.5 to 0.8 s after
every restart, for 1.1 s on a busy node; ProgressDeadlineExceeded is taken back at the next restart; for some
50 ms after an apply the new generation is observed beside the old failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from k8s_bridge.custom_health import Readings, read_custom
from k8s_bridge.health import health_of
from k8s_bridge.health_rules import SCHEDULE_WINDOW_S, created_s, time_s
from k8s_bridge.objects import field, uid_of
from k8s_bridge.status import Health, HealthStatus, condition_of, said
from ledger.types import JsonObject

HOLD_S = 2.5
"""How long a workload without readiness probes must have been current: twice what a crash loop pretends on a
busy node, where the kubelet looks once a second and its word takes a while."""
FALLS_MAX = 3
FALLS_WINDOW_S = 600.0
"""Falling from current so often within so long, unchanged, is a crash loop; one node drained is one fall."""
CALM_S = 30.0
"""How long a failed workload must be current without a break to be believed again."""
FRESH_S = 1.0
"""A failure told of a generation this young is the one before it's."""
_CRASHING = "CrashLoopBackOff"


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of one object from looks before.

    Attributes:
        uid: of the object.
        generation: of its content.
        since_s: when this generation was first seen.
        steady_s: since when it has been current without a break; None while it is not.
        falls: when it fell from current, the newest.
        failed: why it counts as failed; empty while it does not.
        mark: the failure its controller tells, as last seen.
        stale: a failure of an earlier generation or revision.
    """

    uid: str
    generation: int
    since_s: float
    steady_s: float | None = None
    falls: tuple[float, ...] = ()
    failed: str = ""
    mark: str = ""
    stale: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A health and what to do about it.

    Attributes:
        health: now.
        memory: for the next look.
        again_s: look again after so many seconds though nothing changes; None where that is in vain.
        held: current, but not yet for long enough to say so.
    """

    health: Health
    memory: Memory
    again_s: float | None = None
    held: bool = False


def judge(
    before: Memory | None, live: JsonObject, now_s: float, readings: Readings | None = None
) -> Judgement:
    """Judge an object by its status and by what was seen of it before.

    Args:
        before: what the last look gave; None at the first.
        live: as the API server returned it.
        now_s: seconds since the Unix epoch.
        readings: what the release says about custom kinds.
    """
    memory = _continued(before, live, now_s)
    seen = _harder(live, read_custom(readings or {}, live) or health_of(live, now_s))
    if not _is_workload(live) or seen.status is HealthStatus.TERMINATING:
        return Judgement(seen, memory)
    seen = _own_failure(seen, memory, now_s)
    memory = _remembered(memory, seen, now_s)
    if memory.failed:
        rest = None if memory.steady_s is None else memory.steady_s + CALM_S - now_s
        return Judgement(Health(HealthStatus.FAILED, memory.failed), memory, rest)
    if memory.steady_s is None:
        return Judgement(seen, memory, _pending_s(live, memory, now_s))
    rest = memory.steady_s + _hold_s(live) - now_s
    if rest > 0:
        waiting = Health(
            HealthStatus.IN_PROGRESS, f"ready for less than {HOLD_S} s, without a readiness probe"
        )
        return Judgement(waiting, memory, rest, held=True)
    return Judgement(seen, memory)


def forgiven(memory: Memory) -> Memory:
    """Give what stays known of an object when another revision is applied: that one fails by itself only."""
    return replace(memory, falls=(), failed="", stale=memory.mark)


def _continued(before: Memory | None, live: JsonObject, now_s: float) -> Memory:
    uid, generation = uid_of(live), field(live, "metadata", "generation")
    known = (uid, generation if type(generation) is int else 0)
    mark = _mark(live)
    # What is told while the newest generation was not observed is about one before it.
    unobserved = mark if field(live, "status", "observedGeneration") != generation else ""
    if before is None:
        return Memory(*known, 0.0, _available_s(live, now_s), mark=mark, stale=unobserved)
    if (before.uid, before.generation) != known:
        stale = before.mark if before.uid == uid else ""
        return Memory(*known, now_s, mark=mark, stale=unobserved or stale)
    kept = before.stale if mark == before.stale else ""
    return replace(before, mark=mark, stale=unobserved or kept)


def _own_failure(seen: Health, memory: Memory, now_s: float) -> Health:
    """Tell a failure of this generation and revision from one that was there before."""
    if seen.status is not HealthStatus.FAILED or not memory.mark:
        return seen
    if memory.mark == memory.stale or 0 <= now_s - memory.since_s < FRESH_S:
        return Health(HealthStatus.IN_PROGRESS, f"not settled after a change: {seen.reason}")
    return seen


def _remembered(memory: Memory, seen: Health, now_s: float) -> Memory:
    falls = tuple(at for at in memory.falls if 0 <= now_s - at < FALLS_WINDOW_S)
    failed, steady_s = memory.failed, None
    if seen.status is HealthStatus.CURRENT:
        # A clock that was set back starts the count anew.
        steady_s = now_s if memory.steady_s is None else min(memory.steady_s, now_s)
    elif memory.steady_s is not None:
        falls = (*falls, now_s)[-FALLS_MAX:]
    if seen.status is HealthStatus.FAILED:
        failed = seen.reason
    elif len(falls) == FALLS_MAX:
        failed = failed or f"fell from ready {FALLS_MAX} times within {now_s - falls[0]:.0f} s, unchanged"
    if failed and steady_s is not None and now_s - steady_s >= CALM_S:
        failed, falls = "", ()
    return replace(memory, steady_s=steady_s, falls=falls, failed=failed)


def _harder(live: JsonObject, seen: Health) -> Health:
    """Call failed what a look for one command's end may call done or on its way, and a release may not."""
    if (live.get("apiVersion"), live.get("kind")) != ("v1", "Pod") or seen.status is HealthStatus.TERMINATING:
        return seen
    if field(live, "status", "phase") == "Failed":
        return Health(HealthStatus.FAILED, "completed, but not successfully")
    looping = [
        str(field(status, "name"))
        for status in _listed(live, "status", "initContainerStatuses")
        if field(status, "state", "waiting", "reason") == _CRASHING
    ]
    if looping:
        return Health(HealthStatus.FAILED, f"init containers crash again and again: {', '.join(looping)}")
    return seen


_WORKLOADS: Mapping[str, frozenset[str]] = {
    "": frozenset({"Pod", "ReplicationController"}),
    "apps": frozenset({"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"}),
}


def _is_workload(live: JsonObject) -> bool:
    group = str(live.get("apiVersion")).rpartition("/")[0]
    return str(live.get("kind")) in _WORKLOADS.get(group, ())


def _mark(live: JsonObject) -> str:
    progressing = condition_of(live, "Progressing") or {}
    if progressing.get("reason") != "ProgressDeadlineExceeded":
        return ""
    return f"{progressing.get('lastUpdateTime')} {said(progressing)}"


def _available_s(live: JsonObject, now_s: float) -> float | None:
    """Since when an object that was never looked at says that it is available."""
    if health_of(live, now_s).status is not HealthStatus.CURRENT:
        return None
    for kind in ("Available", "Ready"):
        condition = condition_of(live, kind)
        if condition is not None and condition.get("status") == "True":
            return min(now_s, time_s(condition.get("lastTransitionTime")) or now_s)
    return None


def _hold_s(live: JsonObject) -> float:
    """How long current is not believed: where nothing but a running process makes a pod ready."""
    spec = field(live, "spec") if live.get("kind") == "Pod" else field(live, "spec", "template", "spec")
    if field(live, "spec", "minReadySeconds") or field(live, "spec", "replicas") == 0:
        return 0.0
    containers = _listed(spec, "containers")
    return 0.0 if all(field(c, "readinessProbe") for c in containers) else HOLD_S


def _pending_s(live: JsonObject, memory: Memory, now_s: float) -> float | None:
    dues = [memory.since_s + FRESH_S] if memory.mark else []
    if live.get("kind") == "Pod" and field(live, "status", "phase") == "Pending":
        dues.append(created_s(live) + SCHEDULE_WINDOW_S)
    return min((due - now_s for due in dues if due > now_s), default=None)


def _listed(value: object, *path: str) -> list[object]:
    found = field(value, *path)
    return found if isinstance(found, list) else []
