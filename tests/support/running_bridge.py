"""A bridge's loop and watches in a thread, over a real API server; its ledger wants what a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from consensus.verified import Verified
from k8s_bridge.bell import Bell
from k8s_bridge.client import KubernetesClient
from k8s_bridge.contest import Contest, Rule
from k8s_bridge.contests import Contests
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import ObjectKey
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.store import InventoryStore
from k8s_bridge.watch import Watches
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Offered
from tests.support.verified import CHAIN_ID, release

WAIT_S = 60.0


@dataclass
class WantedByTest:
    """Wants whatever the test says."""

    wanted: Verified[ReleaseRevision] | None = None
    height: int = 1
    shown: int = field(default=0)

    def look(self) -> Wanted | None:
        if self.wanted is None or self.shown == self.height:
            return None
        self.shown = self.height
        return Wanted(self.height, time.time_ns(), {self.wanted.value.name: self.wanted}, {})

    def want(self, manifests: list[JsonObject], revision: int) -> None:
        self.wanted = release(manifests, revision=revision)
        self.height += 1


@dataclass
class Running:
    ledger: WantedByTest
    loop: Loop
    offered: Offered
    watches: Watches
    contests: Contests

    def account(self) -> JsonObject:
        """Give the bridge's account of the release."""
        found: JsonObject = self.loop.account()["releases"].get("guestbook", {})
        return found

    def contest(self, key: ObjectKey) -> Contest | None:
        """Give what is known of an object that others write."""
        return self.contests._contests("guestbook").get(key)

    def is_told(self) -> bool:
        """Whether the newest finding is that all is in place; the account says so a moment earlier."""
        return [finding.changes.outcome for finding in self.offered.findings[-1:]] == ["applied"]

    def codes(self) -> dict[str, int]:
        """Give the codes of objects that are not as they should be."""
        return {found["object"]: found["code"] for found in self.account().get("objects", ())}


@contextmanager
def running_bridge(client: KubernetesClient, rule: Rule | None = None) -> Iterator[Running]:
    """Run a bridge's loop in a thread."""
    bell, offered, ledger = Bell(), Offered(), WantedByTest()
    watches = Watches(client, bell.ring)
    reconciler = Reconciler(client, InventoryStore(client, CHAIN_ID), watches, time.time_ns)
    reconciler.contests = Contests(rule=rule)
    # The ledger makes no blocks here: what was shown once stays fresh.
    periods = Periods(poll_s=0.05, staleness_s=3600, reach_s=1.0)
    loop = Loop(ledger, reconciler, offered, bell, periods, Clocks(time.time_ns))

    def turn() -> None:
        while not bell.stopping:
            loop.step()

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield Running(ledger, loop, offered, watches, reconciler.contests)
    finally:
        watches.stop()
        bell.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def until(check: Callable[[], bool], what: str, wait_s: float = WAIT_S, poll_s: float = 0.005) -> float:
    """Wait until ``check`` holds; gives how long that took, in seconds."""
    started = time.monotonic()
    while time.monotonic() - started < wait_s:
        if check():
            return time.monotonic() - started
        time.sleep(poll_s)
    raise AssertionError(f"not within {wait_s} s: {what}")
