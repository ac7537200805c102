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
        releases: a row a revision: name, seconds from proposed to final, seconds from final to applied.
        repairs: what was undone, and after how many seconds.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    releases: list[tuple[str, float, float]] = field(default_factory=list)
    repairs: list[tuple[str, float]] = field(default_factory=list)
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

    def summary(self) -> None:
        """Print the table of measurements."""
        self._write(f"\n{self._style('1', 'Summary, in seconds')}")
        self._write(f"  {'revision':<40}{'proposed → final':>18}{'final → applied':>18}")
        for name, to_final, to_applied in self.releases:
            self._write(f"  {name:<40}{to_final:>18.2f}{to_applied:>18.2f}")
        for what, seconds in self.repairs:
            self._write(f"  {what:<40}{'':>18}{seconds:>18.2f}")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._start:7.1f}s"

    def _style(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.out.isatty() else text

    def _write(self, line: str) -> None:
        print(line, file=self.out, flush=True)
