"""A subscription: no height is missed however the node behaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.consensus.waiting import World, away, back, behind, grow


@pytest.mark.requires("subscription.every-height")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.sampled_from([grow, away, back, behind]), max_size=12), after=st.integers(0, 3))
def test_no_height_is_missed_however_the_node_behaves(steps: list[Any], after: int) -> None:
    world = World(*steps, back, grow)
    assert world.heights(after) == list(range(after + 1, world.ledger.height))
