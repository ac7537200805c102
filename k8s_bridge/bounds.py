"""How long one request to the API server may take, and whether it may be sent at all.

Owns the bounds of reads, of requests about the lease, and of writes: the fence. Promises that a write begins
only in the term its plan was made in, that the API server stops working at it in time, and that a process
which is held up between the check and the request does not send it: the kernel kills it first
(docs/spec/bridge-lease.md §3). Sends nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from k8s_bridge.deadman import Deadman
from k8s_bridge.lease import Timing
from ledger.errors import Code, EnvironmentFault

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
RETRIES_MAX = 5
LEASE_REQUEST_S = 2.0
WRITE_S_MIN = 0.25
"""A write that is given less would only be cut off."""
_CONNECT_PART = 1 / 4
_ANSWERED = range(400, 500)
"""Refusals after which the API server works at the request no more."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of one attempt, in seconds.

    Attributes:
        connect_s: to reach the server.
        read_s: until it answers.
        server_s: what the server is told to take at most; None leaves it to the server.
    """

    connect_s: float
    read_s: float
    server_s: float | None = None


class Bounds(Protocol):
    """What one request is held to."""

    retries_max: int
    """How often it is sent again where the server asks for patience."""

    def attempt(self) -> AbstractContextManager[Timeouts]:
        """Enclose one attempt; raises where it may not be made."""
        ...


class Within:
    """Bounds that never change and refuse nothing."""

    def __init__(self, timeouts: Timeouts, retries_max: int) -> None:
        self.retries_max = retries_max
        self._timeouts = timeouts

    @contextmanager
    def attempt(self) -> Iterator[Timeouts]:
        """Enclose one attempt."""
        yield self._timeouts


PATIENT = Within(Timeouts(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), RETRIES_MAX)
BRIEF = Within(Timeouts(LEASE_REQUEST_S / 2, LEASE_REQUEST_S, LEASE_REQUEST_S), 0)


class Tenure(Protocol):
    """Who tells whether we are the writer (``lease_keeper.LeaseKeeper``)."""

    def term(self) -> str | None:
        """Give the term in which writes may begin now; None when none may."""
        ...

    def remaining_s(self) -> float:
        """Give for how long."""
        ...

    def deadline_s(self) -> float:
        """Give until when, by ``deadman.boot_clock``; a moment that is over when they may not."""
        ...

    def unanswered(self) -> None:
        """Take note that a write was cut off: the API server may still be working at it."""
        ...


class Fence:
    """The bounds of writes under a lease, several of which may be under way at once.

    The timer stands at the earliest end of what is under way: a renewal meanwhile does not move it for them.

    Args:
        tenure: who tells whether we are the writer.
        timing: of the lease.
        deadman: kills a process that came too late.
    """

    retries_max = RETRIES_MAX

    def __init__(self, tenure: Tenure, timing: Timing, deadman: Deadman) -> None:
        self._tenure, self._timing, self._deadman = tenure, timing, deadman
        self._pinned: str | None = None
        self._lock = threading.Lock()
        self._ends_s: list[float] = []

    def term(self) -> str | None:
        """Give the term in which writes may begin now; None when none may."""
        return self._tenure.term()

    def pin(self) -> None:
        """Bind what is written from here on to the present term.

        Raises:
            EnvironmentFault: LEASE_NOT_HELD.
        """
        self._pinned = self._tenure.term()
        self.check()

    def check(self) -> None:
        """See that the term is still the one that was pinned.

        Raises:
            EnvironmentFault: LEASE_NOT_HELD.
        """
        term = self._tenure.term()
        if term is None or term != self._pinned:
            raise not_held(f"term {term}, planned in {self._pinned}")

    @contextmanager
    def attempt(self) -> Iterator[Timeouts]:
        """Enclose one attempt to write.

        Raises:
            EnvironmentFault: LEASE_NOT_HELD.
        """
        remaining_s = self._tenure.remaining_s()
        if remaining_s < WRITE_S_MIN:
            raise not_held(f"{remaining_s:.3f} s left of the lease")
        end_s = self._begin()
        try:
            # Looked at with the timer running: what comes after this line comes in time or not at all.
            self.check()
            connect_s = min(self._timing.write_s, remaining_s) * _CONNECT_PART
            read_s = min(self._timing.write_s, remaining_s - 2 * connect_s)
            yield Timeouts(connect_s, read_s, min(self._timing.write_s, remaining_s))
        except BaseException as error:
            if getattr(error, "status", None) not in _ANSWERED:
                self._tenure.unanswered()
            raise
        finally:
            self._end(end_s)

    def _begin(self) -> float:
        with self._lock:
            end_s = self._tenure.deadline_s()
            self._ends_s.append(end_s)
            self._deadman.arm(min(self._ends_s))
        return end_s

    def _end(self, end_s: float) -> None:
        with self._lock:
            self._ends_s.remove(end_s)
            if self._ends_s:
                self._deadman.arm(min(self._ends_s))
            else:
                self._deadman.disarm()


class Unfenced:
    """The bounds of writes of a bridge that has its cluster to itself, as tests and tools have."""

    retries_max = RETRIES_MAX

    def term(self) -> str | None:
        """Give a term that never ends."""
        return ""

    def pin(self) -> None:
        """Nothing to bind to."""

    def check(self) -> None:
        """Nothing to see."""

    def attempt(self) -> AbstractContextManager[Timeouts]:
        """Enclose one attempt."""
        return PATIENT.attempt()


def not_held(got: str) -> EnvironmentFault:
    """Make the fault of a write without the lease."""
    return EnvironmentFault(
        Code.LEASE_NOT_HELD,
        got=got,
        expected="the lease of the cluster, in the term the plan was made in",
        todo="nothing: the bridge that holds it writes; see `writer` in bridge-status.json",
    )
