"""An audit record as a flat event for a SIEM, in the names of the Elastic Common Schema where it has one.

Owns the mapping (docs/spec/mcp-audit.md §6). Promises one event a record, in order, every value a text, a
number, a boolean or a list of texts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.light.timestamp import format_time
from ledger.types import JsonObject
from mcp_server.audit.records import (
    Anchored,
    Decision,
    Ended,
    Head,
    Outcome,
    Record,
    Refusals,
    Segment,
    Started,
    Verdict,
)

ECS_VERSION = "8.11.0"
_ACTIONS = {
    "segment": "audit-file",
    "started": "server-start",
    "decision": "call-decision",
    "outcome": "call-outcome",
    "head": "audit-head",
    "anchored": "audit-anchor",
    "refusals": "not-let-in",
}
_GUARD_CODES_FROM = 900


def event(record: Record, hash_: str, header: Segment) -> JsonObject:
    """Give a record as an event.

    Args:
        record: judged.
        hash_: its own.
        header: of the file it stands in.
    """
    body = record.body
    found: JsonObject = {
        "@timestamp": format_time(record.time_ns),
        "ecs.version": ECS_VERSION,
        "event.kind": "event",
        "event.module": "conclave",
        "event.dataset": "conclave.audit",
        "event.action": _ACTIONS[body.kind],
        "event.sequence": record.sequence,
        "event.hash": hash_,
        "conclave.audit.log": header.log,
        "conclave.audit.node": header.node,
        "conclave.audit.key": header.key,
        "conclave.chain.id": header.chain,
    }
    match body:
        case Decision():
            found |= _decision(body)
        case Outcome():
            found |= _outcome(body)
        case Started():
            found |= {
                "service.version": body.version,
                "conclave.audit.unfinished": list(body.unfinished),
                "conclave.audit.torn.bytes": 0 if body.torn is None else body.torn.size,
            }
        case Anchored():
            found |= {
                "conclave.audit.count": body.count,
                "conclave.audit.head": body.head,
                "conclave.ledger.height": body.height,
            }
        case Refusals():
            found |= {
                "event.category": ["authentication"],
                "event.type": ["denied"],
                "event.outcome": "failure",
                "event.code": max(body.codes, key=lambda name: (body.codes[name], name)),
                "event.reason": ", ".join(sorted(body.codes)),
                "conclave.refusals.count": sum(body.codes.values()),
            }
        case Head():
            found["conclave.audit.closes"] = body.closes
        case Segment():
            found["conclave.audit.file"] = body.number
    return {name: value for name, value in found.items() if value is not None}


def _decision(body: Decision) -> JsonObject:
    is_denied = body.verdict in (Verdict.REFUSE, Verdict.SUSPEND)
    is_alert = any(reason["code"] >= _GUARD_CODES_FROM for reason in body.reasons)
    return {
        "event.kind": "alert" if is_alert else "event",
        "event.category": ["api"],
        "event.type": ["denied" if is_denied else "allowed"],
        "event.outcome": "failure" if is_denied else "success",
        "event.id": body.call,
        "user.id": body.principal,
        "conclave.call.key": body.key,
        "conclave.call.kind": body.sort,
        "conclave.call.name": body.name,
        "conclave.call.verdict": body.verdict.value,
        "conclave.call.arguments.bytes": body.arguments.size,
        "conclave.call.arguments.digest": body.arguments.hex,
        **_reasons(body.reasons),
    }


def _outcome(body: Outcome) -> JsonObject:
    told: JsonObject = {
        "event.category": ["api"],
        "event.type": ["end"],
        "event.outcome": "success" if body.ended is Ended.ANSWERED else "failure",
        "event.id": body.call,
        "event.duration": body.duration_us * 1000,
        "conclave.call.ended": body.ended.value,
        "conclave.ledger.height": body.height,
        **_reasons(body.reasons),
    }
    if body.result is not None:
        told |= {
            "conclave.call.result.bytes": body.result.size,
            "conclave.call.result.digest": body.result.hex,
        }
    return told


def _reasons(reasons: Iterable[JsonObject]) -> JsonObject:
    names = [str(reason["name"]) for reason in reasons]
    return {"event.code": names[0], "event.reason": ", ".join(names)} if names else {}
