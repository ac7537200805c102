"""Contests among random writers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_bridge.contest import RIVALS_MAX, Contest, Rule, in_place, undone
from runtime.retry import Backoff

RULES = st.builds(
    lambda writes, base_s, ceiling_s, more_s: Rule(writes, ceiling_s + more_s, Backoff(base_s, ceiling_s)),
    st.integers(1, 8),
    st.floats(0.01, 5),
    st.floats(5, 120),
    st.floats(0, 100),
)
PAUSES = st.lists(st.floats(0, 300), min_size=1, max_size=60)


def _fight(rule: Rule, pauses: list[float]) -> tuple[Contest | None, list[float], float]:
    """Let somebody write after each pause; what rests is put back when its rest is over."""
    contest: Contest | None = None
    written: list[float] = []
    now = 0.0
    for pause in pauses:
        now += pause
        if contest is not None and contest.resting(now):
            continue
        contest = undone(in_place(contest, now, rule), now, (f"writer-{len(written)}",), rule)
        written.append(now)
    return contest, written, now


@pytest.mark.requires("bridge.contested")
@given(RULES, PAUSES)
def test_rests_are_bounded_and_an_object_is_never_given_up(rule: Rule, pauses: list[float]) -> None:
    contest, written, _ = _fight(rule, pauses)
    assert contest is not None
    assert contest.until_s <= written[-1] + rule.rests.ceiling_s
    assert not contest.resting(written[-1] + rule.rests.ceiling_s)
    assert len(contest.undone_s) <= rule.writes
    assert len(contest.rivals) <= RIVALS_MAX
    assert contest.rivals[0] == f"writer-{len(written) - 1}"


@pytest.mark.requires("bridge.contested")
@given(RULES, PAUSES)
def test_writes_in_any_window_are_few(rule: Rule, pauses: list[float]) -> None:
    _, written, _ = _fight(rule, pauses)
    # Before a contest, and again at its beginning: those of one window; then each rest is twice the last.
    doublings = 1
    while rule.rests.delay_s(doublings) < rule.rests.ceiling_s:
        doublings += 1
    most = 2 * rule.writes + doublings + rule.window_s / rule.rests.ceiling_s + 1
    for start in written:
        assert sum(start <= at < start + rule.window_s for at in written) <= most


@pytest.mark.requires("bridge.contested")
@given(RULES, PAUSES)
def test_a_contest_is_over_a_window_after_the_last_write(rule: Rule, pauses: list[float]) -> None:
    contest, written, _ = _fight(rule, pauses)
    assert contest is not None
    assert in_place(contest, written[-1] + rule.window_s, rule) is None
    if contest.contested:
        assert in_place(contest, contest.until_s - 1e-6, rule) is contest


@pytest.mark.requires("bridge.contested")
@given(RULES, st.lists(st.floats(1.01, 5), min_size=1, max_size=40))
def test_whoever_writes_seldom_is_never_contested(rule: Rule, stretches: list[float]) -> None:
    seldom = [rule.window_s * stretch for stretch in stretches]
    contest, written, _ = _fight(rule, seldom)
    assert contest is not None
    assert contest.contested == (rule.writes == 1)
    assert len(written) == len(stretches)
