"""Watching what the bridge owns.

Owns one thread per watched (kind, namespace) and the wake-up of the loop. Promises that a watch starts from a
list, survives silence, an expired version, a lost connection and a server that answers nothing but errors by
listing again with growing pauses, lists again every ``RELIST_S`` whatever the watch says, and that an object
that vanished between two watches is noticed. Nothing ends a watch but its last object's leaving. Never
writes, never decides what to do about a change.

Source: kubernetes notes §3 (half-open connections, bookmarks, errors inside the stream), trap 8.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from k8s_bridge.cluster import Cluster, Kind
from k8s_bridge.drift import Event, Tracker, Verdict
from k8s_bridge.objects import Identity, ObjectKey, field
from ledger.errors import ConclaveError
from ledger.types import JsonObject
from runtime.log import event
from runtime.retry import Backoff

WATCHES_MAX = 256
"""Threads; what is beyond is found by the slow look at everything."""
RELIST_S = 600.0
"""Between two lists of a collection whose watch is well: a watch may be silent and not say why."""
BRIEF_S = 1.0
"""A stream that ends sooner was none: it is not opened again at once."""
BACKOFF = Backoff()
_LOG = logging.getLogger("bridge.watch")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One watched collection; the namespace is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str

    @property
    def group_kind(self) -> tuple[str, str]:
        """The kind without its version."""
        return (self.api_version.rpartition("/")[0], self.kind)


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

    def after_repair(self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]]) -> None:
        """Take what the repair of some of a release's objects left behind as known."""
        with self._lock:
            verdicts = self._tracker.learn(release, objects, whole=False)
        for verdict in verdicts:
            self._notify(verdict)

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
        with self._lock:
            if target in self._threads or len(self._threads) >= WATCHES_MAX or self._stopping.is_set():
                return
            # A daemon: a silent socket must not hold up the end of the process.
            thread = threading.Thread(
                target=self._run, args=(target,), name=f"watch-{target.kind}", daemon=True
            )
            self._threads[target] = thread
            thread.start()

    def _run(self, target: Target) -> None:
        follower = Follower(self._cluster, target, self._see, self._known)
        while not self._stopping.is_set() and not self._left(target):
            self._stopping.wait(follower.turn(self._stopping.is_set))

    def _left(self, target: Target) -> bool:
        """Give a watch up when nothing in its collection is ours any more."""
        with self._lock:
            if self._tracker.holds(target.group_kind, target.namespace):
                return False
            del self._threads[target]
            return True

    def _known(self, target: Target) -> set[Identity]:
        with self._lock:
            return self._tracker.owned_in(target.group_kind, target.namespace)

    def _see(self, event: Event) -> None:
        with self._lock:
            verdict = self._tracker.notice(event)
        if verdict is not None:
            self._notify(verdict)


class Follower:
    """Follows one collection, a list and a stream at a time.

    Args:
        cluster: the API server.
        target: the collection.
        see: called with every change and every absence.
        known: which of its objects are known to exist.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        see: Callable[[Event], None],
        known: Callable[[Target], set[Identity]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._target, self._see, self._known = cluster, target, see, known
        self._monotonic = monotonic
        self._version = ""
        self._listed_s = 0.0
        self._failures = 0

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> float:
        """List if need be and follow one stream to its end; gives how long to wait before the next turn."""
        started, followed = self._monotonic(), False
        try:
            kind = self._cluster.kind_of(self._target.api_version, self._target.kind)
            if not self._version or started - self._listed_s >= RELIST_S:
                self._version, self._listed_s = self._list(kind), started
            began = self._monotonic()
            self._version = self._stream(kind, stopping)
            followed = self._monotonic() - began >= BRIEF_S
        except ConclaveError:
            # Whatever was missed meanwhile is found by listing again.
            self._version = ""
        except Exception as error:  # noqa: BLE001  whatever it is, the watch goes on
            # A connection that is closed under a reader fails in many ways; none may end the watch.
            if not stopping():
                event(_LOG, "watch failed", level=logging.ERROR, kind=self._target.kind, error=repr(error))
            self._version = ""
        long_ago = self._monotonic() - started > BACKOFF.ceiling_s
        self._failures = 0 if followed else 1 if long_ago else self._failures + 1
        return BACKOFF.delay_s(self._failures)

    def _list(self, kind: Kind) -> str:
        items, version = self._cluster.list(kind, self._target.namespace, metadata_only=True)
        present = set()
        for item in items:
            found = Event(_key(self._target, item), field(item, "metadata"))
            present.add(found.key.identity)
            self._see(found)
        target = self._target
        for identity in self._known(target) - present:
            self._see(Event(ObjectKey(target.api_version, target.kind, target.namespace, identity[3]), None))
        return version

    def _stream(self, kind: Kind, stopping: Callable[[], bool]) -> str:
        """Follow one watch to its end; gives the version to go on from, empty to list again."""
        version = self._version
        for change in self._cluster.watch(kind, self._target.namespace, version):
            if stopping():
                break
            metadata, what = field(change, "object", "metadata"), change.get("type")
            if what == "ERROR" or not isinstance(metadata, dict):
                return ""
            version = str(metadata.get("resourceVersion") or version)
            if what in {"ADDED", "MODIFIED", "DELETED"}:
                key = _key(self._target, {"metadata": metadata})
                self._see(Event(key, None if what == "DELETED" else metadata))
        return version


def _key(target: Target, item: JsonObject) -> ObjectKey:
    return ObjectKey(target.api_version, target.kind, target.namespace, str(field(item, "metadata", "name")))
