"""What replicas use, read from the metrics API: recorded answers in, whole numbers or nothing out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import pytest

from k8s_bridge.cluster import Cluster, Kind
from k8s_bridge.metrics import AGE_S_MAX, interval_s, is_absent, measure, quantity, selector_of
from k8s_bridge.objects import ObjectKey
from ledger.autoscale import AutoscaleRule, MetricTarget
from ledger.errors import Code, EnvironmentFault
from ledger.records import MetricRecord
from ledger.types import JsonObject
from tests.support.manifests import deployment

RECORDED = json.loads("""
{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [
  {"metadata": {"name": "web-1", "namespace": "shop", "creationTimestamp": "2027-01-15T08:00:05Z",
    "labels": {"app": "web"}}, "timestamp": "2027-01-15T07:59:51Z", "window": "15.062s",
   "containers": [{"name": "main", "usage": {"cpu": "151234567n", "memory": "20976Ki"}},
                  {"name": "side", "usage": {"cpu": "2m", "memory": "1M"}}]},
  {"metadata": {"name": "web-2", "namespace": "shop"}, "timestamp": "2027-01-15T07:59:48Z", "window": "14s",
   "containers": [{"name": "main", "usage": {"cpu": "0", "memory": "1024"}}]}]}
""")["items"]
NOW = 1_800_000_000.0
WEB = "apps/v1/Deployment/shop/web"


def _rule(*names: str, window: int = 60) -> AutoscaleRule:
    return AutoscaleRule(WEB, 1, 5, 1, tuple(MetricTarget(name, 50) for name in names), window)


def _pod(name: str, *, ready: bool = True, **metadata: str) -> JsonObject:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, **metadata}, "status": {"phase": "Running", "conditions": conditions}}


@dataclass
class _Cluster:
    pods: list[JsonObject]
    measured: list[JsonObject] = field(default_factory=lambda: RECORDED)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def get(self, key: ObjectKey) -> JsonObject | None:
        return deployment(key.name, key.namespace)

    def kind_of(self, api_version: str, kind: str) -> Kind:
        return Kind(api_version, kind, "pods", namespaced=True, listable=True)

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None
    ) -> tuple[list[JsonObject], str]:
        self.asked.append((kind.api_version, namespace, label))
        return (self.pods if kind.api_version == "v1" else self.measured), ""


def _measured(cluster: _Cluster, *names: str, now: float = NOW) -> tuple[MetricRecord, ...]:
    return measure(cast("Cluster", cluster), [_rule(*names)], now)


@pytest.mark.requires("bridge.metrics")
def test_the_mean_of_the_ready_pods_is_told_in_whole_units_rounded_up() -> None:
    cluster = _Cluster([_pod("web-1"), _pod("web-2"), _pod("web-3", ready=False)])
    found = _measured(cluster, "cpu", "memory", "requests")
    # (151.234567 + 2 + 0) / 2 thousandths of a core; (20976 Ki + 1 M + 1024) / 2 bytes.
    assert found == (MetricRecord(WEB, "cpu", 77, 2), MetricRecord(WEB, "memory", 11_240_224, 2))
    assert cluster.asked == [("v1", "shop", "app=web"), ("metrics.k8s.io/v1beta1", "shop", "app=web")]


@pytest.mark.requires("bridge.metrics")
def test_what_is_missing_or_old_is_not_guessed() -> None:
    both = [_pod("web-1"), _pod("web-2")]
    assert _measured(_Cluster([*both, _pod("web-3")]), "cpu") == ()
    assert _measured(_Cluster([]), "cpu") == ()
    assert _measured(_Cluster(both), "cpu", now=NOW + AGE_S_MAX - 11) == ()
    assert _measured(_Cluster(both), "cpu", now=NOW + AGE_S_MAX - 12) != ()
    assert (
        _measured(_Cluster([both[0], _pod("web-9", deletionTimestamp="2027-01-15T08:00:00Z")]), "cpu") != ()
    )
    silent: list[Any] = json.loads(json.dumps(RECORDED))
    del silent[0]["containers"][1]["usage"]["cpu"]
    assert [m.name for m in _measured(_Cluster(both, silent), "cpu", "memory")] == ["memory"]
    assert _measured(_Cluster(both), "requests") == ()


@pytest.mark.requires("bridge.metrics")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("250m", "0.25"), ("1", 1), ("1.5", "1.5"), (".5", "0.5"), ("12345n", "0.000012345"),
        ("7u", "0.000007"),
        ("128Ki", 131072), ("1Gi", 2**30), ("2k", 2000), ("1E", 10**18), ("1e3", 1000), ("1E3", 1000),
        ("1e-3", "0.001"),
        ("-1", None), ("", None), ("1 ", None), ("1KI", None), ("0x10", None), ("1e999", None),
        ("9" * 21, None),
        (3, None), (None, None), ("1\u0661", None),
    ],
)  # fmt: skip
def test_quantities_are_read_exactly_or_not_at_all(text: object, expected: Any) -> None:
    assert quantity(text) == (None if expected is None else Decimal(expected))


@pytest.mark.requires("bridge.metrics")
def test_pods_are_selected_as_their_workload_selects_them() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    live = {"spec": {"selector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions}}}
    assert selector_of(live) == "a=1,b=2,tier in (a,b),!old,app,zone notin (x)"
    assert selector_of(None) == selector_of({"spec": {"selector": {}}}) == ""


@pytest.mark.requires("bridge.metrics")
def test_it_is_measured_as_often_as_the_windows_need_and_only_for_what_can_be() -> None:
    assert interval_s([_rule("cpu")]) == 15
    assert interval_s([_rule("cpu"), _rule("memory", window=10)]) == 5
    assert interval_s([_rule("cpu", window=0)]) == 1
    assert interval_s([_rule("requests")]) is None
    assert interval_s([]) is None


@pytest.mark.requires("bridge.metrics")
def test_a_cluster_without_metrics_is_told_from_one_that_is_down() -> None:
    assert is_absent(EnvironmentFault(Code.OBJECT_KIND_UNKNOWN, got="x"))
    assert is_absent(EnvironmentFault(Code.KUBERNETES_REFUSED, got="x", status=503))
    assert not is_absent(EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="x"))
