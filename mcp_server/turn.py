"""One after another: the reader is no friend of threads, so whoever reads takes a turn.

Owns the order. Promises that at most one piece of work runs, that those who wait are bounded in number and
time, that who waits in one lane takes no place of another's, and that lanes in which somebody waits come by
turns: however many wait in the others, each of them gets one in between and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from ledger.errors import Code, EnvironmentFault

WAITING_SECONDS_MAX = 30.0
T = TypeVar("T")


class Turn:
    """Runs work on a thread, one piece at a time: within a lane in the order of asking, lanes by turns."""

    def __init__(self) -> None:
        self._is_taken = False
        self._lanes: dict[str, deque[anyio.Event]] = {}

    async def take(self, work: Callable[[], T], lane: str, waiting_max: int) -> T:
        """Give what ``work`` gives; ``lane`` has ``waiting_max`` places for those who wait.

        Raises:
            EnvironmentFault: TIMEOUT where no place is free or none's turn came; and what ``work`` raises.
        """
        waiting = self._lanes.setdefault(lane, deque())
        if self._is_taken:
            if len(waiting) >= waiting_max:
                raise _busy(f"{waiting_max} waiting")
            await self._wait(waiting)
        self._is_taken = True
        try:
            return await anyio.to_thread.run_sync(work)
        finally:
            self._pass_on()

    async def _wait(self, waiting: deque[anyio.Event]) -> None:
        mine = anyio.Event()
        waiting.append(mine)
        try:
            with anyio.fail_after(WAITING_SECONDS_MAX):
                await mine.wait()
        except TimeoutError:
            self._give_up(mine, waiting)
            raise _busy(f"no turn in {WAITING_SECONDS_MAX} s") from None
        except BaseException:
            self._give_up(mine, waiting)
            raise

    def _give_up(self, mine: anyio.Event, waiting: deque[anyio.Event]) -> None:
        # Its turn may have come at this very moment: then it is the next one's.
        if mine.is_set():
            self._pass_on()
        else:
            waiting.remove(mine)

    def _pass_on(self) -> None:
        """Wake who is next; until it runs the turn stays taken, so that nobody gets between."""
        for lane, waiting in list(self._lanes.items()):
            if waiting:
                self._lanes[lane] = self._lanes.pop(lane)
                waiting.popleft().set()
                return
        self._is_taken = False


def _busy(got: str) -> EnvironmentFault:
    return EnvironmentFault(
        Code.TIMEOUT, got=got, expected="a free turn", todo="the server is busy: try again in some seconds"
    )
