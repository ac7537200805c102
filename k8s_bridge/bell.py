"""What wakes the loop.

Owns the meeting point of the watching threads and the loop. Promises that nothing rung is lost and that many
rings before the loop looks are one. Never decides what to do about it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from k8s_bridge.drift import Change, Verdict
from k8s_bridge.objects import ObjectKey
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Rung:
    """What happened since the last look.

    Attributes:
        drifted: objects that somebody else changed, with their metadata, or deleted (None), by release.
        restated: objects whose status changed, by release.
        block: there is said to be a new block.
    """

    drifted: dict[str, dict[ObjectKey, JsonObject | None]] = field(default_factory=dict)
    restated: dict[str, set[ObjectKey]] = field(default_factory=dict)
    block: bool = False


class Bell:
    """Rung by watching threads, stopped by signal handlers, waited for by the loop.

    Attributes:
        listening: tells whether somebody would ring for a new block.
    """

    def __init__(self) -> None:
        self.listening: Callable[[], bool] = lambda: False
        self._block = False
        self._changed = threading.Lock()
        # No condition: one that a signal handler notifies just before the same thread waits goes on waiting.
        self._woken = SimpleQueue[None]()
        self._drifted: dict[str, dict[ObjectKey, JsonObject | None]] = {}
        self._restated: dict[str, set[ObjectKey]] = {}
        self._stop = False

    @property
    def stopping(self) -> bool:
        """Whether the loop should end."""
        return self._stop

    def ring(self, verdict: Verdict) -> None:
        """Tell that an owned object changed."""
        with self._changed:
            if verdict.change is Change.DRIFT:
                self._drifted.setdefault(verdict.release, {})[verdict.key] = verdict.metadata
            elif verdict.change is Change.STATUS:
                self._restated.setdefault(verdict.release, set()).add(verdict.key)
        self._wake()

    def block(self) -> None:
        """Tell that there is said to be a new block."""
        with self._changed:
            self._block = True
        self._wake()

    def stop(self) -> None:
        """Tell the loop to end."""
        self._stop = True
        self._woken.put(None)

    def wait(self, timeout_s: float) -> Rung:
        """Wait for a ring, at most ``timeout_s``; gives everything rung since the last wait."""
        if not self._stop:
            with contextlib.suppress(Empty):
                self._woken.get(timeout=max(0.0, timeout_s))
        with self._changed:
            rung = Rung(self._drifted, self._restated, self._block)
            self._drifted, self._restated, self._block = {}, {}, False
            return rung

    def _wake(self) -> None:
        # One is enough, as whoever takes it looks afterwards; one too many wakes once for nothing.
        if self._woken.empty():
            self._woken.put(None)
