"""One line of a log, whoever wrote it, as an entry with fields.

Owns the forms: our own JSON lines, JSON as Go programs write it, CometBFT's plain form, klog's. Promises that
any bytes give an entry (what has no form is its text), in time that grows with their length only, that times
are UTC, and that a level is one of ``LEVELS``. Pure but for the zone of local times.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ledger.types import JsonObject

LEVELS = ("debug", "info", "warning", "error")
_LEVEL_OF = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "critical": "error",
    "dpanic": "error",
    "panic": "error",
    "fatal": "error",
    "d": "debug",
    "i": "info",
    "w": "warning",
    "e": "error",
    "f": "error",
}
_COMET = re.compile(r"([DIWE])\[(\d{4}-\d\d-\d\d)\|(\d\d:\d\d:\d\d\.\d{3})\] (.*)", re.DOTALL)
_KLOG = re.compile(r"([DIWEF])(\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{3})\d* +\d+ ([^ \]]{1,200})\] (.*)", re.DOTALL)
_PAIR = re.compile(r'(?:^|(?<= ))([A-Za-z_][A-Za-z0-9_.-]{0,63})=("(?:[^"\\]|\\.)*"|[^ ]*)')
_FIRST_PAIR = re.compile(r" {2,}(?=[A-Za-z_][A-Za-z0-9_.-]{0,63}=)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        source: whose log it is in.
        time: UTC, ISO 8601 with milliseconds; None where the line says none.
        level: one of ``LEVELS``; None where the line says none.
        component: the part of the program.
        event: what happened.
        fields: all else it says.
    """

    source: str
    time: str | None
    level: str | None
    component: str | None
    event: str
    fields: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Give it for programs."""
        return {
            "source": self.source,
            "time": self.time,
            "level": self.level,
            "component": self.component,
            "event": self.event,
            "fields": self.fields,
        }


def parse(source: str, line: bytes, year: int) -> Entry:
    """Read one line; ``year`` is that of times that do not say it."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    return _json(source, text) or _comet(source, text) or _klog(source, text, year) or _plain(source, text)


def is_at_least(level: str | None, least: str) -> bool:
    """Tell whether a level is as grave as ``least``; a line without one counts as ``info``."""
    return LEVELS.index(level or "info") >= LEVELS.index(least)


def _json(source: str, text: str) -> Entry | None:
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    rest = dict(said)
    time = _time(rest.pop("ts", None) or rest.pop("time", None))
    level = _LEVEL_OF.get(str(rest.pop("level", "")).lower())
    component = rest.pop("component", None) or rest.pop("logger", None)
    event = next((rest.pop(name) for name in ("event", "msg", "message") if name in rest), "")
    return Entry(source, time, level, None if component is None else str(component), str(event), rest)


def _comet(source: str, text: str) -> Entry | None:
    found = _COMET.fullmatch(text)
    if found is None:
        return None
    parts = _FIRST_PAIR.split(found[4], maxsplit=1)
    fields = _pairs(parts[1]) if len(parts) > 1 else {}
    component = fields.pop("module", None)
    event = str(fields.pop("msg", None) or parts[0].strip())
    time = _time(f"{found[2]}T{found[3]}")
    return Entry(source, time, _LEVEL_OF[found[1].lower()], component, event, fields)


def _klog(source: str, text: str, year: int) -> Entry | None:
    found = _KLOG.fullmatch(text)
    if found is None:
        return None
    message, fields = found[6], {}
    if message.startswith('"'):
        quoted = _PAIR.match("event=" + message)
        if quoted is not None:
            fields = _pairs(message[len(quoted[2]) :])
            message = _unquoted(quoted[2])
    time = _time(f"{year:04d}-{found[2]}-{found[3]}T{found[4]}")
    return Entry(source, time, _LEVEL_OF[found[1].lower()], found[5], message, fields)


def _plain(source: str, text: str) -> Entry:
    level = (
        "error" if text.startswith(("Traceback (most recent call last)", "panic:", "fatal error:")) else None
    )
    return Entry(source, None, level, None, text)


def _pairs(text: str) -> JsonObject:
    return {found[1]: _unquoted(found[2]) for found in _PAIR.finditer(text)}


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _time(value: Any) -> str | None:
    """Give a time as UTC with milliseconds; one without a zone is local."""
    if not isinstance(value, str) or not 19 <= len(value) <= 40:
        return None
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
