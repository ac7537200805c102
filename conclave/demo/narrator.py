"""Telling the story: one line a step with its time, the checks, and the table at the end.

Owns the demonstration's output. It decides nothing.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO


class DemoFailed(Exception):
    """A check of the story did not hold. ``step`` and ``what`` say which."""

    def __init__(self, step: str, what: str) -> None:
        self.step = step
        self.what = what
        super().__init__(f"{step}: {what}")


@dataclass(slots=True)
class Narrator:
    """Prints the story and remembers its measurements.

    Attributes:
        out: where it is told.
        measurements: (release, what, seconds), in order.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    measurements: list[tuple[str, str, float]] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)
    _step: str = ""

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self._step = f"{number}. {title}"
        self._write(f"\n{self._style('1', self._step)}")

    def say(self, text: str) -> None:
        """Tell one line, with the time since the start."""
        self._write(f"  {self._elapsed()}  {text}")

    def command(self, arguments: list[str]) -> None:
        """Show the command that a person would type."""
        self._write(f"  {self._elapsed()}  {self._style('36', '$ conclave ' + ' '.join(arguments))}")

    def check(self, holds: bool, claim: str) -> None:
        """State a claim and stop the story if it does not hold.

        Raises:
            DemoFailed: it does not hold.
        """
        if not holds:
            self._write(f"  {self._elapsed()}  {self._style('31', '✗ ' + claim)}")
            raise DemoFailed(self._step, claim)
        self._write(f"  {self._elapsed()}  {self._style('32', '✓')} {claim}")

    def measure(self, release: str, what: str, seconds: float) -> None:
        """Remember a measurement for the table at the end."""
        self.measurements.append((release, what, seconds))

    def summary(self) -> None:
        """Print the table of measurements."""
        self._write(f"\n{self._style('1', 'Summary')}")
        self._write(f"  {'release':<24}{'what':<28}{'seconds':>9}")
        for release, what, seconds in self.measurements:
            self._write(f"  {release:<24}{what:<28}{seconds:>9.2f}")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._start:7.1f}s"

    def _style(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.out.isatty() else text

    def _write(self, line: str) -> None:
        print(line, file=self.out, flush=True)
