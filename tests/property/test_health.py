"""Health of anything an API server could return, at any sequence of times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_bridge.health import HealthStatus, health_of
from k8s_bridge.health_rules import RULES
from k8s_bridge.latch import CALM_S, FALLS_MAX, HOLD_S, Memory, judge
from k8s_bridge.metrics import of_object, selector_of
from k8s_bridge.objects import ObjectKey
from ledger.errors import Refused
from ledger.health_expression import KindHealth, read_rules
from ledger.types import JsonObject

SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "True", "False", "Ready", "x"])
)
ANY: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
NAMES = [
    "conditions",
    "observedGeneration",
    "phase",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "containerStatuses",
    "initContainerStatuses",
    "startTime",
    "desiredNumberScheduled",
    "selector",
    "template",
    "containers",
    "matchLabels",
    "matchExpressions",
    "generation",
    "uid",
    "deletionTimestamp",
    "creationTimestamp",
    "minReadySeconds",
    "type",
    "status",
    "reason",
    "lastTransitionTime",
]
TREE: st.SearchStrategy[Any] = st.recursive(
    ANY,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)
KINDS = st.sampled_from([*RULES, ("shop.test", "Widget")])


@st.composite
def _objects(draw: st.DrawFn) -> JsonObject:
    group, kind = draw(KINDS)
    found: JsonObject = {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind}
    return found | draw(st.fixed_dictionaries({}, optional={"metadata": TREE, "spec": TREE, "status": TREE}))


RULE = {"Widget.shop.test": KindHealth("Widget.shop.test", "length(status.conditions) > `0`", "status.phase")}


@pytest.mark.requires("bridge.health")
@given(
    st.lists(
        st.tuples(_objects() | ANY.filter(lambda v: isinstance(v, dict)), st.integers(-5, 100)), max_size=8
    )
)
def test_any_object_gets_an_answer_and_what_is_remembered_is_bounded(
    looks: list[tuple[JsonObject, int]],
) -> None:
    memory: Memory | None = None
    for live, now in looks:
        assert health_of(live, now).status in HealthStatus
        found = judge(memory, live, now, RULE)
        memory = found.memory
        assert found.health.status in HealthStatus
        assert len(memory.falls) <= FALLS_MAX
        assert found.again_s is None or 0 < found.again_s <= CALM_S
        assert isinstance(selector_of(live), str)
        assert of_object(ObjectKey("v1", "Pod", "n", "n"), ["cpu"], ([live], [live]), now) == []


def _deployment(ready: bool) -> JsonObject:
    count = int(ready)
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    available = {"type": "Available", "status": "True" if ready else "False"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"uid": "u", "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{}]}}},
        "status": {**counts, "observedGeneration": 1, "conditions": [available]},
    }


@pytest.mark.requires("bridge.health-over-time")
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 50)), min_size=1, max_size=30))
def test_current_is_told_after_the_hold_and_always_after_a_calm(looks: list[tuple[bool, float]]) -> None:
    memory, now, since = None, 1_800_000_000.0, None
    for ready, pause in [(False, 1.0), *looks]:
        now += pause
        found = judge(memory, _deployment(ready), now)
        memory = found.memory
        since = (now if since is None else since) if ready else None
        told = found.health.status is HealthStatus.CURRENT
        assert not told or (since is not None and now - since >= HOLD_S)
        assert told or since is None or now - since < CALM_S


@pytest.mark.requires("releases.health-rules")
@given(st.text(st.sampled_from("ab.[]?*|&!()<>='`\"@,{}: 019-n"), max_size=40), TREE)
def test_what_may_be_signed_can_be_asked_of_anything(expression: str, status: Any) -> None:
    try:
        (rule,) = read_rules({"healthRules": [{"kind": "Widget.shop.test", "current": expression}]}, "spec")
    except Refused:
        return
    live = {"apiVersion": "shop.test/v1", "kind": "Widget", "metadata": {}, "status": status}
    assert judge(None, live, 0.0, {rule.kind: rule}).health.status in HealthStatus
