"""Token buckets: whatever is asked and whenever, no more than the rate is given, nothing lost to rounding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.agent_policy import Rate
from mcp_server.guard.buckets import Bucket, take

RATES = st.builds(Rate, st.integers(0, 1000), st.integers(1, 86_400))
ASKED = st.lists(st.tuples(st.integers(-(10**9), 10**13), st.integers(0, 50)), max_size=60)
PERIOD = 10**9


@pytest.mark.requires("guard.budgets")
@given(RATES, ASKED)
def test_no_span_of_time_gives_more_than_the_rate(rate: Rate, asked: list[tuple[int, int]]) -> None:
    bucket: Bucket | None = None
    now_ns, given_at = 10**18, []
    for step_ns, amount in asked:
        now_ns += step_ns
        bucket, wait_ns = take(bucket, rate, amount, now_ns)
        if wait_ns == 0:
            given_at.append((bucket.at_ns, amount))
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            span_ns = given_at[last][0] - given_at[first][0]
            total = sum(amount for _, amount in given_at[first : last + 1])
            assert (total - rate.capacity) * rate.per_seconds * PERIOD <= rate.capacity * span_ns


@pytest.mark.requires("guard.budgets")
@given(RATES, ASKED, st.integers(1, 50))
def test_the_wait_it_names_is_enough_and_no_nanosecond_less_is(
    rate: Rate, asked: list[tuple[int, int]], amount: int
) -> None:
    bucket: Bucket | None = None
    now_ns = 10**18
    for step_ns, taken in asked:
        now_ns += abs(step_ns)
        bucket = take(bucket, rate, taken, now_ns).bucket
    bucket, wait_ns = take(bucket, rate, amount, now_ns)
    assert (wait_ns == -1) == (amount > rate.capacity)
    if wait_ns > 0:
        assert take(bucket, rate, amount, now_ns + wait_ns).wait_ns == 0
        assert take(bucket, rate, amount, now_ns + wait_ns - 1).wait_ns > 0


@pytest.mark.requires("guard.budgets")
@given(RATES, st.lists(st.integers(0, 10**12), max_size=40), st.integers(0, 1000))
def test_asking_often_refills_no_less_than_asking_once(rate: Rate, steps: list[int], drawn: int) -> None:
    start = take(None, rate, min(drawn, rate.capacity), 0).bucket
    often, now_ns = start, 0
    for step_ns in steps:
        now_ns += step_ns
        often = take(often, rate, 0, now_ns).bucket
    assert often.level == take(start, rate, 0, now_ns).bucket.level


@pytest.mark.requires("guard.budgets")
@given(RATES, st.integers(0, 2000), st.integers(0, 10**12))
def test_who_cannot_pay_pays_nothing(rate: Rate, amount: int, later_ns: int) -> None:
    full = take(None, rate, 0, 0).bucket
    bucket, wait_ns = take(full, rate, amount, later_ns)
    assert (bucket.level == full.level) == (wait_ns != 0 or amount == 0)
