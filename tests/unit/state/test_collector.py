"""The collector's pause: what is made in it is never walked, and the pause ends however the block ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from state.collector import long_lived


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.requires("state.open-uncollected")
def test_what_is_made_is_never_walked_and_the_collector_returns() -> None:
    with long_lived():
        assert not gc.isenabled()
        kept: list[object] = [[]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(seen is kept for seen in gc.get_objects())


@pytest.mark.requires("state.open-uncollected")
def test_a_failure_ends_the_pause_too() -> None:
    with pytest.raises(ValueError, match="damaged"), long_lived():
        raise ValueError("damaged")
    assert gc.isenabled()
