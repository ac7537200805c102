"""Structured logs: one JSON object a line, to standard error.

Owns the line format; promises that one event is one line whatever its fields hold, and that fields a reader
may filter by are JSON values of their own. It never logs to a network and never sees a private key.
"""

from __future__ import annotations

import json
import logging
import sys
import time

FIELD_CHARACTERS_MAX = 4096
"""Longest text of one field; a hostile value must not fill the disk."""


class JsonFormatter(logging.Formatter):
    """Writes a record as ``{"ts","level","component","event", …fields}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the one line of ``record``."""
        seconds, millis = int(record.created), int(record.msecs)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        line: dict[str, object] = {
            "ts": f"{stamp}.{millis:03d}Z",
            "level": record.levelname.lower(),
            "component": record.name,
            "event": record.getMessage(),
        }
        for name, value in getattr(record, "fields", {}).items():
            line.setdefault(name, _bounded(value))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-FIELD_CHARACTERS_MAX:]
        return json.dumps(line, ensure_ascii=True, default=_bounded)


def configure(level: int = logging.INFO) -> None:
    """Send every log of this process to standard error as JSON lines; replaces what was configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def event(logger: logging.Logger, name: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log the event ``name`` with ``fields`` (JSON values; others are written as text)."""
    logger.log(level, name, extra={"fields": fields})


def _bounded(value: object) -> object:
    """Give ``value`` as JSON of bounded size; what is no JSON, or too large, becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict | list):
        try:
            if len(json.dumps(value)) <= FIELD_CHARACTERS_MAX:
                return value
        except (TypeError, ValueError, RecursionError):
            pass
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= FIELD_CHARACTERS_MAX else text[:FIELD_CHARACTERS_MAX] + "…"
