"""Watching what the bridge owns.

Owns one thread per watched (kind, namespace) and the wake-up of the loop. Promises that a watch starts from a
list, survives silence, an expired version and a lost connection by listing again, and that an object that
vanished between two watches is noticed. Never writes, never decides what to do about a change.

Source: kubernetes notes §3 (half-open connections, bookmarks, errors inside the stream), trap 8.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from k8s_bridge.cluster import Cluster, Kind
from k8s_bridge.drift import Event, Tracker, Verdict
from k8s_bridge.objects import ObjectKey, field
from ledger.errors import ConclaveError
from ledger.types import JsonObject
from runtime.retry import Backoff

WATCHES_MAX = 256
"""Threads; what is beyond is found by the slow look at everything."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One watched collection; the namespace is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str


class Watches:
    """The watches of one bridge.

    Args:
        cluster: the API server.
        notify: called with every verdict, from the watching threads.
    """

    def __init__(self, cluster: Cluster, notify: Callable[[Verdict], None]) -> None:
        self._cluster = cluster
        self._notify = notify
        self._tracker = Tracker()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: dict[Target, threading.Thread] = {}

    def before_apply(self, release: str, keys: Iterable[ObjectKey]) -> None:
        """Keep back a release's events until ``after_apply``."""
        with self._lock:
            self._tracker.pause(release, keys)

    def after_apply(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Take what the apply left behind as known, and watch it."""
        known = list(objects)
        with self._lock:
            verdicts = self._tracker.learn(release, known)
        for verdict in verdicts:
            self._notify(verdict)
        for key, _ in known:
            self._watch(Target(key.api_version, key.kind, key.namespace))

    def after_failure(self, release: str) -> None:
        """Judge what was kept back: the apply came to nothing."""
        with self._lock:
            verdicts = self._tracker.resume(release)
        for verdict in verdicts:
            self._notify(verdict)

    def stop(self) -> None:
        """Ask every thread to end; they do at their next event or timeout."""
        self._stopping.set()

    @property
    def count(self) -> int:
        """How many collections are watched."""
        return len(self._threads)

    def _watch(self, target: Target) -> None:
        if target in self._threads or len(self._threads) >= WATCHES_MAX or self._stopping.is_set():
            return
        # A daemon: a silent socket must not hold up the end of the process.
        thread = threading.Thread(target=self._run, args=(target,), name=f"watch-{target.kind}", daemon=True)
        self._threads[target] = thread
        thread.start()

    def _run(self, target: Target) -> None:
        backoff, failures, version = Backoff(), 0, ""
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                kind = self._cluster.kind_of(target.api_version, target.kind)
                version = version or self._list(kind, target)
                version = self._stream(kind, target, version)
                failures = 0
            except ConclaveError:
                # Whatever was missed meanwhile is found by listing again.
                version = ""
                failures = 1 if time.monotonic() - started > backoff.ceiling_s else failures + 1
                self._stopping.wait(backoff.delay_s(failures))
            except Exception:
                # A connection that is closed under a reader fails in many ways.
                if self._stopping.is_set():
                    return
                raise

    def _list(self, kind: Kind, target: Target) -> str:
        items, version = self._cluster.list(kind, target.namespace, metadata_only=True)
        present = set()
        for item in items:
            event = Event(_key(target, item), field(item, "metadata"))
            present.add(event.key.identity)
            self._see(event)
        group = target.api_version.rpartition("/")[0]
        with self._lock:
            missing = self._tracker.owned_in((group, target.kind), target.namespace) - present
        for identity in missing:
            self._see(Event(ObjectKey(target.api_version, target.kind, target.namespace, identity[3]), None))
        return version

    def _stream(self, kind: Kind, target: Target, version: str) -> str:
        """Follow one watch to its end; gives the version to go on from, empty to list again."""
        for event in self._cluster.watch(kind, target.namespace, version):
            if self._stopping.is_set():
                break
            metadata, what = field(event, "object", "metadata"), event.get("type")
            if what == "ERROR" or not isinstance(metadata, dict):
                return ""
            version = str(metadata.get("resourceVersion") or version)
            if what in {"ADDED", "MODIFIED", "DELETED"}:
                key = _key(target, {"metadata": metadata})
                self._see(Event(key, None if what == "DELETED" else metadata))
        return version

    def _see(self, event: Event) -> None:
        with self._lock:
            verdict = self._tracker.notice(event)
        if verdict is not None:
            self._notify(verdict)


def _key(target: Target, item: JsonObject) -> ObjectKey:
    return ObjectKey(target.api_version, target.kind, target.namespace, str(field(item, "metadata", "name")))
