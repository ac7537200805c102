"""The bell: whatever moment it is rung or stopped at, whoever waits hears of it."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from k8s_bridge.bell import Bell

PATIENCE_S = 20.0
PAUSE_S = 0.05
LINES_MAX = 12
"""More than the wait has: a signal may come at each of them."""


def _stopping_at(number: int, bell: Bell) -> Any:
    """Give a trace that stops the bell before one line of its wait, as a signal handler would."""
    lines = itertools.count()

    def local(_frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and next(lines) == number:
            bell.stop()
        return local

    return lambda frame, _event, _: local if frame.f_code is Bell.wait.__code__ else None


@pytest.mark.requires("bridge.stop-heard")
@pytest.mark.parametrize("line", range(LINES_MAX))
def test_a_signal_at_any_line_of_the_wait_ends_it(line: int) -> None:
    bell, traced, began = Bell(), sys.gettrace(), time.monotonic()
    # The lines behind the waiting are reached only by a ring.
    ring = threading.Timer(PAUSE_S, lambda: None if bell.stopping else bell.block())
    ring.start()
    sys.settrace(_stopping_at(line, bell))
    try:
        bell.wait(PATIENCE_S)
    finally:
        sys.settrace(traced)
        ring.join()
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.requires("bridge.stop-heard", "bridge.doorbell")
def test_what_is_rung_before_is_given_at_once_and_once() -> None:
    bell, began = Bell(), time.monotonic()
    bell.block()
    bell.block()
    assert bell.wait(PATIENCE_S).block
    assert not bell.wait(0.0).block
    bell.stop()
    for _ in range(3):
        bell.wait(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S
