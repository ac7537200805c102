"""A chain that writes every call into the audit, around the chain that judges it.

Owns what is recorded of a call. Promises that a decision is on the disk before the call is served, that an
outcome is in the log before anything is handed out, for refused calls too, and that where that cannot be,
the call is refused or its answer withheld. Whoever is refused over and over is counted, as at the door,
so that no caller fills the disk. No argument, answer or secret comes into a record: digests do.
Source: docs/spec/mcp-audit.md §2, §3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ledger import canonical
from ledger.errors import Code, ConclaveError, EnvironmentFault
from ledger.types import Json, JsonObject
from mcp_server import pruning
from mcp_server.audit import limits
from mcp_server.audit.door import Door, Repeats
from mcp_server.audit.records import Decision, Ended, Outcome, Verdict
from mcp_server.audit.writer import AuditLog
from mcp_server.chain import Call, Chain, Passed
from mcp_server.refusals import error_json, internal_json

_log = logging.getLogger("conclave.mcp.audit")
_CONTROL = {Code.AGENT_SUSPENDED: Verdict.SUSPEND}
_GUARD_FACTS = ("budget", "cause", "count", "kind", "loop", "retryAfterSeconds", "scope")


class Audited:
    """Writes what ``inner`` decides and what comes of it; counts at ``door`` what one caller repeats."""

    def __init__(
        self, inner: Chain, log: AuditLog, monotonic_ns: Callable[[], int], door: Door | None = None
    ) -> None:
        self._inner, self._audit, self._monotonic_ns = inner, log, monotonic_ns
        self._door, self._repeats = door or Door(), Repeats()
        self._open: Call | None = None
        self._begun_ns = 0
        self._owed: Outcome | None = None

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        """Have the call judged, and write the judgement down.

        Raises:
            ConclaveError: it does not pass; EnvironmentFault where it cannot be written down.
        """
        self._settle()
        self._begun_ns = self._monotonic_ns()
        try:
            warnings = self._inner.before(call)
        except ConclaveError as error:
            if self._repeats.too_many(call.principal, error.code, self._begun_ns):
                self._door.refused(error.code)
            else:
                self._refused(call, _told(error), _CONTROL.get(error.code, Verdict.REFUSE))
            raise
        except Exception:
            self._refused(call, internal_json(), Verdict.REFUSE)
            raise
        self._repeats.passed(call.principal)
        verdict = Verdict.WARN if warnings else Verdict.ALLOW
        self._audit.append([self._decision(call, verdict, warnings)], sync=True)
        self._open = call
        return warnings

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        """Have the answer judged, and write down what is handed out.

        Raises:
            ConclaveError: it is withheld; EnvironmentFault where its outcome cannot be written down.
        """
        height = _height(result)
        try:
            passed = self._inner.after(call, result, shown)
        except ConclaveError as error:
            self._ended(self._outcome(call, Ended.WITHHELD, (_told(error),), height=height))
            raise
        except Exception:
            self._ended(self._outcome(call, Ended.WITHHELD, (internal_json(),), height=height))
            raise
        told = passed.content.get("error")
        reasons = (*([told] if type(told) is dict else []), *passed.warnings)
        ended = Ended.ERROR if "error" in passed.content else Ended.ANSWERED
        self._ended(self._outcome(call, ended, reasons, height=height, handed=passed.content))
        return passed

    def shows(self, call: Call) -> bool:
        """Ask the inner chain."""
        return self._inner.shows(call)

    def _refused(self, call: Call, told: JsonObject, verdict: Verdict) -> None:
        """Write a refusal and its outcome; nothing was done, so the disk may have them a little later."""
        decision = self._decision(call, verdict, (told,))
        outcome = self._outcome(call, Ended.REFUSED, ())
        try:
            self._audit.append([decision, outcome], sync=False)
        except EnvironmentFault as fault:
            # It is refused either way; the log says nothing of it, and every later call is refused too.
            _log.error("a refusal could not be written down: %s", fault)
            raise

    def _ended(self, outcome: Outcome) -> None:
        self._open = None
        try:
            self._audit.append([outcome], sync=False)
        except EnvironmentFault as fault:
            told = _reasons((error_json(fault),))
            self._owed = Outcome(outcome.call, Ended.WITHHELD, told, outcome.height)
            raise

    def _settle(self) -> None:
        """Write what is owed from before, or serve nothing more."""
        if self._open is not None:
            self._owed = self._outcome(self._open, Ended.LOST, ())
            self._open = None
        if self._owed is not None:
            self._audit.append([self._owed], sync=False)
            self._owed = None

    def _decision(self, call: Call, verdict: Verdict, reasons: Iterable[JsonObject]) -> Decision:
        digester = self._audit.digester
        return Decision(
            call=call.id,
            sort=call.kind,
            name=_name(call.name, digester.key or b""),
            principal=call.principal,
            key=call.key_id,
            arguments=digester.of(call.arguments),
            verdict=verdict,
            reasons=_reasons(reasons),
        )

    def _outcome(
        self,
        call: Call,
        ended: Ended,
        reasons: Iterable[JsonObject],
        *,
        height: int | None = None,
        handed: JsonObject | None = None,
    ) -> Outcome:
        return Outcome(
            call=call.id,
            ended=ended,
            reasons=_reasons(reasons),
            height=height,
            result=None if handed is None else self._audit.digester.of(handed),
            duration_us=max(0, (self._monotonic_ns() - self._begun_ns) // 1000),
        )


def _told(error: ConclaveError) -> JsonObject:
    """Give an error as it was told, and of the guard's the facts that say what tripped it."""
    facts = {name: error.facts[name] for name in _GUARD_FACTS if name in error.facts}
    is_plain = all(value is None or type(value) in (int, str) for value in facts.values())
    return {**error_json(error), **(facts if is_plain and error.code >= Code.TOOL_NOT_ALLOWED else {})}


def _name(name: str, key: bytes) -> str:
    """Give an untrusted name as a record may hold it."""
    cleaned = str(pruning.clean(name, key))
    most = limits.NAME_CHARACTERS_MAX
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def _reasons(told: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Give reasons as a record may hold them: few, small, each with code and name."""
    return tuple(_reason(reason) for reason in list(told)[: limits.REASONS_MAX])


def _reason(told: JsonObject) -> JsonObject:
    code, name = told.get("code"), told.get("name")
    known = {
        "code": code if type(code) is int else 0,
        "name": str(name)[:64] if name else "UNNAMED",
    }
    whole: JsonObject = {**told, **known}
    try:
        fits = len(canonical.dump(whole)) <= limits.REASON_BYTES_MAX
    except ConclaveError:
        fits = False
    return whole if fits else known


def _height(result: JsonObject) -> int | None:
    place: Json = result.get("readAt")
    height = place.get("height") if type(place) is dict else None
    return height if type(height) is int and height >= 0 else None
