"""Autoscaling: any metrics stay within bounds, steps and limits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app import autoscaling
from abci_app.autoscaling import ScaleDecision
from ledger import autoscale
from ledger.autoscale import AutoscaleRule, Direction, MetricTarget, ScaleRecord
from ledger.limits import METRIC_SAMPLES_MAX, REPLICAS_MAX
from ledger.records import MetricRecord

WEB = "apps/v1/Deployment/demo/web"


NOW = Direction()


RULE = AutoscaleRule(
    WEB, 1, 20, 4, (MetricTarget("requests", 10),), window_seconds=0, scale_up=NOW, scale_down=NOW
)


def ruled(**changed: Any) -> AutoscaleRule:
    return dataclasses.replace(RULE, **changed)


class Cluster:
    """One cluster's scale over time: a report at a time, decided one after the other."""

    def __init__(self, rule: AutoscaleRule) -> None:
        self.rule = rule
        self.record: ScaleRecord | None = None
        self.decisions: tuple[ScaleDecision, ...] = ()

    def replicas(self) -> int:
        assert self.record is not None
        return self.record.objects[0].replicas

    def report(self, time: int, replicas: int | None = None, **metrics: int) -> int:
        """Report metrics at a time; give the replicas that hold then."""
        holds = self.replicas() if self.record else self.rule.initial_replicas
        had = holds if replicas is None else replicas
        found = tuple(MetricRecord(WEB, name, value, had) for name, value in metrics.items())
        self.record, self.decisions = autoscaling.decide_all((self.rule,), self.record, found, time)
        assert autoscale.read(autoscale.write(self.record)) == self.record
        return self.replicas()


@pytest.mark.requires("autoscale.bounds")
@settings(max_examples=60, deadline=None)
@given(
    st.builds(Direction, st.integers(0, 50), st.integers(1, 30)),
    st.builds(Direction, st.integers(0, 50), st.integers(1, 30)),
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1)), max_size=50
    ),
)
def test_any_metrics_stay_within_bounds_steps_and_limits(
    up: Direction, down: Direction, reports: list[tuple[int, int, int]]
) -> None:
    web = Cluster(ruled(scale_up=up, scale_down=down, window_seconds=200, max_replicas=REPLICAS_MAX))
    time, before = 1000, RULE.initial_replicas
    for passed, value, had in reports:
        time += passed
        after = web.report(time, replicas=had, requests=value)
        assert max(1, before - down.step_max) <= after <= min(REPLICAS_MAX, before + up.step_max)
        assert web.record is not None
        assert len(web.record.objects[0].samples) <= METRIC_SAMPLES_MAX
        before = after
