"""A whole bridge over a ledger in memory, without threads: a test turns it step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from consensus.reader import VerifiedReader
from consensus.trust_store import TrustRoot, TrustStore
from k8s_bridge.bell import Bell, Rung
from k8s_bridge.cluster import Cluster
from k8s_bridge.contests import Contests
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import ObjectKey
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.report import Finding
from k8s_bridge.reporter import Channel, Reporter
from k8s_bridge.settings import Periods
from k8s_bridge.source import LedgerSource
from k8s_bridge.store import InventoryStore
from ledger.envelope import AnySigningKey
from ledger.errors import ConclaveError
from ledger.types import JsonObject
from tests.support.chain import set_of
from tests.support.ledger import EAST, Ledger, Node


class Offered:
    """Collects findings instead of sending them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.last_error: ConclaveError | None = None

    def offer(self, finding: Finding) -> None:
        self.findings.append(finding)

    def forget(self) -> None:
        """Nothing waits."""


class Unwatched:
    """Watches nothing."""

    def before_apply(self, release: str, keys: Iterable[ObjectKey]) -> None:
        """Nothing."""

    def after_apply(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Nothing."""

    def after_repair(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Nothing."""

    def after_failure(self, release: str) -> None:
        """Nothing."""


@dataclass
class Clock:
    """Both clocks of a bridge, moved by hand."""

    wall_ns: int
    monotonic_s: float = 1000.0

    def advance(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_ns += int(seconds * 1e9)


class Impatient(Bell):
    """A bell that is never waited for: a turn of the loop has no pause."""

    def wait(self, timeout_s: float) -> Rung:
        del timeout_s
        return super().wait(0)


class Bridge:
    """A bridge that looks at ``ledger`` through ``node`` and applies to ``cluster``."""

    def __init__(self, ledger: Ledger, cluster: Cluster, home: Path, periods: Periods | None = None) -> None:
        self.ledger, self.node, self.home = ledger, Node(ledger), home
        self.clock = Clock(ledger.chain.now_ns)
        self.bell, self.offered = Impatient(), Offered()
        self.source = LedgerSource(self.reader("trust.json"), "east")
        store = InventoryStore(cluster, ledger.chain.chain_id)
        reconciler = Reconciler(cluster, store, Unwatched(), lambda: self.clock.wall_ns)
        reconciler.contests = Contests(lambda: self.clock.monotonic_s)
        clocks = Clocks(lambda: self.clock.wall_ns, lambda: self.clock.monotonic_s)
        self.loop = Loop(self.source, reconciler, self.offered, self.bell, periods or Periods(), clocks)

    def reader(self, file_name: str) -> VerifiedReader:
        """Make a reader with a trust store of its own."""
        chain = self.ledger.chain
        store = TrustStore(self.home / file_name)
        store.ensure(TrustRoot(chain.chain_id, 1, None, set_of(chain.members[1])))
        return VerifiedReader(self.node, store, clock=lambda: self.clock.wall_ns)

    def reporter(
        self, did: str = EAST.did, key: AnySigningKey = EAST, may_tell: Callable[[], bool] = lambda: True
    ) -> Reporter:
        """Make a reporter over the same node."""
        channel = Channel("east", self.node, self.reader("report-trust.json"), did, key)
        return Reporter(channel, may_tell=may_tell)

    def turn(self, seconds: float = 1.0) -> JsonObject:
        """Let time pass, let the loop turn once, give its account."""
        self.clock.advance(seconds)
        self.clock.wall_ns = max(self.clock.wall_ns, self.ledger.chain.now_ns)
        self.loop.step()
        return self.loop.account()
