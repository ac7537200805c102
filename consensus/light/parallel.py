"""Many independent checks on a few threads.

Owns the sharing out. Promises the same answer as one loop from the first item to the last, on any number of
threads and processors; that a failure ends the work at once, but for checks already begun; and that a check
that did not come to its end counts as failed. It gains where the check gives the interpreter's
lock away, as libsodium's signatures do (PyNaCl), and costs little where it does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

THREADS = 4
ITEMS_MIN = 8
"""Fewer are checked at once by the caller: waking a thread costs as much as a signature or two."""

T = TypeVar("T")


def first_failing(items: Sequence[T], holds: Callable[[T], bool]) -> int | None:
    """Give the lowest index whose item does not hold, None where all do.

    Args:
        items: what is checked; no check may depend on another.
        holds: the check, safe on any thread.
    """
    if len(items) < ITEMS_MIN:
        return next((index for index, item in enumerate(items) if not holds(item)), None)
    waiting = deque(range(len(items)))
    held = [False] * len(items)

    def work() -> None:
        # Items are taken in order: whatever still waits comes after the failure and need not be looked at.
        while True:
            try:
                index = waiting.popleft()
            except IndexError:
                return
            held[index] = holds(items[index])
            if not held[index]:
                waiting.clear()

    others = [_pool().submit(work) for _ in range(THREADS - 1)]
    try:
        work()
    finally:
        waiting.clear()
        _settle(others)
    return next((index for index, one in enumerate(held) if not one), None)


def _settle(others: list[Future[None]]) -> None:
    """Wait for those who began; whoever did not has nothing left to do."""
    for other in others:
        if not other.cancel():
            other.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS - 1, thread_name_prefix="signatures")
