"""Replicas from metrics: ratio, median, windows, steps, bounds, cooldown."""

from __future__ import annotations

import dataclasses

import pytest

from abci_app import autoscaling
from abci_app.autoscaling import ScaleDecision
from ledger.autoscale import Direction, MetricTarget
from ledger.limits import METRIC_SAMPLES_MAX
from ledger.records import MetricRecord
from tests.support.autoscaling import RULE, WEB, Cluster, ruled


@pytest.mark.requires("autoscale.ratio")
@pytest.mark.parametrize(("value", "replicas"), [(10, 4), (11, 5), (25, 10), (24, 10), (7, 3), (0, 1)])
def test_replicas_follow_the_ratio_rounded_up(value: int, replicas: int) -> None:
    assert Cluster(RULE).report(100, requests=value) == replicas


@pytest.mark.requires("autoscale.ratio")
def test_the_greatest_of_the_metrics_counts() -> None:
    rule = ruled(metrics=(MetricTarget("requests", 10), MetricTarget("memory", 100)))
    assert Cluster(rule).report(100, requests=5, memory=150) == 6
    assert Cluster(rule).report(100, requests=20, memory=50) == 8


@pytest.mark.requires("autoscale.ratio")
def test_the_lower_median_of_the_window_counts() -> None:
    web = Cluster(ruled(window_seconds=20))
    assert web.report(100, replicas=4, requests=10) == 4
    assert web.report(110, replicas=4, requests=90) == 4
    assert web.report(120, replicas=4, requests=20) == 8
    # Without a metric nothing is decided; then the median is of 90, 20 and 5, with the replicas of now.
    assert web.report(121, replicas=8) == 8
    assert web.report(130, replicas=8, requests=5) == 16


@pytest.mark.requires("autoscale.ratio")
def test_the_newest_samples_of_a_metric_are_kept() -> None:
    web = Cluster(ruled(window_seconds=1000))
    for time in range(1, METRIC_SAMPLES_MAX + 6):
        web.report(time, replicas=4, requests=10)
    assert web.record is not None
    times = [sample.time for sample in web.record.objects[0].samples]
    assert times == list(range(6, METRIC_SAMPLES_MAX + 6))


@pytest.mark.requires("autoscale.missing")
def test_without_metrics_nothing_changes_and_one_missing_forbids_down() -> None:
    web = Cluster(ruled(metrics=(MetricTarget("requests", 10), MetricTarget("memory", 100))))
    assert (web.report(100), web.decisions) == (4, ())
    assert (web.report(101, other=1), web.decisions) == (4, ())
    assert web.report(102, requests=1) == 4
    assert web.report(103, requests=20) == 8
    assert web.report(104, requests=1, memory=1) == 1


@pytest.mark.requires("autoscale.missing")
def test_what_no_replica_carries_never_scales_down() -> None:
    web = Cluster(RULE)
    assert (web.report(100, replicas=0, requests=0), web.report(101, replicas=0, requests=99)) == (4, 4)
    assert web.report(102, replicas=4, requests=0) == 1


@pytest.mark.requires("autoscale.stabilization")
def test_up_takes_the_least_and_down_the_greatest_of_its_window() -> None:
    web = Cluster(ruled(scale_up=Direction(30), scale_down=Direction(60)))
    assert web.report(100, requests=10) == 4
    assert web.report(110, requests=20) == 4
    assert web.report(131, requests=15) == 6  # 4 is over, the least is 6
    assert web.report(140, requests=5) == 6  # 8 was recommended 30 s ago
    assert web.report(171, requests=5) == 6  # 6 was recommended 40 s ago
    assert web.report(192, requests=5) == 3


@pytest.mark.requires("autoscale.stabilization")
def test_a_peak_counts_for_its_whole_window_however_many_reports_follow() -> None:
    web = Cluster(ruled(scale_down=Direction(100)))
    assert web.report(100, requests=20) == 8
    assert {web.report(time, requests=1 + time % 3) for time in range(101, 200)} == {8}
    assert web.report(200, requests=1) < 8


@pytest.mark.requires("autoscale.stabilization")
def test_a_new_release_is_not_scaled_before_its_windows_are_over() -> None:
    web = Cluster(ruled(scale_up=Direction(30), scale_down=Direction(60)))
    web.report(100)
    assert (web.report(129, requests=20), web.report(130, requests=20)) == (4, 8)
    web = Cluster(ruled(scale_up=Direction(30), scale_down=Direction(60)))
    assert [web.report(time, requests=5) for time in (100, 159, 160)] == [4, 4, 2]


@pytest.mark.requires("autoscale.stabilization")
def test_without_a_window_only_the_newest_counts_within_a_second_too() -> None:
    web = Cluster(RULE)
    assert [web.report(100, replicas=4, requests=value) for value in (20, 5, 10)] == [8, 2, 4]


@pytest.mark.requires("autoscale.bounds")
def test_steps_and_bounds() -> None:
    rule = ruled(scale_up=Direction(0, 3), scale_down=Direction(0, 2), min_replicas=3, max_replicas=9)
    web = Cluster(rule)
    assert [web.report(time, requests=1000) for time in (1, 2, 3)] == [7, 9, 9]
    assert [web.report(time, requests=0) for time in (4, 5, 6, 7)] == [7, 5, 3, 3]


@pytest.mark.requires("autoscale.bounds")
def test_new_bounds_hold_at_once_and_are_told() -> None:
    web = Cluster(ruled(cooldown_seconds=1000))
    assert web.report(100, requests=20) == 8
    web.rule = dataclasses.replace(web.rule, max_replicas=5)
    assert web.report(110) == 5
    (told,) = web.decisions
    assert told == ScaleDecision(WEB, 8, 5, (1, 5))
    assert told.attributes()["medians"] is None
    assert (web.report(111), web.decisions) == (5, ())


@pytest.mark.requires("autoscale.cooldown")
def test_a_change_rests_and_the_initial_replicas_are_none() -> None:
    web = Cluster(ruled(cooldown_seconds=60))
    assert web.report(100, requests=10) == 4
    assert web.report(101, requests=20) == 8
    assert web.report(160, requests=20) == 8
    assert web.report(161, requests=20) == 16


@pytest.mark.requires("autoscale.told")
def test_a_change_is_told_with_its_inputs() -> None:
    web = Cluster(ruled(metrics=(MetricTarget("requests", 10), MetricTarget("memory", 100))))
    web.report(100, requests=15, memory=10)
    (told,) = web.decisions
    assert told.attributes() == {
        "object": WEB, "from_replicas": 4, "to_replicas": 6, "bounds": "1-20", "replicas": 4,
        "medians": "requests=15 memory=10", "recommended": 6, "stabilized": 6,
    }  # fmt: skip
    web.report(101, requests=10, memory=10)
    assert web.decisions == ()


@pytest.mark.requires("autoscale.ratio")
def test_each_object_has_its_own_metrics_and_a_rule_that_went_leaves_nothing() -> None:
    api = ruled(object="apps/v1/Deployment/demo/api", initial_replicas=2)
    metrics = (MetricRecord(WEB, "requests", 20, 4),)
    record, (told,) = autoscaling.decide_all((api, RULE), None, metrics, 100)
    assert ([o.replicas for o in record.objects], told.object) == ([2, 8], WEB)
    record, _ = autoscaling.decide_all((api,), record, (), 101)
    assert [o.object for o in record.objects] == [api.object]
