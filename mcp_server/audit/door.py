"""Who was not let in: counted by code, told to the audit once a second at most.

Owns the counts between two records. Promises that a stranger's request costs the audit an addition and no
write, that a record of them holds our own codes and numbers alone, and that nothing waits for it.
"""

from __future__ import annotations

import threading
from collections import Counter

from ledger.errors import Code


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
