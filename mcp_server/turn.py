"""One after another: the reader is no friend of threads, so whoever reads takes a turn.

Owns the order. Promises that at most one piece of work runs, that those who wait are bounded in number and
time, and that who waits in one lane takes no place of another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from ledger.errors import Code, EnvironmentFault

WAITING_SECONDS_MAX = 30.0
T = TypeVar("T")


class Turn:
    """Runs work on a thread, one piece at a time, in the order of asking."""

    def __init__(self) -> None:
        self._lock: anyio.Lock | None = None
        self._waiting: Counter[str] = Counter()

    async def take(self, work: Callable[[], T], lane: str, waiting_max: int) -> T:
        """Give what ``work`` gives; ``lane`` has ``waiting_max`` places for those who wait.

        Raises:
            EnvironmentFault: TIMEOUT where no place is free or none's turn came; and what ``work`` raises.
        """
        if self._waiting[lane] >= waiting_max:
            raise _busy(f"{waiting_max} waiting")
        if self._lock is None:
            self._lock = anyio.Lock()
        self._waiting[lane] += 1
        try:
            with anyio.fail_after(WAITING_SECONDS_MAX):
                await self._lock.acquire()
        except TimeoutError:
            raise _busy(f"no turn in {WAITING_SECONDS_MAX} s") from None
        finally:
            self._waiting[lane] -= 1
        try:
            return await anyio.to_thread.run_sync(work)
        finally:
            self._lock.release()


def _busy(got: str) -> EnvironmentFault:
    return EnvironmentFault(
        Code.TIMEOUT, got=got, expected="a free turn", todo="the server is busy: try again in some seconds"
    )
