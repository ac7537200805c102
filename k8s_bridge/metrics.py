"""What the replicas of a workload use, as the cluster's metrics API says.

Owns the step from ``metrics.k8s.io`` to the metric records of a report. Promises integers (``cpu`` in
thousandths of a core, ``memory`` in bytes, each the mean of the ready pods, rounded up), and nothing at all
where a ready pod was not measured lately: what is missing is left out, never guessed, so that the machine
does not scale down on it. Asks only about objects with a signed autoscale rule. Never writes.

Source: docs/spec/releases.md §5, §6; k8s.io/metrics v1beta1 PodMetrics; the quantity format of
k8s.io/apimachinery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal

from k8s_bridge.cluster import Cluster
from k8s_bridge.health_rules import time_s
from k8s_bridge.objects import ObjectKey, field, parse_object_id
from k8s_bridge.status import condition_of
from ledger.autoscale import AutoscaleRule
from ledger.errors import Code, EnvironmentFault
from ledger.limits import JSON_INTEGER_MAX, METRICS_PER_REPORT_MAX
from ledger.records import MetricRecord
from ledger.types import JsonObject

API = "metrics.k8s.io/v1beta1"
UNITS = {"cpu": Decimal(1000), "memory": Decimal(1)}
"""The metrics that are measured here, and what one of their base unit counts for."""
AGE_S_MAX = 90.0
"""Metrics servers look every 15 to 60 s; what is older says nothing about now."""
INTERVAL_S_MAX, INTERVAL_S_MIN = 15.0, 1.0
_QUANTITY = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?"
)
_SUFFIXES = {name: Decimal(10) ** (3 * power) for power, name in enumerate("kMGTPE", 1)}
_SUFFIXES |= {name: Decimal(10) ** (-3 * power) for power, name in enumerate("mun", 1)}
_SUFFIXES |= {f"{name}i": Decimal(1024) ** power for power, name in enumerate("KMGTPE", 1)}


def interval_s(rules: Iterable[AutoscaleRule]) -> float | None:
    """Give how often to measure: twice a window, at most every 15 s; None without a rule to measure for."""
    windows = [rule.window_seconds for rule in rules if _measured_names(rule)]
    return min(max(min(windows) / 2, INTERVAL_S_MIN), INTERVAL_S_MAX) if windows else None


def measure(cluster: Cluster, rules: Iterable[AutoscaleRule], now_s: float) -> tuple[MetricRecord, ...]:
    """Measure the objects of a release that have a rule.

    Args:
        cluster: where they run.
        rules: as signed.
        now_s: seconds since the Unix epoch.

    Raises:
        EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED; OBJECT_KIND_UNKNOWN where the cluster
            has no metrics API.
    """
    found: list[MetricRecord] = []
    for rule in rules:
        names = _measured_names(rule)
        key = parse_object_id(rule.object)
        live = cluster.get(key) if names else None
        selector = selector_of(live)
        if not selector:
            continue
        pods, _ = cluster.list(cluster.kind_of("v1", "Pod"), key.namespace, label=selector)
        measured, _ = cluster.list(cluster.kind_of(API, "PodMetrics"), key.namespace, label=selector)
        found += of_object(key, names, (pods, measured), now_s)
    return tuple(found[:METRICS_PER_REPORT_MAX])


def of_object(
    key: ObjectKey, names: Iterable[str], seen: tuple[list[JsonObject], list[JsonObject]], now_s: float
) -> list[MetricRecord]:
    """Give the metrics of one object from its pods and what was measured of them; none where one lacks."""
    pods, measured = seen
    ready = {str(field(pod, "metadata", "name")) for pod in pods if _is_ready(pod)}
    fresh = {str(field(m, "metadata", "name")): m for m in measured if _is_fresh(m, now_s)}
    if not ready or not ready <= fresh.keys():
        return []
    records = []
    for name in names:
        used = [_used(fresh[pod], name) for pod in sorted(ready)]
        known = [amount for amount in used if amount is not None]
        if len(known) == len(used):
            mean = int((sum(known) * UNITS[name] / len(known)).to_integral_value(ROUND_CEILING))
            records.append(MetricRecord(str(key), name, min(mean, JSON_INTEGER_MAX), len(known)))
    return records


def selector_of(live: JsonObject | None) -> str:
    """Give the label selector of a workload's pods as the API server takes it; empty where there is none."""
    selector = field(live, "spec", "selector")
    labels, expressions = field(selector, "matchLabels"), field(selector, "matchExpressions")
    parts = [f"{name}={labels[name]}" for name in sorted(labels)] if isinstance(labels, dict) else []
    for expression in expressions if isinstance(expressions, list) else ():
        name, values = field(expression, "key"), field(expression, "values")
        listed = ",".join(map(str, values)) if isinstance(values, list) else ""
        forms = {"In": f"{name} in ({listed})", "NotIn": f"{name} notin ({listed})", "Exists": f"{name}"}
        parts.append(forms.get(str(field(expression, "operator")), f"!{name}"))
    return ",".join(parts)


def quantity(text: object) -> Decimal | None:
    """Read a Kubernetes quantity that is not negative, exactly; None where it is none."""
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    number, suffix, exponent = match.groups()
    scale = _SUFFIXES.get(suffix or "", Decimal(1))
    return Decimal(number) * scale * (Decimal(10) ** int(exponent or 0))


def is_absent(fault: EnvironmentFault) -> bool:
    """Whether a fault means that the cluster has no metrics, or none now."""
    return fault.code is Code.OBJECT_KIND_UNKNOWN or fault.facts.get("status") in {404, 503}


def _measured_names(rule: AutoscaleRule) -> list[str]:
    return [metric.name for metric in rule.metrics if metric.name in UNITS]


def _is_ready(pod: JsonObject) -> bool:
    going = field(pod, "metadata", "deletionTimestamp") or field(pod, "status", "phase") != "Running"
    ready: Mapping[str, object] = condition_of(pod, "Ready") or {}
    return not going and ready.get("status") == "True"


def _is_fresh(measured: JsonObject, now_s: float) -> bool:
    taken_s = time_s(field(measured, "timestamp"))
    return taken_s is not None and abs(now_s - taken_s) <= AGE_S_MAX


def _used(measured: JsonObject, name: str) -> Decimal | None:
    """What all containers of a pod use; None where one does not say."""
    containers = field(measured, "containers")
    amounts = [quantity(field(c, "usage", name)) for c in containers] if isinstance(containers, list) else []
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None
