"""One call after another: the chain around it, the thread it runs in, how it ends.

Owns the order in which calls are served: one at a time, as the reader is no friend of threads, and a bounded
number waiting. Promises that a call ends in an answer or an error with a code, whatever happens inside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread

from ledger.errors import Code, ConclaveError, EnvironmentFault
from ledger.types import JsonObject
from mcp_server.chain import Call, Chain
from mcp_server.refusals import error_json, internal_json

WARNINGS_META_KEY = "conclave.internal/warnings"
WAITING_MAX = 32
WAITING_SECONDS_MAX = 30.0
_log = logging.getLogger("conclave.mcp")

Work = Callable[[], tuple[JsonObject, JsonObject]]
"""Gives what is handed out, and what goes into ``_meta``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: its content, or ``{"error": …}`` with ``is_error``."""

    content: JsonObject
    meta: JsonObject
    is_error: bool = False


class Desk:
    """Serves calls through a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._turn: anyio.Lock | None = None
        self._waiting = 0

    async def serve(self, call: Call, work: Work) -> Outcome:
        """Serve a call; never raises but when it is cancelled."""
        if self._waiting >= WAITING_MAX:
            return _failed(_busy(f"{WAITING_MAX} calls waiting"))
        if self._turn is None:
            self._turn = anyio.Lock()
        self._waiting += 1
        try:
            with anyio.fail_after(WAITING_SECONDS_MAX):
                await self._turn.acquire()
        except TimeoutError:
            return _failed(_busy(f"no turn in {WAITING_SECONDS_MAX} s"))
        finally:
            self._waiting -= 1
        try:
            return await anyio.to_thread.run_sync(self._run, call, work)
        finally:
            self._turn.release()

    def _run(self, call: Call, work: Work) -> Outcome:
        try:
            warnings = self._chain.before(call)
            outcome = _done(work)
            passed = self._chain.after(call, outcome.content)
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
        content, meta = work()
    except ConclaveError as error:
        return _failed(error_json(error))
    except Exception:  # noqa: BLE001 - a fault of ours ends one call, not the server
        _log.exception("a call failed")
        return _failed(internal_json())
    return Outcome(content, meta)


def _failed(told: JsonObject) -> Outcome:
    return Outcome({"error": told}, {}, is_error=True)


def _busy(got: str) -> JsonObject:
    busy = EnvironmentFault(Code.TIMEOUT, got=got, expected="a free turn")
    return error_json(busy) | {"todo": "the server is busy: try again in some seconds"}
