"""Following the ledger: when to look at it, and whether what was seen may still be acted on.

Owns the pauses between looks, the age of the newest verified header, and why nothing may be applied. Promises
that a header's age is never taken for less than the time that passed since it was verified, whatever the wall
clock shows meanwhile, and that looking takes half of the time at most. Never applies anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from k8s_bridge.bell import Bell
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from ledger.errors import Code, ConclaveError, VerificationFailed
from runtime.clock import NS_PER_S
from runtime.log import event
from runtime.retry import Backoff

IDLE_SHARE = 10
"""Who asks without a bell spends a tenth of its time on it: where many share a node, all ask less often."""
_LOG = logging.getLogger("bridge")


class Source(Protocol):
    """Where wanted releases come from (``source.LedgerSource``)."""

    def look(self) -> Wanted | None:
        """Read what is wanted; None when nothing is newer."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall clock in nanoseconds since the epoch, and a clock that never goes back, in seconds."""

    wall_ns: Callable[[], int]
    monotonic_s: Callable[[], float] = time.monotonic


class Following:
    """One bridge's view of the ledger over time.

    Args:
        source: reads and verifies.
        periods: how often.
        clocks: of this machine.
        bell: knows whether somebody would ring for a new block.

    Attributes:
        height: whose state was read last; 0 before the first look that succeeded.
        header_time_ns: the time of the header that proved it.
        error: why the last look failed; None where it did not.
        due_s: when to look next, monotonic.
    """

    def __init__(self, source: Source, periods: Periods, clocks: Clocks, bell: Bell) -> None:
        self._source, self._periods, self._clocks, self._bell = source, periods, clocks, bell
        self.height = self.header_time_ns = 0
        self.error: ConclaveError | None = None
        self.due_s = 0.0
        self._failures = 0
        self._floor_s = 0.0
        self._verified_s = 0.0
        self._age_then_ns = 0

    def told_of_block(self) -> None:
        """Take note that there is said to be a new block."""
        self.due_s = min(self.due_s, self._floor_s)

    def look_if_due(self) -> Wanted | None:
        """Look at the ledger if it is time; None when it is not, nothing is newer, or the look failed."""
        began_s = self._clocks.monotonic_s()
        if began_s < self.due_s:
            return None
        try:
            wanted = self._source.look()
        except ConclaveError as error:
            self._failed(error, began_s)
            return None
        ended_s = self._clocks.monotonic_s()
        # Looking takes half of the time at most, however fast blocks come.
        self._floor_s = ended_s + (ended_s - began_s)
        pause_s = self._periods.listen_s if self._bell.listening() else self._periods.poll_s
        self.due_s = began_s + max(pause_s, 0.0 if wanted else IDLE_SHARE * (ended_s - began_s))
        self.error, self._failures = None, 0
        if wanted is not None:
            self.height, self.header_time_ns, self._verified_s = wanted.height, wanted.time_ns, began_s
            self._age_then_ns = max(0, self._clocks.wall_ns() - wanted.time_ns)
        return wanted

    def hold(self) -> ConclaveError | None:
        """Why nothing may be applied now; None when it may."""
        if isinstance(self.error, VerificationFailed):
            return self.error
        if not self.height:
            return self.error
        age_ns = self._age_ns()
        if age_ns > self._periods.staleness_s * NS_PER_S:
            return VerificationFailed(
                Code.STALE,
                got=f"a header {age_ns // NS_PER_S} s old",
                expected=f"at most {self._periods.staleness_s:.0f} s",
                todo="check that the ledger makes blocks and that this bridge reaches a node of it",
            )
        return None

    def _age_ns(self) -> int:
        """How old the newest verified header is: a clock set back makes it no younger."""
        passed_ns = int((self._clocks.monotonic_s() - self._verified_s) * NS_PER_S)
        return max(self._clocks.wall_ns() - self.header_time_ns, self._age_then_ns + passed_ns)

    def _failed(self, error: ConclaveError, began_s: float) -> None:
        self._failures += 1
        if self.error is None or self.error.code is not error.code:
            event(_LOG, "ledger not believed", level=logging.WARNING, **error.to_json())
        self.error = error
        delay_s = max(self._periods.poll_s, Backoff(ceiling_s=5.0).delay_s(self._failures))
        self.due_s = self._floor_s = began_s + delay_s
