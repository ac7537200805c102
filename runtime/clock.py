"""The system clock behind a callable.

Owns the one place that reads the wall clock; promises integer nanoseconds since the Unix epoch. Everything
else takes ``now_ns`` or a ``Clock`` as an argument; nothing here is ever used inside the replicated machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives nanoseconds since the Unix epoch."""

NS_PER_S = 1_000_000_000


def system_clock_ns() -> int:
    """Give the system's wall clock in nanoseconds since the Unix epoch."""
    return time.time_ns()
