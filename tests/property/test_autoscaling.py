"""Autoscaling: any metrics stay within bounds, steps and limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.autoscale import Direction
from ledger.limits import METRIC_SAMPLES_MAX, REPLICAS_MAX
from tests.support.autoscaling import RULE, Cluster, ruled


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
