"""Checks shared out among threads answer as one loop would."""

from __future__ import annotations

import threading

import pytest

from consensus.light.parallel import ITEMS_MIN, first_failing

WAIT_S = 10


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
