"""Every height of the ledger, verified, in order, through nodes that come and go.

Owns the following of a chain: polling, going on after a node was away, and telling when what is known grows
old. Promises that heights rise by one and none is left out silently (a gap that no node can close any more
is a signal of its own), that every view comes from ``VerifiedReader``, that ``Stale`` is said once when the
newest header is older than the reader's staleness limit, and that lies end the iteration. Never decides
what staleness means: the caller holds, or shows the age. Source: DESIGN §4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from consensus.reader import VerifiedReader, View
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.limits import HISTORY_HEIGHTS
from runtime.retry import Backoff

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Height:
    """The next height. ``is_newest`` tells that nothing newer was known when it was read."""

    view: View
    is_newest: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """The newest verified header grew older than the limit; said once, over with the next fresh height.

    Attributes:
        height: the newest height given so far; that before the first where there was none.
        age_ns: how old its header is, or how long there was none.
        cause: why nothing newer came; None where the node answers and has nothing newer.
    """

    height: int
    age_ns: int
    cause: ConclaveError | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Heights ``first`` to ``last`` can be proven by no node any more: read what holds now instead."""

    first: int
    last: int


Signal = Height | Stale | Gap


def _real_wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@dataclass(frozen=True, slots=True)
class Pace:
    """How to wait.

    Attributes:
        poll_seconds: between questions while all is well.
        pause_seconds_max: between attempts while a node is away; they begin at ``poll_seconds`` and double.
        wait: waits so long, or until somebody rings; gives True to end (``threading.Event.wait``).
        wall_ns: nanoseconds since the epoch.
    """

    poll_seconds: float = 1.0
    pause_seconds_max: float = 10.0
    wait: Callable[[float], bool] = _real_wait
    wall_ns: Callable[[], int] = field(default=time.time_ns)


def subscribe(reader: VerifiedReader, after: int, pace: Pace | None = None) -> Iterator[Signal]:
    """Give every height above ``after``, and then each new one as it comes, until ``pace.wait`` says to end.

    Args:
        reader: verifies; with several nodes behind it, one that is away is left for another.
        after: the last height the caller has dealt with, 0 for none; whoever keeps it misses nothing over
            restarts.
        pace: how to wait.

    Raises:
        VerificationFailed: what does not verify. A node that is away, behind or unwitnessed is asked again.
        Refused: FIELD_INVALID for a negative height; what a node's application answers.
    """
    if after < 0:
        raise Refused(Code.FIELD_INVALID, got=after, expected="a height from 0")
    chosen = pace or Pace()
    return _Following(reader, after, chosen).signals()


class _Following:
    """One subscriber's place."""

    def __init__(self, reader: VerifiedReader, after: int, pace: Pace) -> None:
        self._reader, self._cursor, self._pace = reader, after, pace
        self._fresh_ns = pace.wall_ns()
        self._is_stale = False
        self._cause: ConclaveError | None = None

    def signals(self) -> Iterator[Signal]:
        """Give what happens."""
        backoff = Backoff(self._pace.poll_seconds, self._pace.pause_seconds_max)
        failures = 0
        while True:
            yield from self._news()
            stale = self._stale()
            if stale is not None:
                yield stale
            failures = 0 if self._cause is None else failures + 1
            if self._pace.wait(backoff.delay_s(max(failures, 1))):
                return

    def _news(self) -> Iterator[Signal]:
        """Give all heights up to the newest, as far as they can be had now."""
        self._cause = None
        newest = self._attempt(lambda: self._reader.newest_height() - 1)
        while newest is not None and self._cursor < newest:
            wanted = self._cursor + 1
            try:
                view = self._attempt(lambda height=wanted: self._reader.at(height))  # type: ignore[misc]
            except Refused as refusal:
                if refusal.code is not Code.HEIGHT_NOT_AVAILABLE or not self._is_history(newest):
                    raise
                view = None
            if view is not None:
                yield self._height(view, newest)
            elif self._is_history(newest) and (self._cause is None or self._cause.code is Code.RPC_REFUSED):
                self._cursor = newest - HISTORY_HEIGHTS
                yield Gap(wanted, self._cursor)
            else:
                return

    def _is_history(self, newest: int) -> bool:
        """Tell whether the next height is so old that its state is kept nowhere."""
        return self._cursor < newest - HISTORY_HEIGHTS

    def _height(self, view: View, newest: int) -> Height:
        self._cursor, self._fresh_ns = view.height, view.time_ns
        self._is_stale = self._is_stale and view.is_stale
        return Height(view, view.height == newest)

    def _stale(self) -> Stale | None:
        age_ns = max(0, self._pace.wall_ns() - self._fresh_ns)
        if self._is_stale or age_ns <= self._reader.settings.staleness_ns:
            return None
        self._is_stale = True
        return Stale(self._cursor, age_ns, self._cause)

    def _attempt(self, ask: Callable[[], T]) -> T | None:
        """Ask; None where the answer may come later."""
        try:
            return ask()
        except (EnvironmentFault, VerificationFailed) as error:
            if isinstance(error, VerificationFailed) and error.code not in _LATER:
                raise
            self._cause = error
            return None


_LATER = frozenset({Code.STALE, Code.NO_WITNESS_AGREES})
"""What does not verify yet, because a node or a witness is behind."""
