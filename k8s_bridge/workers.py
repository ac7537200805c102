"""Several requests at once.

Owns the threads that carry them. Promises that results come in the order of what was asked, that nothing is
under way any more once ``each`` has returned or raised, and that what was not begun when one failed is not
begun. Never decides what is asked, nor what may be asked together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")
WORKERS = 8
"""Requests of one bridge under way at once, far below what an API server takes from one client."""


class Workers(Protocol):
    """Who carries the requests of a look or a plan."""

    def each(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` for every item; raises what the first that failed, in their order, raised."""
        ...

    def begin(self, work: Callable[[], B]) -> Callable[[], B]:
        """Begin ``work``; gives what waits for it and gives, or raises, what came of it."""
        ...


class OneByOne:
    """Does everything in the calling thread, in order: for tests and tools."""

    def each(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` for every item."""
        return [work(item) for item in items]

    def begin(self, work: Callable[[], B]) -> Callable[[], B]:
        """Do ``work`` at once."""
        done = work()
        return lambda: done


class Pool:
    """``count`` threads, made when they are needed; ``close`` ends them."""

    def __init__(self, count: int = WORKERS) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="request")

    def each(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Do ``work`` for every item."""
        if len(items) < 2:
            return [work(item) for item in items]
        futures = [self._threads.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            # Whoever goes on after a failure must not be overtaken by what is still under way.
            wait([future for future in futures if not future.cancel()])

    def begin(self, work: Callable[[], B]) -> Callable[[], B]:
        """Begin ``work``."""
        future: Future[B] = self._threads.submit(work)
        return future.result

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
