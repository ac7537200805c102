"""Bringing heads of the audit onto the ledger, behind the calls.

Owns the thread that does it and the ``Anchors`` shape. Promises that no call ever waits for it, that however
long the ledger is away only the newest head waits (nothing queues up), that it goes on after a restart from
what the log says, and that an anchor is written into the log only once the ledger's receipt is proven.
Source: docs/spec/mcp-audit.md §5.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import ConclaveError
from mcp_server.audit import limits
from mcp_server.audit.door import Door
from mcp_server.audit.records import Anchored, Refusals
from mcp_server.audit.suspensions import Suspensions
from mcp_server.audit.writer import AuditLog
from runtime.retry import Backoff

_log = logging.getLogger("conclave.mcp.audit")
WAKE_SECONDS = 1.0


class Anchors(Protocol):
    """A place outside this machine's reach where heads are kept."""

    def anchor(self, log: str, count: int, head: str) -> int:
        """Keep that record ``count`` of ``log`` has the hash ``head``; give the height since when.

        Takes as long as it takes. What is kept already is not kept again.

        Raises:
            ConclaveError: it is not known to be kept.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How often heads are anchored: after so many records, or seconds with anything new."""

    records: int = limits.ANCHOR_RECORDS
    seconds: float = limits.ANCHOR_SECONDS


class Anchoring:
    """Anchors a log's heads; ``step`` is one look whether one is due."""

    def __init__(
        self, log: AuditLog, anchors: Anchors, monotonic: Callable[[], float], pace: Pace | None = None
    ) -> None:
        self._audit, self._anchors, self._monotonic = log, anchors, monotonic
        self._pace, self._backoff = pace or Pace(), Backoff(base_s=1.0, ceiling_s=60.0)
        # What the log of before left unanchored is due at once.
        self._last_s = monotonic() - self._pace.seconds
        self._not_before_s = monotonic()
        self._failures = 0
        self.last_error: ConclaveError | None = None

    def step(self) -> bool:
        """Anchor the newest signed head if it is time; tells whether one was."""
        now, audit = self._monotonic(), self._audit
        if now < self._not_before_s or not self._is_due(now):
            return False
        tip = audit.signed
        try:
            height = self._anchors.anchor(audit.id, tip.sequence, tip.hash)
            audit.anchored = tip.sequence
            self._last_s, self._failures, self.last_error = now, 0, None
            audit.append([Anchored(tip.sequence, tip.hash, height)], sync=False)
        except ConclaveError as error:
            self._failures += 1
            self.last_error = error
            self._not_before_s = self._monotonic() + self._backoff.delay_s(self._failures)
            if self._failures == 1 or self._failures % 60 == 0:
                _log.warning("audit not anchored: %s", error)
            return False
        return True

    def _is_due(self, now: float) -> bool:
        audit = self._audit
        behind = audit.signed.sequence - audit.anchored
        if behind <= 0 or audit.notable <= audit.anchored:
            return False
        return behind >= self._pace.records or now - self._last_s >= self._pace.seconds


class Keeper:
    """Threads that sign heads that are due, anchor them and tell suspensions. None holds up a call.

    Who was not let in since the last look (``door``) becomes one record before a head is signed.
    """

    def __init__(
        self,
        log: AuditLog,
        anchoring: Anchoring | None = None,
        suspensions: Suspensions | None = None,
        door: Door | None = None,
    ) -> None:
        self._audit, self._anchoring, self._suspensions = log, anchoring, suspensions
        self._door = door or Door()
        self._ended = threading.Event()
        self.is_ending = False
        """Whether the end began: a signal in the very thread that ends must not begin it again."""
        self._threads = [threading.Thread(target=self._sign, name="audit-heads", daemon=True)]
        if anchoring is not None:
            self._threads.append(threading.Thread(target=self._anchor, name="audit-anchors", daemon=True))
        if suspensions is not None:
            self._threads.append(threading.Thread(target=self._suspend, name="suspensions", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End; an anchor that is under way is given ``timeout_s``. Then the log is closed."""
        self.is_ending = True
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_s)
        try:
            self._tell_door()
        except ConclaveError as error:
            _log.error("who was not let in could not be written down: %s", error)
        self._audit.close()

    def _tell_door(self) -> None:
        counts = self._door.peek()
        if counts:
            self._audit.append([Refusals(counts)], sync=False)
            self._door.written(counts)

    def _sign(self) -> None:
        failed = False
        while not self._ended.wait(WAKE_SECONDS):
            try:
                self._tell_door()
                self._audit.tick()
                failed = False
            except ConclaveError as error:
                if not failed:
                    _log.error("audit head not signed: %s", error)
                failed = True
            except Exception:  # noqa: BLE001 - a fault of ours here must not end the thread unseen
                _log.exception("audit head not signed")

    def _anchor(self) -> None:
        assert self._anchoring is not None
        while not self._ended.wait(WAKE_SECONDS):
            try:
                self._anchoring.step()
            except Exception:  # noqa: BLE001 - a fault of ours here must not end the thread unseen
                _log.exception("audit not anchored")

    def _suspend(self) -> None:
        assert self._suspensions is not None
        while not self._ended.is_set():
            self._suspensions.wait()
            try:
                self._suspensions.step()
            except Exception:  # noqa: BLE001 - a fault of ours here must not end the thread unseen
                _log.exception("suspension not told")
