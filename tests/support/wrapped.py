"""Sockets that CPython leaves open, closed.

A connection whose peer had reset it before TLS was put over it: ``SSLSocket._create`` (Lib/ssl.py of 3.11)
takes the descriptor over, asks whether it is connected, raises, and leaves what it made to the collector,
which warns minutes later, in whatever test runs then. Neither side of a test can prevent it: servers are
killed in them.
"""

from __future__ import annotations

import ssl
import traceback
from typing import Any


def mend() -> None:
    """From now on close what a failed wrapping leaves; done once for all tests."""
    original = ssl.SSLSocket._create  # type: ignore[attr-defined]

    def create(*arguments: Any, **options: Any) -> Any:
        try:
            return original(*arguments, **options)
        except OSError as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                left = frame.f_locals.get("self")
                if isinstance(left, ssl.SSLSocket):
                    left.close()
            raise

    ssl.SSLSocket._create = create  # type: ignore[attr-defined]
