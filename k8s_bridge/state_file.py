"""The bridge's own account of itself, for people and probes.

Owns ``bridge-status.json``: what was read last, why nothing is applied if nothing is, and how every release
stands. Promises that a reader never sees half a file and that a full disk does not stop the bridge. Nothing
reads it back: it is a view, never a source.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from ledger.types import JsonObject

FILE_NAME = "bridge-status.json"
REFRESH_NS = 5 * 10**9
"""An unchanged account is written again this often, so that its age shows that the bridge lives."""


class StateFile:
    """The account file in ``home``."""

    def __init__(self, home: Path, clock: Callable[[], int]) -> None:
        self.path = home / FILE_NAME
        self._clock = clock
        self._written: JsonObject | None = None
        self._written_ns = 0

    def write(self, account: JsonObject) -> None:
        """Replace the file if the account changed or the file grew old; a disk that fails is left alone."""
        now_ns = self._clock()
        if account == self._written and now_ns - self._written_ns < REFRESH_NS:
            return
        content = json.dumps({**account, "writtenNs": now_ns}, indent=1, sort_keys=True).encode()
        temporary = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(self.path)
            self._written, self._written_ns = account, now_ns
