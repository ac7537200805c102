"""How a refusal is told to a model.

Promises a stable code, what was expected and what to do, and nothing that was got: neither a caller's value
nor a path, an endpoint or a library's text ever comes back.
"""

from __future__ import annotations

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.types import JsonObject

INTERNAL = 70
"""What stands for a fault of ours, as the command line's exit code does."""
_TEXT_CHARACTERS_MAX = 300
_FACTS = ("field", "height", "release", "revision")
_TOLD: dict[type[ConclaveError], tuple[str, str]] = {
    VerificationFailed: (
        "an answer of the node that verifies",
        "trust nothing of it; an operator looks at the node",
    ),
    EnvironmentFault: ("a node that answers", "try again later; an operator looks at the node"),
}
_STALE_TODO = "an operator checks that the chain makes blocks and that this node follows it"


def error_json(error: ConclaveError) -> JsonObject:
    """Give an error as a client reads it."""
    found: JsonObject = {"code": int(error.code), "name": error.code.name}
    if isinstance(error, Refused):
        found |= {"expected": _short(error.expected), "todo": _short(error.todo)}
    else:
        expected, todo = _TOLD.get(type(error), ("another answer", "try again later"))
        found |= {"expected": expected, "todo": _STALE_TODO if error.code is Code.STALE else todo}
    found |= {name: error.facts[name] for name in _FACTS if _is_plain(error.facts.get(name))}
    return {key: value for key, value in found.items() if value != ""}


def internal_json() -> JsonObject:
    """Give what is told of a fault of ours: that it is one."""
    return {"code": INTERNAL, "name": "INTERNAL", "todo": "this is a fault of conclave; see the server's log"}


def _is_plain(value: object) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _TEXT_CHARACTERS_MAX)


def _short(value: object) -> str:
    return str(value)[:_TEXT_CHARACTERS_MAX]
