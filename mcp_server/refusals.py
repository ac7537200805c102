"""How a refusal is told to a model.

Promises a stable code, what was expected and what to do, and nothing that was got: neither a caller's value
nor a path, an endpoint or a library's text ever comes back.
"""

from __future__ import annotations

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.types import JsonObject
from mcp_server.guard.calls import Reason
from mcp_server.guard.disguise import reveal

INTERNAL = 70
"""What stands for a fault of ours, as the command line's exit code does."""
_TEXT_CHARACTERS_MAX = 300
_FACTS = ("field", "height", "release", "revision")
_GUARD_FACTS = ("budget", "scope", "retryAfterSeconds", "loop", "count", "kind", "sum", "cause")
_TOLD: dict[type[ConclaveError], tuple[str, str]] = {
    VerificationFailed: (
        "an answer of the node that verifies",
        "trust nothing of it; an operator looks at the node",
    ),
    EnvironmentFault: ("a node that answers", "try again later; an operator looks at the node"),
}
_GUARD = range(900, 1000)
"""Codes of what a model may ask: their facts are words of the guard's own."""
_STALE_TODO = "an operator checks that the chain makes blocks and that this node follows it"


def error_json(error: ConclaveError) -> JsonObject:
    """Give an error as a client reads it."""
    found: JsonObject = {"code": int(error.code), "name": error.code.name}
    if isinstance(error, Refused):
        found |= {"expected": _short(error.expected), "todo": _short(error.todo)}
    else:
        expected, todo = _TOLD.get(type(error), ("another answer", "try again later"))
        found |= {"expected": expected, "todo": _STALE_TODO if error.code is Code.STALE else todo}
    told = (*_FACTS, *_GUARD_FACTS) if error.code in _GUARD else _FACTS
    found |= {name: error.facts[name] for name in told if _is_plain(error.facts.get(name))}
    return {key: value for key, value in found.items() if value != ""}


def warning_json(reason: Reason) -> JsonObject:
    """Give a warning of the guard as a client reads it."""
    found: JsonObject = {"code": int(reason.code), "name": reason.code.name, "todo": _short(reason.todo)}
    facts = (*_FACTS, *_GUARD_FACTS)
    return found | {name: reason.facts[name] for name in facts if _is_plain(reason.facts.get(name))}


def internal_json() -> JsonObject:
    """Give what is told of a fault of ours: that it is one."""
    return {"code": INTERNAL, "name": "INTERNAL", "todo": "this is a fault of conclave; see the server's log"}


def _is_plain(value: object) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _TEXT_CHARACTERS_MAX)


def _short(value: object) -> str:
    # Names of objects and containers stand in it, and those are strangers' words.
    return reveal(str(value))[:_TEXT_CHARACTERS_MAX]
