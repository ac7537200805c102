"""What wakes the loop.

Owns the meeting point of the watching threads and the loop. Promises that nothing rung is lost and that many
rings before the loop looks are one. Never decides what to do about it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

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
    """Rung by watching threads and signal handlers, waited for by the loop.

    Attributes:
        listening: tells whether somebody would ring for a new block.
    """

    def __init__(self) -> None:
        self.listening: Callable[[], bool] = lambda: False
        self._block = False
        # Reentrant: a signal handler may ring while the loop, in the same thread, holds it.
        self._changed = threading.Condition(threading.RLock())
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
            self._changed.notify()

    def block(self) -> None:
        """Tell that there is said to be a new block."""
        with self._changed:
            self._block = True
            self._changed.notify()

    def stop(self) -> None:
        """Tell the loop to end."""
        self._stop = True
        with self._changed:
            self._changed.notify()

    def wait(self, timeout_s: float) -> Rung:
        """Wait for a ring, at most ``timeout_s``; gives everything rung since the last wait."""
        with self._changed:
            if not (self._drifted or self._restated or self._block or self._stop):
                self._changed.wait(timeout_s)
            rung = Rung(self._drifted, self._restated, self._block)
            self._drifted, self._restated, self._block = {}, {}, False
            return rung
