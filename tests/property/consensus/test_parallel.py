"""Checks side by side: the first failing one is that of one loop, and all before it were made, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.light.parallel import ITEMS_MIN, first_failing


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
