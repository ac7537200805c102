"""Looks at a cluster and its bridge many times a second, while a test does something else.

Promises to end with its context, and to keep every look of its Deployment and every failure the bridge told.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby

from k8s_bridge.health import HealthStatus, health_of
from ledger.errors import EnvironmentFault
from ledger.types import JsonObject

PERIOD_S = 0.05
END_S = 60.0


class Watched:
    """What was seen, from the moment at which a Deployment runs a command."""

    def __init__(
        self, find: Callable[[], JsonObject], status: Callable[[], JsonObject], command: str
    ) -> None:
        """Look at ``find()`` once its template has ``command``, and at the bridge's own account."""
        self._find, self._status, self._command = find, status, command
        self._looks: list[tuple[float, bool]] = []
        self.unhealthy: dict[str, JsonObject] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ends.set()
        self._thread.join(END_S)

    def pretended_s(self) -> list[float]:
        """Give for how long each time Kubernetes said that all is available and complete."""
        runs = groupby(list(self._looks), key=lambda look: look[1])
        times = [[at for at, _ in looks] for is_current, looks in runs if is_current]
        return [round(each[-1] - each[0], 2) for each in times]

    def _watch(self) -> None:
        while not self._ends.wait(PERIOD_S):
            with contextlib.suppress(EnvironmentFault):
                self._look()

    def _look(self) -> None:
        live = self._find()
        if self._command in str(live["spec"]["template"]):
            is_current = health_of(live, time.time()).status is HealthStatus.CURRENT
            self._looks.append((time.monotonic(), is_current))
        for name, told in self._status().get("releases", {}).items():
            failed = {k: s["reason"] for k, s in told.get("unhealthy", {}).items() if s["health"] == "failed"}
            self.unhealthy.setdefault(name, {}).update(failed)


@contextmanager
def watching(
    find: Callable[[], JsonObject], status: Callable[[], JsonObject], command: str
) -> Iterator[Watched]:
    """Look as long as the context lasts."""
    watched = Watched(find, status, command)
    try:
        yield watched
    finally:
        watched.end()
