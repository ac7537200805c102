"""Holding the lease of a cluster, or waiting for it.

Owns the thread that renews, looks and takes over, and the Lease object's requests. Promises that every write
of the lease is bound to the version that was read, that each request about it is short, and that the answer
to "may I write?" is given from memory, at once. Decides nothing: ``lease`` does.

Source: coordination.k8s.io/v1 Lease; docs/spec/bridge-lease.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from k8s_bridge.bounds import BRIEF
from k8s_bridge.connection import Connection
from k8s_bridge.inventory import MARK_LABEL
from k8s_bridge.lease import (
    LEASE_NAME,
    NEW_S,
    Action,
    Belief,
    Record,
    decide,
    looked,
    may_be_new,
    record_of,
    remaining_s,
    seen,
    spec_of,
    term_of,
    written,
)
from ledger.errors import ConclaveError, EnvironmentFault
from ledger.types import JsonObject
from runtime.clock import NS_PER_S
from runtime.log import event

_GROUP = "coordination.k8s.io/v1"
_NOT_FOUND, _CONFLICT = 404, 409
FAILED_PAUSE_S = 0.5
NEW_LOOKS_MAX = 3
STARTING_TURNS = 4
"""A look and a write, once more where the namespace was missing."""
_LOG = logging.getLogger("bridge.lease")


class Leases(Protocol):
    """The Lease object, as a keeper needs it. Every method may raise ``EnvironmentFault``."""

    def read(self) -> Record | None:
        """Give the lease; None where there is none."""
        ...

    def write(self, spec: JsonObject, over: Record | None) -> Record | None:
        """Write the lease over exactly this version, or anew; None where it is another by now."""
        ...

    def untouched(self) -> bool:
        """Tell whether no bridge ever wrote to this cluster."""
        ...


class LeaseObject:
    """The Lease of one cluster, in the bridge's namespace. Every request is short and sent once."""

    def __init__(self, connection: Connection, namespace: str, wall_ns: Callable[[], int]) -> None:
        self._connection, self._namespace, self._wall_ns = connection, namespace, wall_ns
        self._leases = f"/apis/{_GROUP}/namespaces/{namespace}/leases"

    def read(self) -> Record | None:
        """Give the lease; None where there is none.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED, KUBERNETES_FORBIDDEN.
        """
        try:
            return record_of(self._connection.ask("get", f"{self._leases}/{LEASE_NAME}", bounds=BRIEF)[1])
        except EnvironmentFault as fault:
            if fault.facts.get("status") == _NOT_FOUND:
                return None
            raise

    def write(self, spec: JsonObject, over: Record | None) -> Record | None:
        """Write the lease over exactly this version, or anew; None where it is another by now.

        Raises:
            EnvironmentFault: as ``read``.
        """
        # For people; no bridge reads another's time.
        now = datetime.fromtimestamp(self._wall_ns() / NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: JsonObject = {"name": LEASE_NAME, "namespace": self._namespace}
        if over is not None:
            metadata |= {"uid": over.uid, "resourceVersion": over.version}
        lease = {
            "apiVersion": _GROUP,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {**spec, "renewTime": now},
        }
        try:
            if over is not None:
                return record_of(self._ask("put", f"{self._leases}/{LEASE_NAME}", lease))
            return record_of(self._ask("post", self._leases, lease))
        except EnvironmentFault as fault:
            if fault.facts.get("status") not in {_CONFLICT, _NOT_FOUND}:
                raise
            if over is None and fault.facts.get("status") == _NOT_FOUND:
                # It takes its time: whoever wants the lease looks anew.
                self._make_namespace()
            return None

    def untouched(self) -> bool:
        """Tell whether no bridge ever wrote to this cluster.

        Raises:
            EnvironmentFault: as ``read``.
        """
        path, label = f"/api/v1/namespaces/{self._namespace}/configmaps", f"{MARK_LABEL}=true"
        _, page = self._connection.ask("get", path, label_selector=label, limit=1, bounds=BRIEF)
        return not page.get("items")

    def _make_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        try:
            self._ask("post", "/api/v1/namespaces", body)
        except EnvironmentFault as fault:
            if fault.facts.get("status") != _CONFLICT:
                raise

    def _ask(self, method: str, path: str, body: JsonObject) -> JsonObject:
        return self._connection.ask(method, path, about=path, body=body, bounds=BRIEF)[1]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was last said aloud, so that it is said once."""

    holder: str | None = None
    fault: int = 0


class LeaseKeeper:
    """Renews the lease or waits for it, in the background.

    Args:
        leases: the Lease object.
        belief: what is known at first: our name, the timing, a predecessor.
        clock_s: ``deadman.boot_clock``.
    """

    def __init__(self, leases: Leases, belief: Belief, clock_s: Callable[[], float]) -> None:
        self._leases, self._clock_s = leases, clock_s
        self._belief = belief
        self._stopping = threading.Event()
        self._spoken = Spoken()
        self.last_error: ConclaveError | None = None
        # A daemon: a silent socket must not hold up the end of the process.
        self._settled_s = 0.0
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Look, take the lease where it is free, and go on in the background."""
        for _ in range(STARTING_TURNS):
            if self.turn() > 0:
                break
        self._thread.start()

    def stop(self) -> None:
        """End, and give the lease back where it is held and nothing of ours can still take effect.

        To be called when no write is under way any more.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(3.0)
        belief, record = self._belief, self._belief.record
        self._belief = seen(belief, None, self._clock_s())
        now_s = self._clock_s()
        idle = not self._thread.is_alive() and now_s >= self._settled_s
        if not idle or record is None or term_of(belief, now_s) is None:
            return
        try:
            self._leases.write({**spec_of(belief), "holderIdentity": ""}, record)
        except EnvironmentFault as fault:
            event(_LOG, "lease not given back", level=logging.WARNING, **fault.to_json())

    def term(self) -> str | None:
        """Give the term in which writes may begin now; None when none may."""
        return term_of(self._belief, self._clock_s())

    def remaining_s(self) -> float:
        """Give for how long they may."""
        return remaining_s(self._belief, self._clock_s())

    def unanswered(self) -> None:
        """Take note that a write was cut off: the lease is not given back while it may still take effect."""
        self._settled_s = self._clock_s() + self._belief.timing.settle_s

    def deadline_s(self) -> float:
        """Give until when they may; 0 when they may not."""
        return self._belief.held_until_s or 0.0

    def account(self) -> JsonObject:
        """Say who writes, for ``bridge-status.json``."""
        belief, error = self._belief, self.last_error
        return {
            "me": belief.me,
            "holder": belief.record.holder if belief.record is not None else None,
            "writing": self.term() is not None,
            "error": None if error is None else error.to_json(),
        }

    def turn(self) -> float:
        """Do what is due; give how long to wait until the next turn, in seconds."""
        now_s = self._clock_s()
        decision = decide(self._belief, now_s)
        if decision.action is not Action.LOOK and decision.at_s > now_s:
            return decision.at_s - now_s
        try:
            if decision.action is Action.LOOK or not self._write():
                self._look()
        except EnvironmentFault as fault:
            return self._failed(fault)
        self.last_error = None
        self._tell()
        now_s = self._clock_s()
        return max(0.0, decide(self._belief, now_s).at_s - now_s)

    def _look(self) -> None:
        belief = self._belief
        for _ in range(NEW_LOOKS_MAX):
            sent_s = self._clock_s()
            record = self._leases.read()
            untouched = may_be_new(belief) and record is None and self._leases.untouched()
            now_s = self._clock_s()
            # A slow one, as the first of a connection may be, leaves no time for the write.
            if not untouched or now_s - sent_s <= NEW_S / 2:
                break
        self._belief = looked(belief, record, untouched=untouched, sent_s=sent_s, now_s=now_s)

    def _write(self) -> bool:
        """Acquire or renew; tells whether the lease was as we knew it."""
        belief, sent_s = self._belief, self._clock_s()
        record = self._leases.write(spec_of(belief), belief.record)
        if record is None:
            return False
        self._belief = written(belief, record, sent_s, self._clock_s())
        return True

    def _failed(self, fault: EnvironmentFault) -> float:
        self.last_error = fault
        self._tell()
        return FAILED_PAUSE_S

    def _tell(self) -> None:
        """Say aloud who writes, when that changes."""
        belief = self._belief
        holder = belief.record.holder if belief.record is not None else None
        if self.term() is None and holder == belief.me:
            holder = None
        error = self.last_error
        spoken = Spoken(holder, 0 if error is None else int(error.code))
        if spoken.fault and spoken.fault != self._spoken.fault and error is not None:
            event(_LOG, "lease not asked", level=logging.WARNING, **error.to_json())
        if spoken.holder != self._spoken.holder:
            event(_LOG, "writer", holder=holder, me=belief.me, writing=self.term() is not None)
        self._spoken = spoken

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                pause_s = self.turn()
            except Exception as error:  # noqa: BLE001  whatever it is, it is told and tried again
                # Without this thread the bridge would stand by for ever and nobody would know why.
                event(_LOG, "lease not kept", level=logging.ERROR, error=f"{type(error).__name__}: {error}")
                pause_s = FAILED_PAUSE_S
