"""One call after another: the chain around it and how it ends.

Owns the way of a call through the chain; calls take turns, a bounded number waiting. Promises that a call
ends in an answer or an error with a code, whatever happens inside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ledger.errors import ConclaveError, EnvironmentFault
from ledger.types import JsonObject
from mcp_server.chain import Call, Chain
from mcp_server.refusals import error_json, internal_json
from mcp_server.turn import Turn

WARNINGS_META_KEY = "conclave.internal/warnings"
WAITING_MAX = 32
_log = logging.getLogger("conclave.mcp")


class Done(NamedTuple):
    """What work gave: what is handed out, what goes into ``_meta``, and the objects that it shows."""

    content: JsonObject
    meta: JsonObject
    shown: tuple[str, ...] = ()


Work = Callable[[], Done]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: its content, or ``{"error": …}`` with ``is_error``."""

    content: JsonObject
    meta: JsonObject
    is_error: bool = False
    shown: tuple[str, ...] = ()


class Desk:
    """Serves calls through a chain."""

    def __init__(self, chain: Chain, turn: Turn | None = None) -> None:
        self._chain, self._turn = chain, turn or Turn()

    async def serve(self, call: Call, work: Work) -> Outcome:
        """Serve a call; never raises but when it is cancelled."""
        try:
            return await self._turn.take(lambda: self._run(call, work), "calls", WAITING_MAX)
        except EnvironmentFault as busy:
            return _failed(error_json(busy) | {"todo": busy.todo})

    def _run(self, call: Call, work: Work) -> Outcome:
        try:
            warnings = self._chain.before(call)
            outcome = _done(work)
            passed = self._chain.after(call, outcome.content, outcome.shown)
        except ConclaveError as error:
            return _failed(error_json(error))
        except Exception:  # noqa: BLE001 - a fault of ours ends one call, not the server
            _log.exception("a call failed in the chain around it")
            return _failed(internal_json())
        warnings += passed.warnings
        meta = {**outcome.meta, WARNINGS_META_KEY: list(warnings)} if warnings else outcome.meta
        return Outcome(passed.content, meta, outcome.is_error or "error" in passed.content)


def _done(work: Work) -> Outcome:
    try:
        done = work()
    except ConclaveError as error:
        return _failed(error_json(error))
    except Exception:  # noqa: BLE001 - a fault of ours ends one call, not the server
        _log.exception("a call failed")
        return _failed(internal_json())
    return Outcome(done.content, done.meta, shown=done.shown)


def _failed(told: JsonObject) -> Outcome:
    return Outcome({"error": told}, {}, is_error=True)
