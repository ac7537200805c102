"""Lengths of time as people type them: ``90``, ``90s``, ``5m``, ``2h``, ``1d``.

Owns the parameter type of options. Promises seconds, bounded; what is no such length is wrong usage.
"""

from __future__ import annotations

import re

import click

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_FORM = re.compile(r"(?P<count>[0-9]{1,7}(\.[0-9]{1,3})?)(?P<unit>ms|[smhd]?)")


class Duration(click.ParamType[float]):
    """Seconds, from 0 to ``seconds_max``."""

    name = "duration"

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max = seconds_max

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read what was typed."""
        if isinstance(value, int | float):
            return float(value)
        found = _FORM.fullmatch(value)
        if found is None:
            self.fail(f"{value[:40]!r} is no length of time such as 90s, 5m or 2h", param, ctx)
        seconds = float(found["count"]) * _UNITS[found["unit"]]
        if seconds > self.seconds_max:
            self.fail(f"{value[:40]!r} is longer than {self.seconds_max:.0f} s", param, ctx)
        return seconds
