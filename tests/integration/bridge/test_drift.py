"""The bridge's loop and watches on a real API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from consensus.verified import Verified
from k8s_bridge.bell import Bell
from k8s_bridge.client import KubernetesClient
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import key_of, uid_of
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.store import InventoryStore
from k8s_bridge.watch import Watches
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Offered
from tests.support.manifests import config_map, deployment, namespace_object
from tests.support.verified import CHAIN_ID, release

pytestmark = pytest.mark.integration
WAIT_S = 15.0


@dataclass
class Ledger:
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
    ledger: Ledger
    loop: Loop
    offered: Offered
    watches: Watches


@pytest.fixture
def running(client: KubernetesClient) -> Iterator[Running]:
    bell, offered, ledger = Bell(), Offered(), Ledger()
    watches = Watches(client, bell.ring)
    reconciler = Reconciler(client, InventoryStore(client, CHAIN_ID), watches, time.time_ns)
    loop = Loop(ledger, reconciler, offered, bell, Periods(poll_s=0.05), Clocks(time.time_ns))

    def turn() -> None:
        while not bell.stopping:
            loop.step()

    thread = threading.Thread(target=turn)
    thread.start()
    yield Running(ledger, loop, offered, watches)
    watches.stop()
    bell.stop()
    thread.join(10)
    assert not thread.is_alive()


def _until(check: Callable[[], bool], what: str) -> float:
    started = time.monotonic()
    while time.monotonic() - started < WAIT_S:
        if check():
            return time.monotonic() - started
        time.sleep(0.005)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


@pytest.mark.requires("bridge.drift-undone", "bridge.foreign-untouched")
def test_drift_is_undone_in_moments(running: Running, client: KubernetesClient, namespace: str) -> None:
    settings, foreign = config_map("settings", namespace), config_map("theirs", namespace)
    key = key_of(settings)
    running.ledger.want([namespace_object(namespace), settings], 1)
    _until(lambda: client.get(key) is not None, "applied")
    _until(lambda: running.watches.count == 2, "watched")
    path = client.kind_of("v1", "ConfigMap").path(namespace)
    _, theirs = client._connection.ask("post", path, body=foreign)

    live = client.get(key)
    assert live is not None
    live["data"] = {"key": "by hand", "more": "of it"}
    del live["metadata"]["resourceVersion"]
    client._connection.ask("put", f"{path}/settings", body=live)
    _until(lambda: (client.get(key) or {}).get("data", {}).get("key") == "value", "edit undone")

    before = uid_of(client.get(key))
    client.delete(key, before)
    _until(lambda: uid_of(client.get(key)) not in {"", before}, "created again")
    assert client.get(key_of(foreign)) == theirs


@pytest.mark.requires("bridge.health", "bridge.drift-not-status")
def test_a_rollout_is_followed_to_its_end(running: Running, client: KubernetesClient, namespace: str) -> None:
    running.ledger.want([namespace_object(namespace), deployment("web", namespace)], 1)
    _until(lambda: any(f.status == "current" for f in running.offered.findings), "healthy")
    running.ledger.want([namespace_object(namespace), deployment("web", namespace, replicas=3)], 2)
    _until(
        lambda: any(f.status == "current" and f.changes.revision == 2 for f in running.offered.findings),
        "healthy at revision 2",
    )
    said = [(f.changes.revision, f.changes.outcome, f.status) for f in running.offered.findings]
    assert len(said) == len(set(said))
    assert {outcome for _, outcome, _ in said} == {"applied"}
