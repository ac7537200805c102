"""Who was not let in, or is refused over and over: counted by code, told to the audit once a second at most.

Owns the counts between two records. Promises that a stranger's request costs the audit an addition and no
write, that a record of them holds our own codes and numbers alone, and that nothing waits for it; that what
cuts a caller off is never one of many.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict

from ledger.agent_policy import Rate
from ledger.errors import Code
from ledger.limits import IDENTITIES_MAX
from mcp_server.audit.limits import REFUSED_CALLS_MAX, REFUSED_CALLS_SECONDS
from mcp_server.guard.buckets import Bucket, take

_RATE = Rate(REFUSED_CALLS_MAX, REFUSED_CALLS_SECONDS)


class Door:
    """Counts refusals at the door. Any thread may call it."""

    def __init__(self) -> None:
        # A signal may end the server while this very thread counts.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()

    def refused(self, code: Code) -> None:
        """Count one."""
        with self._lock:
            self._counts[code.name] += 1

    @property
    def waiting(self) -> bool:
        """Whether anything is not taken yet."""
        return bool(self._counts)

    def peek(self) -> dict[str, int]:
        """Give what was counted and is not in the audit, by code."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def written(self, counts: dict[str, int]) -> None:
        """Take off what the audit has now."""
        with self._lock:
            self._counts = Counter(
                {name: count - counts.get(name, 0) for name, count in self._counts.items()}
            )
            self._counts += Counter()


class Repeats:
    """Tells which refused calls are one too many of their caller to be written whole. One thread calls it."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str | None, Bucket] = OrderedDict()
        self._cut_off: set[str | None] = set()

    def too_many(self, principal: str | None, code: Code, now_ns: int) -> bool:
        """Tell whether a refusal is only to be counted. The one that cuts a caller off never is."""
        if code is Code.AGENT_SUSPENDED and principal not in self._cut_off:
            self._cut_off.add(principal)
            return False
        taken = take(self._buckets.get(principal), _RATE, 1, now_ns)
        self._buckets[principal] = taken.bucket
        self._buckets.move_to_end(principal)
        while len(self._buckets) > IDENTITIES_MAX:
            self._cut_off.discard(self._buckets.popitem(last=False)[0])
        return taken.wait_ns != 0

    def passed(self, principal: str | None) -> None:
        """Take note that a call passed: its caller is not cut off any more."""
        self._cut_off.discard(principal)
