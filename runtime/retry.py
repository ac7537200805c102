"""Exponential backoff, computed and never slept.

Owns the one formula of every retry loop; promises bounded delays. It reads no clock and sleeps nowhere: the
caller does both.
"""

from __future__ import annotations

from dataclasses import dataclass

_EXPONENT_MAX = 62
"""Beyond this the ceiling holds for any sane base; keeps the float finite."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays ``base_s``, 2·``base_s``, 4·``base_s`` … never above ``ceiling_s`` (seconds)."""

    base_s: float = 0.5
    ceiling_s: float = 15.0

    def delay_s(self, failures: int) -> float:
        """Give the delay in seconds after ``failures`` consecutive failures; 0 before the first."""
        if failures <= 0:
            return 0.0
        return float(min(self.ceiling_s, self.base_s * 2 ** min(failures - 1, _EXPONENT_MAX)))
