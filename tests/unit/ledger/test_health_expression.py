"""Health rules of custom kinds: what may be signed."""

from __future__ import annotations

from functools import partial

import pytest

from ledger.errors import Code
from ledger.health_expression import DEPTH_MAX, KindHealth, check_rules, read_rules
from ledger.limits import HEALTH_EXPRESSION_BYTES_MAX, HEALTH_RULES_PER_RELEASE_MAX
from ledger.types import Json, JsonObject
from tests.support.refusal import refusal_of

KIND = "Widget.shop.test"


def _spec(current: Json, kind: str = KIND, **more: Json) -> JsonObject:
    return {"healthRules": [{"kind": kind, "current": current, **more}]}


@pytest.mark.requires("releases.health-rules")
@pytest.mark.parametrize(
    "expression",
    [
        "status.phase == 'Ready'",
        "status.replicas >= `2` && !status.paused",
        "status.conditions[?type=='Synced'].status | [0] == 'True'",
        "length(status.nodes[?ready == `true`]) == spec.nodes",
        "contains(status.message, 'ok') || starts_with(status.phase, 'Run')",
        'status."x-y".* | [-1] == `null`',
    ],
)
def test_what_reads_and_compares_may_be_signed(expression: str) -> None:
    assert read_rules(_spec(expression), "spec") == (KindHealth(KIND, expression),)
    assert read_rules(_spec("a", failed=expression), "spec") == (KindHealth(KIND, "a", expression),)


@pytest.mark.requires("releases.health-rules")
@pytest.mark.parametrize(
    "expression",
    [
        "status.",
        "status.phase = 'Ready'",
        "a == 'b",
        "@.`[1.5]`",
        "a == `1.5`",
        'a == `"x"`',
        "a == `1e400`",
        "a == `01`",
        "[a, a]",
        "{a: a}",
        "a[]",
        "a[::2]",
        "sort(a)",
        "map(&b, a)",
        "join('', a)",
        "to_string(@) == 'x'",
        "nosuch(a)",
        "a[?[b, b]]",
        "a `",
        "(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1),
        "!" * (DEPTH_MAX + 1) + "a",
        "&a",
        "",
        7,
    ],
)
def test_what_could_build_or_run_long_or_means_nothing_is_refused(expression: Json) -> None:
    refusal = refusal_of(partial(read_rules, _spec(expression), "spec"), Code.FIELD_INVALID)
    assert refusal.facts["field"] == "spec.healthRules[0].current"


@pytest.mark.requires("releases.health-rules")
def test_rules_are_bounded_sorted_and_about_custom_kinds() -> None:
    long = "a." * (HEALTH_EXPRESSION_BYTES_MAX // 2) + "b"
    refusal_of(partial(read_rules, _spec(long), "spec"), Code.LIMIT_EXCEEDED)
    many = {
        "healthRules": [
            {"kind": f"K{n:03}.shop.test", "current": "a"} for n in range(HEALTH_RULES_PER_RELEASE_MAX + 1)
        ]
    }
    refusal_of(partial(read_rules, many, "spec"), Code.LIMIT_EXCEEDED)
    assert read_rules({}, "spec") == ()
    for kind in ("Widget", "Deployment.apps", ""):
        refusal_of(partial(read_rules, _spec("a", kind), "spec"), Code.FIELD_INVALID)
    twice = {"healthRules": [{"kind": KIND, "current": "a"}] * 2}
    refusal_of(partial(read_rules, twice, "spec"), Code.FIELD_INVALID)
    refusal_of(partial(read_rules, _spec("a", failed=None), "spec"), Code.FIELD_INVALID)
    refusal_of(partial(read_rules, _spec("a", other=1), "spec"), Code.FIELD_UNKNOWN)


@pytest.mark.requires("releases.health-rules")
def test_a_rule_about_nothing_in_the_release_is_refused() -> None:
    widget: JsonObject = {"apiVersion": "shop.test/v1", "kind": "Widget", "metadata": {"name": "a"}}
    rules = read_rules(_spec("a"), "spec")
    check_rules(rules, [widget], "spec")
    other = widget | {"apiVersion": "shop.example/v1"}
    refusal_of(partial(check_rules, rules, [other], "spec"), Code.FIELD_INVALID)
