"""Bringing a suspension by the guard onto the ledger, behind the calls.

Owns what waits to be told and when. Promises that no call waits for it, that a suspension is told only once
the record of why is in the audit, whose newest hash goes with it as evidence, that each principal waits once,
that what the ledger will never take is given up and said loudly, and that the guard is told once the ledger
is proven to have a suspension, so that it ends here when it ends there.
Source: docs/spec/agents.md §2.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import Code, ConclaveError, Refused
from ledger.limits import IDENTITIES_MAX
from ledger.types import Did
from mcp_server.audit.writer import AuditLog
from mcp_server.chain import Call
from mcp_server.guard.calls import Reason
from runtime.retry import Backoff

_log = logging.getLogger("conclave.mcp.audit")
WAKE_SECONDS = 1.0


class Suspends(Protocol):
    """Who can suspend an agent for everybody: a node identity on the ledger."""

    def suspend(self, agent: Did, code: int, evidence: str) -> int:
        """Suspend an agent; give the height since when.

        Args:
            agent: its DID.
            code: why.
            evidence: SHA-256 (hex) of a record of the audit, at or behind the one that says why.

        Raises:
            Refused: it will not be asked again; OBJECT_DUPLICATE where it is said to be suspended, unproven.
            ConclaveError: it is not known to be suspended.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    code: int
    behind: int
    not_before_s: float = 0.0
    failures: int = 0


class Suspensions:
    """Tells the ledger of suspensions; ``step`` is one look at what waits."""

    def __init__(self, ledger: Suspends, monotonic: Callable[[], float]) -> None:
        self._ledger, self._monotonic = ledger, monotonic
        self._backoff = Backoff(base_s=0.5, ceiling_s=30.0)
        self._lock, self._rung = threading.Lock(), threading.Event()
        self._waiting: dict[Did, _Waiting] = {}
        self._audit: AuditLog | None = None
        self._noted: list[Callable[[Did, int], None]] = []
        self.last_error: ConclaveError | None = None

    def watch(self, audit: AuditLog) -> None:
        """Take evidence from this log."""
        self._audit = audit

    def tells(self, noted: Callable[[Did, int], None]) -> None:
        """Have ``noted`` told of each suspension that the ledger is proven to have, with its height."""
        self._noted.append(noted)

    def suspended(self, principal: Did, reason: Reason, call: Call) -> None:
        """Take note of a suspension, whose record is yet to be written."""
        del call
        assert self._audit is not None
        code = reason.facts.get("cause")
        number = int(Code[code]) if isinstance(code, str) and code in Code.__members__ else int(reason.code)
        with self._lock:
            if len(self._waiting) < IDENTITIES_MAX:
                self._waiting.setdefault(principal, _Waiting(number, self._audit.head.sequence))
        self._rung.set()

    def wait(self) -> None:
        """Wait until something is to be done, or a moment."""
        self._rung.wait(WAKE_SECONDS)
        self._rung.clear()

    def step(self) -> int:
        """Tell what waits and is written; give how many suspensions the ledger has now."""
        assert self._audit is not None
        with self._lock:
            waiting = list(self._waiting.items())
        told = 0
        for agent, each in waiting:
            head, now = self._audit.head, self._monotonic()
            if head.sequence <= each.behind or now < each.not_before_s:
                continue
            told += self._tell(agent, each, head.hash, now)
        return told

    def _tell(self, agent: Did, each: _Waiting, evidence: str, now: float) -> bool:
        try:
            height = self._ledger.suspend(agent, each.code, evidence)
        except ConclaveError as error:
            self.last_error = error
            is_there = error.code is Code.OBJECT_DUPLICATE
            if isinstance(error, Refused):
                # Asked again it would be refused again; the guard of this server holds as long as it runs.
                self._done(agent)
                if not is_there:
                    _log.error("%s is suspended here only: %s", agent, error)
                return is_there
            failures = each.failures + 1
            with self._lock:
                self._waiting[agent] = _Waiting(
                    each.code, each.behind, now + self._backoff.delay_s(failures), failures
                )
            if failures == 1:
                _log.warning("the suspension of %s is not on the ledger yet: %s", agent, error)
            return False
        self._done(agent)
        for noted in self._noted:
            noted(agent, height)
        _log.warning("%s is suspended on the ledger at height %d", agent, height)
        return True

    def _done(self, agent: Did) -> None:
        with self._lock:
            self._waiting.pop(agent, None)
