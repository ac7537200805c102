"""What each subject has used, in plain sets and lists: docs/spec/spam.md §1 read a second time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WINDOW = 64
AHEAD = 10_000
RATE_WINDOW = 100


@dataclass(slots=True)
class Account:
    """What a subject has used: nonces, envelopes in a window of heights, places for open proposals."""

    used: set[int] = field(default_factory=set)
    window: int = 0
    count: int = 0
    open: list[int] = field(default_factory=list)

    def is_late(self, nonce: int) -> bool:
        """Tell whether a nonce is below the window."""
        return nonce <= max(self.used, default=0) - WINDOW

    def use(self, nonce: int) -> None:
        """Use a nonce."""
        assert nonce not in self.used, f"nonce {nonce} used twice"
        assert not self.is_late(nonce), "a nonce below the window"
        assert nonce <= max(self.used, default=0) + AHEAD, "a nonce far above the highest"
        self.used.add(nonce)

    def take(self, height: int) -> None:
        """Count an envelope."""
        fresh = height // RATE_WINDOW != self.window
        self.window, self.count = height // RATE_WINDOW, 1 if fresh else self.count + 1

    def open_case(self, expires: int, height: int, most: int) -> None:
        """Take a place for a proposal."""
        self.open = [*(last for last in self.open if last >= height), expires]
        assert len(self.open) <= most, "more open proposals than allowed"

    def close_case(self, expires: int) -> None:
        """Give a place back."""
        if expires in self.open:
            self.open.remove(expires)

    def record(self) -> dict[str, Any]:
        """Give the record the specification wants."""
        highest = max(self.used, default=0)
        seen = sum(1 << age for age in range(WINDOW) if highest - age in self.used)
        return {
            "count": self.count,
            "highest": highest,
            "open": [[last, self.open.count(last)] for last in sorted(set(self.open))],
            "seen": f"{seen:016x}",
            "window": self.window,
        }
