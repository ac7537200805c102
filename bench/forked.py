"""Many real bridges, forked from one parent that has imported everything.

Owns the forks, the shared table in which each notes its moments and counts its requests, and the slice of an
API server that stands for the cluster of one bridge. Promises that every bridge runs ``k8s_bridge.run.run``
itself, with a home, key, account and namespace of its own, and that what is changed for measuring is this:

- a namespace of the release is another one on the wire (``Sliced``), so that clusters can share a server;
- a look that found a revision, and an apply that brought it into place, note the time;
- each request to a node counts.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.http import Connection as NodeConnection
from consensus.verified import Verified
from k8s_bridge import connection, run
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.connection import Connection
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.settings import BridgeSettings
from k8s_bridge.source import LedgerSource, Wanted
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from runtime import log

REVISIONS_MAX = 8
ENDPOINTS_MAX = 8
RELEASE = NAMESPACE = "p4"
"""The release to all, and the namespace in it."""
STARTING_MAX = 8
NICER = 10
"""Nodes and API servers stand for machines of their own, which hundreds of bridges do not slow down."""
_LOOKED = 2 * REVISIONS_MAX
_COUNTS = _LOOKED + 1
_COLUMNS = _COUNTS + ENDPOINTS_MAX


class Table:
    """One row of numbers a bridge, in memory that all forks share; each writes its own row only."""

    def __init__(self, rows: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * rows * _COLUMNS)).cast("d")
        self.rows = rows

    def note(self, row: int, column: int) -> None:
        """Note the time, the first time."""
        if not self._cells[row * _COLUMNS + column]:
            self._cells[row * _COLUMNS + column] = time.monotonic()

    def count(self, row: int, endpoint: int) -> None:
        """Count a request."""
        self._cells[row * _COLUMNS + _COUNTS + endpoint] += 1

    def looked(self) -> list[float]:
        """Give when each bridge first read the ledger, 0 where it did not."""
        return self._column(_LOOKED)

    def verified(self, revision: int) -> list[float]:
        """Give when each bridge had verified a revision of the release."""
        return self._column(revision - 1)

    def applied(self, revision: int) -> list[float]:
        """Give when each bridge had applied it."""
        return self._column(REVISIONS_MAX + revision - 1)

    def requests(self) -> list[float]:
        """Give how many requests each endpoint got, of all bridges."""
        return [sum(self._column(_COUNTS + endpoint)) for endpoint in range(ENDPOINTS_MAX)]

    def _column(self, column: int) -> list[float]:
        return list(self._cells[column::_COLUMNS])


@dataclass(frozen=True, slots=True)
class Wish:
    """One bridge: its row, its settings, its own namespace, and where it logs."""

    row: int
    settings: BridgeSettings
    log: Path


class Sliced(Connection):
    """An API server in which the release's namespace is another one."""

    own = NAMESPACE

    def ask(self, method: str, path: str, *, body: Any = None, **options: Any) -> tuple[int, JsonObject]:
        """Send one request, as ``Connection.ask``, about the own namespace."""
        there = _within(path, self.own)
        if there == path:
            return super().ask(method, path, body=body, **options)
        if isinstance(body, dict) and "metadata" in body:
            body = {**body, "metadata": {**body["metadata"], "namespace": self.own}}
        status, answer = super().ask(method, there, body=body, **options)
        for item in (answer, *(answer.get("items") or ())):
            metadata = item.get("metadata")
            if isinstance(metadata, dict) and metadata.get("namespace") == self.own:
                metadata["namespace"] = NAMESPACE
        return status, answer

    def events(self, path: str, *, silence_s: float, **options: Any) -> Iterator[JsonObject]:
        """Stream events, as ``Connection.events``, of the own namespace."""
        return super().events(_within(path, self.own), silence_s=silence_s, **options)


def _within(path: str, own: str) -> str:
    return path.replace(f"/namespaces/{NAMESPACE}/", f"/namespaces/{own}/")


def fork_all(wishes: list[Wish], endpoints: list[str], table: Table, found: list[int]) -> None:
    """Fork one bridge a wish and add its process id to ``found``.

    ``STARTING_MAX`` are starting at once: whoever waits for a processor is not yet a fleet.
    """
    connection.Connection = Sliced  # type: ignore[misc]
    gc.collect()
    gc.freeze()
    for wish in wishes:
        while len(found) - sum(map(bool, table.looked())) >= STARTING_MAX:
            time.sleep(0.05)
        pid = os.fork()
        if pid == 0:
            _be(wish, endpoints, table)
        found.append(pid)


def end_all(pids: list[int]) -> None:
    """End every bridge, kindly first, and wait for all."""
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60.0
    left = list(pids)
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if os.waitpid(pid, os.WNOHANG)[0] == 0]
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _be(wish: Wish, endpoints: list[str], table: Table) -> None:
    """Be a bridge; never returns."""
    status = 1
    try:
        descriptor = os.open(wish.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        log.configure()
        os.nice(NICER)
        _measured(wish, {endpoint: index for index, endpoint in enumerate(endpoints)}, table)
        run.run(wish.settings)
        status = 0
    except BaseException as error:  # noqa: BLE001  a fork must not return into the parent's code
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _measured(wish: Wish, endpoints: dict[str, int], table: Table) -> None:
    Sliced.own = wish.settings.namespace
    row, look, reconcile, post = wish.row, LedgerSource.look, Reconciler.reconcile, NodeConnection.post

    def looking(self: LedgerSource) -> Wanted | None:
        wanted = look(self)
        if wanted is not None:
            table.note(row, _LOOKED)
            if RELEASE in wanted.releases:
                table.note(row, wanted.releases[RELEASE].value.revision - 1)
        return wanted

    def reconciling(self: Reconciler, wanted: Verified[ReleaseRevision]) -> Standing:
        standing = reconcile(self, wanted)
        if standing.finding.changes.outcome is ReleaseOutcome.APPLIED:
            table.note(row, REVISIONS_MAX + wanted.value.revision - 1)
        return standing

    def posting(self: NodeConnection, body: bytes) -> bytes:
        table.count(row, endpoints[self.endpoint])
        return post(self, body)

    changes: list[tuple[type, str, Callable[..., Any]]] = [
        (LedgerSource, "look", looking),
        (Reconciler, "reconcile", reconciling),
        (NodeConnection, "post", posting),
    ]
    for owner, name, changed in changes:
        setattr(owner, name, changed)
