"""Checks shared out among threads answer as one loop would."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.light.parallel import ITEMS_MIN, THREADS, first_failing

WAIT_S = 10


@pytest.mark.requires("light.parallel-same")
@given(st.lists(st.sampled_from([True, True, True, False]), max_size=4 * ITEMS_MIN))
def test_the_first_failing_is_that_of_one_loop(verdicts: list[bool]) -> None:
    asked: list[int] = []

    def holds(index: int) -> bool:
        asked.append(index)
        return verdicts[index]

    expected = verdicts.index(False) if False in verdicts else None
    assert first_failing(range(len(verdicts)), holds) == expected
    assert len(set(asked)) == len(asked)
    if expected is not None:
        assert set(range(expected + 1)) <= set(asked)
        assert len(asked) <= expected + THREADS


@pytest.mark.requires("light.parallel-same")
def test_the_lowest_failure_counts_even_if_it_comes_last() -> None:
    later_failed = threading.Event()

    def holds(index: int) -> bool:
        if index == 0:
            assert later_failed.wait(WAIT_S)
            return False
        if index == 1:
            later_failed.set()
            return False
        return True

    assert first_failing(range(ITEMS_MIN), holds) == 0


@pytest.mark.requires("light.parallel-same")
@pytest.mark.parametrize("broken", [0, ITEMS_MIN - 1])
def test_a_check_that_breaks_is_not_taken_as_passed(broken: int) -> None:
    def holds(index: int) -> bool:
        if index == broken:
            raise ZeroDivisionError
        return True

    with pytest.raises(ZeroDivisionError):
        first_failing(range(ITEMS_MIN), holds)
