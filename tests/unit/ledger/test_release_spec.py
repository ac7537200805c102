"""Where and how a release goes, read strictly; the records of rollouts and of scale."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest

from ledger import autoscale, canonical, release_spec, rollout
from ledger.autoscale import Direction, ObjectScale, Recommendation, Sample, ScaleRecord
from ledger.errors import Code
from ledger.limits import (
    CLUSTERS_PER_RELEASE_MAX,
    RECREATES_PER_RELEASE_MAX,
    REPLICAS_MAX,
    SETTLE_SECONDS_MAX,
    WAVES_MAX,
)
from ledger.release_spec import Targets
from ledger.rollout import (
    ClusterProgress,
    ClusterState,
    HealthRule,
    RolloutOptions,
    RolloutRecord,
    RolloutState,
    Wave,
)
from ledger.types import Json, JsonObject
from tests.support.refusal import refusal_of

SELECTOR: JsonObject = {"matchLabels": {"stage": "canary"}}
RULE: JsonObject = {
    "object": "apps/v1/Deployment/demo/web",
    "minReplicas": 1,
    "maxReplicas": 5,
    "initialReplicas": 2,
    "metrics": [{"name": "requests", "target": 10}],
}
ROLLOUT = RolloutRecord(
    "web", 2, RolloutState.PAUSED, (("east",), ("north", "west")), 1,
    (ClusterProgress("east", ClusterState.HEALTHY, 5, 9), ClusterProgress("north"),
     ClusterProgress("west", ClusterState.FAILED, 7, None, "late")),
    False, None, 600, 1, HealthRule(90, 5), "did:key:zA", 20,
)  # fmt: skip
SCALE = ScaleRecord((ObjectScale("a", 3, 9, (Sample("requests", 8, 30, 2),), (Recommendation(8, 3),)),))


@pytest.mark.requires("releases.spec")
def test_what_is_left_out_has_its_default() -> None:
    assert release_spec.read_rollout({}, "spec") == RolloutOptions((), None, 600, 1)
    assert release_spec.read_health({}, "spec") == HealthRule(100, 0)
    assert release_spec.read_autoscale({}, "spec") == ()
    (rule,) = release_spec.read_autoscale({"autoscale": [RULE]}, "spec")
    assert (rule.window_seconds, rule.cooldown_seconds) == (60, 0)
    assert (rule.scale_up, rule.scale_down) == (Direction(), Direction(stabilization_seconds=300))


@pytest.mark.requires("releases.recreate")
def test_what_may_be_made_anew_is_named_once_and_in_order() -> None:
    assert release_spec.read_recreate({}, "spec") == ()
    assert release_spec.read_recreate({"recreate": ["a/b", "c/d"]}, "spec") == ("a/b", "c/d")
    for wrong in (["c/d", "a/b"], ["a/b", "a/b"], [1], [""], "a/b", None):
        refusal_of(partial(release_spec.read_recreate, {"recreate": wrong}, "spec"), Code.FIELD_INVALID)
    many = {"recreate": [f"{number:04d}" for number in range(RECREATES_PER_RELEASE_MAX + 1)]}
    refusal_of(lambda: release_spec.read_recreate(many, "spec"), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("releases.spec")
def test_what_is_written_is_read() -> None:
    assert release_spec.read_targets({"clusters": ["east", "west"]}, "spec") == Targets(
        ("east", "west"), None
    )
    assert release_spec.read_targets({"selector": SELECTOR}, "spec") == Targets((), SELECTOR)
    spec = {
        "rollout": {
            "waves": [{"clusters": ["east"]}, {"selector": SELECTOR}],
            "maxUnavailable": 2,
            "progressDeadlineSeconds": 30,
            "failureThreshold": 3,
        },
        "health": {"healthyPercent": 80, "settleSeconds": 5},
    }
    options = release_spec.read_rollout(spec, "spec")
    assert options == RolloutOptions((Wave(("east",)), Wave((), SELECTOR)), 2, 30, 3)
    assert release_spec.waves_select(options)
    assert not release_spec.waves_select(RolloutOptions((Wave(("east",)),)))
    assert release_spec.read_health(spec, "spec") == HealthRule(80, 5)


@pytest.mark.requires("releases.spec")
@pytest.mark.parametrize(
    ("spec", "code", "field"),
    [
        ({}, Code.FIELD_MISSING, "clusters"),
        ({"clusters": ["east"], "selector": SELECTOR}, Code.FIELD_INVALID, "selector"),
        ({"clusters": []}, Code.FIELD_INVALID, "clusters"),
        ({"clusters": ["west", "east"]}, Code.FIELD_INVALID, "clusters"),
        ({"clusters": ["c"] * (CLUSTERS_PER_RELEASE_MAX + 1)}, Code.LIMIT_EXCEEDED, "clusters"),
        ({"selector": None}, Code.FIELD_INVALID, "selector"),
        ({"selector": {"matchLabels": {}}}, Code.FIELD_INVALID, "selector.matchLabels"),
        ({"selector": {"matchLabels": {"a": 1}}}, Code.FIELD_INVALID, "selector.matchLabels.a"),
        ({"selector": {"matchLabels": {"a": "x" * 64}}}, Code.LIMIT_EXCEEDED, "selector.matchLabels.a"),
        ({"selector": {"matchExpressions": []}}, Code.FIELD_MISSING, "selector.matchLabels"),
    ],
)
def test_targets_are_named_or_selected(spec: JsonObject, code: Code, field: str) -> None:
    refusal = refusal_of(lambda: release_spec.read_targets(spec, "spec"), code)
    assert refusal.facts["field"] == f"spec.{field}"


@pytest.mark.requires("releases.spec")
@pytest.mark.parametrize(
    ("rollout_spec", "code", "field"),
    [
        (None, Code.FIELD_INVALID, ""),
        ({"surge": 1}, Code.FIELD_UNKNOWN, ".surge"),
        ({"maxUnavailable": 0}, Code.FIELD_INVALID, ".maxUnavailable"),
        ({"maxUnavailable": None}, Code.FIELD_INVALID, ".maxUnavailable"),
        ({"progressDeadlineSeconds": 0}, Code.FIELD_INVALID, ".progressDeadlineSeconds"),
        ({"failureThreshold": True}, Code.FIELD_INVALID, ".failureThreshold"),
        ({"waves": [{}]}, Code.FIELD_INVALID, ".waves[0]"),
        ({"waves": [{"clusters": []}]}, Code.FIELD_INVALID, ".waves[0].clusters"),
        ({"waves": [{"clusters": ["b", "a"]}]}, Code.FIELD_INVALID, ".waves[0].clusters"),
        ({"waves": [{"clusters": [], "selector": SELECTOR}]}, Code.FIELD_INVALID, ".waves[0]"),
        ({"waves": [{"selector": None}]}, Code.FIELD_INVALID, ".waves[0].selector"),
        ({"waves": [{"clusters": ["a"]}] * (WAVES_MAX + 1)}, Code.LIMIT_EXCEEDED, ".waves"),
    ],
)
def test_a_rollout_is_read_strictly(rollout_spec: Json, code: Code, field: str) -> None:
    refusal = refusal_of(lambda: release_spec.read_rollout({"rollout": rollout_spec}, "spec"), code)
    assert refusal.facts["field"] == f"spec.rollout{field}"


@pytest.mark.requires("releases.spec")
@pytest.mark.parametrize(
    "health",
    [
        None,
        {"healthyPercent": 0},
        {"healthyPercent": 101},
        {"healthyPercent": "90"},
        {"settleSeconds": -1},
        {"settleSeconds": SETTLE_SECONDS_MAX + 1},
        {"settleSeconds": 600},
    ],
)
def test_health_is_read_strictly(health: Json) -> None:
    refusal_of(lambda: release_spec.read_health({"health": health}, "spec"), Code.FIELD_INVALID)


@pytest.mark.requires("releases.spec")
@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"minReplicas": 0}, ".minReplicas"),
        ({"minReplicas": 3}, ".initialReplicas"),
        ({"maxReplicas": 1}, ".initialReplicas"),
        ({"maxReplicas": REPLICAS_MAX + 1}, ".maxReplicas"),
        ({"metrics": []}, ".metrics"),
        ({"metrics": [{"name": "a", "target": 1}, {"name": "a", "target": 2}]}, ".metrics"),
        ({"metrics": [{"name": "a", "target": 0}]}, ".metrics[0].target"),
        ({"scaleUp": {"stepMax": 0}}, ".scaleUp.stepMax"),
        ({"scaleDown": {"stabilizationSeconds": -1}}, ".scaleDown.stabilizationSeconds"),
        ({"object": ""}, ".object"),
    ],
)
def test_an_autoscale_rule_is_read_strictly(changed: JsonObject, field: str) -> None:
    refusal = refusal_of(
        lambda: release_spec.read_autoscale({"autoscale": [{**RULE, **changed}]}, "spec"), Code.FIELD_INVALID
    )
    assert refusal.facts["field"] == f"spec.autoscale[0]{field}"


@pytest.mark.requires("releases.spec")
def test_an_object_has_one_autoscale_rule() -> None:
    refusal_of(lambda: release_spec.read_autoscale({"autoscale": [RULE, RULE]}, "spec"), Code.FIELD_INVALID)


@pytest.mark.requires("releases.records")
def test_records_have_one_form_and_read_back() -> None:
    assert rollout.read(rollout.write(ROLLOUT)) == ROLLOUT
    assert autoscale.read(autoscale.write(SCALE)) == SCALE
    bare = dataclasses.replace(ROLLOUT, paused_by=None, paused_time=None, max_unavailable=1)
    assert rollout.read(rollout.write(bare)) == bare
    plain = canonical.load_plain(rollout.write(ROLLOUT))
    assert plain["clusters"][0] == {
        "name": "east", "state": "healthy", "started": 5, "healthySince": 9, "reason": ""
    }  # fmt: skip
    assert (plain["pausedBy"], plain["waves"]) == ("did:key:zA", [["east"], ["north", "west"]])


@pytest.mark.requires("releases.records")
def test_a_record_of_another_shape_is_refused() -> None:
    plain = canonical.load_plain(rollout.write(ROLLOUT))
    for changed in ({"state": "waiting"}, {"wave": -1}, {"clusters": [{"name": "east", "state": "lost"}]}):
        content = canonical.dump_plain({**plain, **changed})
        refusal_of(lambda content=content: rollout.read(content), Code.FIELD_INVALID)  # type: ignore[misc]
    refusal_of(lambda: autoscale.read(b'{"objects":[],"time":1}'), Code.FIELD_UNKNOWN)
