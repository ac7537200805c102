"""Custom kinds are as healthy as their release's signed rule says, and never more."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_bridge.custom_health import VALUES_MAX, read_custom, readings_of
from k8s_bridge.latch import judge
from ledger.health_expression import KindHealth
from ledger.types import JsonObject

RULE = KindHealth("Widget.shop.test", "status.phase == 'Up' && status.n >= `2`", "status.phase == 'Broken'")


def _widget(**status: Any) -> JsonObject:
    return {
        "apiVersion": "shop.test/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "uid": "u", "generation": 2},
        "status": status,
    }


@pytest.mark.requires("bridge.health-rules")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Up", "n": 2}, "current"),
        ({"phase": "Up", "n": 1}, "in_progress"),
        ({"phase": "Up", "n": "2"}, "unknown"),
        ({"phase": "Broken", "n": 2}, "failed"),
        ({}, "in_progress"),
        ({"phase": "Up", "n": 2, "observedGeneration": 1}, "in_progress"),
        ({"phase": "Up", "n": 2, "conditions": [{"type": "Stalled", "status": "True"}]}, "failed"),
    ],
)
def test_a_signed_rule_tells_how_a_custom_kind_is(status: dict[str, Any], expected: str) -> None:
    readings = readings_of([RULE])
    assert judge(None, _widget(**status), 0.0, readings).health.status == expected
    # Without the rule nothing is known.
    if not {"conditions", "observedGeneration"} & status.keys():
        assert judge(None, _widget(**status), 0.0).health.status == "unknown"


@pytest.mark.requires("bridge.health-rules")
def test_only_the_value_true_is_healthy_and_a_rule_that_does_not_fit_is_unknown() -> None:
    truthy = readings_of([KindHealth("Widget.shop.test", "status.phase")])
    found = read_custom(truthy, _widget(phase="Up"))
    assert found is not None
    assert found.status == "in_progress"
    misfit = readings_of([KindHealth("Widget.shop.test", "length(status.n) > `0`")])
    found = read_custom(misfit, _widget(n=3))
    assert found is not None
    assert found.status == "unknown"
    huge = read_custom(readings_of([RULE]), _widget(phase="Up", n=2, more=list(range(VALUES_MAX))))
    assert huge is not None
    assert huge.status == "unknown"
    assert read_custom(truthy, {**_widget(), "apiVersion": "shop.example/v1"}) is None
    assert read_custom(truthy, {"apiVersion": 3, "kind": None, "metadata": {}}) is None
