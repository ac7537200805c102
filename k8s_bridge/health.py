"""How an object, and a release, is doing.

Owns the reading of ``status``: generic rules first, then one function a built-in kind, then the Ready
condition. Promises one of five answers with a reason for any bytes the API server returns, and never calls a
custom kind healthy that says nothing about itself (that is ``unknown``). Never waits, never asks.

Source: the rules of kstatus (kubernetes-sigs/cli-utils), in our own words; kubernetes notes §2.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8s_bridge.health_rules import RULES
from k8s_bridge.objects import field
from k8s_bridge.status import Health, HealthStatus, condition_of, conditions, said
from ledger.types import JsonObject

__all__ = ["Health", "HealthStatus", "generic_health", "health_of", "is_built_in", "worst"]


_WORST_FIRST = (
    HealthStatus.FAILED,
    HealthStatus.TERMINATING,
    HealthStatus.IN_PROGRESS,
    HealthStatus.UNKNOWN,
    HealthStatus.CURRENT,
)


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """Give the health of a whole: its worst part; ``unknown`` of nothing."""
    found = set(statuses)
    return next((status for status in _WORST_FIRST if status in found), HealthStatus.UNKNOWN)


def health_of(live: object, now_s: float | None = None) -> Health:
    """Judge a live object.

    Args:
        live: as the API server returned it.
        now_s: seconds since the Unix epoch, for the one rule that depends on age (an unschedulable pod);
            None judges as if the object were old.
    """
    if not isinstance(live, dict) or not isinstance(live.get("metadata"), dict):
        return Health(HealthStatus.UNKNOWN, "not a Kubernetes object")
    generic = generic_health(live)
    if generic is not None:
        return generic
    api_version = live.get("apiVersion")
    group = api_version.rpartition("/")[0] if isinstance(api_version, str) else ""
    rule = RULES.get((group, str(live.get("kind"))))
    if rule is not None:
        return rule(live, now_s)
    return _ready(live, built_in=is_built_in(group))


def is_built_in(group: str) -> bool:
    """Whether an API group is Kubernetes's own: core, a name without a dot, or under k8s.io."""
    return "." not in group or group in _BUILT_IN_GROUPS


_BUILT_IN_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
        "storagemigration",
    )
)


def generic_health(live: JsonObject) -> Health | None:
    """Judge by what all kinds have in common; None where that says nothing."""
    if field(live, "metadata", "deletionTimestamp"):
        return Health(HealthStatus.TERMINATING, "scheduled for deletion")
    unreadable = _unreadable(live)
    if unreadable:
        return Health(HealthStatus.UNKNOWN, f"{unreadable} is malformed")
    generation, observed = field(live, "metadata", "generation"), field(live, "status", "observedGeneration")
    if None not in {generation, observed} and generation != observed:
        return Health(HealthStatus.IN_PROGRESS, f"generation {generation} not observed yet, only {observed}")
    for condition in conditions(live):
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Reconciling":
            return Health(HealthStatus.IN_PROGRESS, said(condition))
        if condition.get("type") == "Stalled":
            return Health(HealthStatus.FAILED, said(condition))
    return None


def _unreadable(live: JsonObject) -> str:
    """Name the first part, of those every kind has in common, that has a wrong form."""
    status = live.get("status")
    if status is not None and not isinstance(status, dict):
        return "status"
    for path in (("metadata", "generation"), ("status", "observedGeneration")):
        if field(live, *path) is not None and type(field(live, *path)) is not int:
            return ".".join(path)
    listed = field(status, "conditions")
    if listed is None:
        return ""
    if not isinstance(listed, list):
        return "status.conditions"
    fine = all(isinstance(field(one, name), str | None) for one in listed for name in _CONDITION_TEXTS)
    return "" if fine and all(isinstance(one, dict) for one in listed) else "status.conditions"


_CONDITION_TEXTS = ("type", "status", "reason", "message")


def _ready(live: JsonObject, *, built_in: bool) -> Health:
    ready = condition_of(live, "Ready")
    if ready is not None and ready.get("status") == "True":
        return Health(HealthStatus.CURRENT, said(ready))
    if ready is not None and ready.get("status") in {"False", "Unknown"}:
        return Health(HealthStatus.IN_PROGRESS, said(ready))
    if built_in:
        return Health(HealthStatus.CURRENT, "the kind has no status to wait for")
    return Health(HealthStatus.UNKNOWN, "applied; the kind says nothing that is known about its health")
