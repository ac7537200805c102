"""What a message must be before anything else looks at it.

Owns the first check of every message on every transport: its size, strict JSON (no key twice, bounded depth
and numbers), the frame of JSON-RPC 2.0. Promises that what passes meets no parser's surprise later on, and
that the answer to what does not repeats nothing of it.
"""

from __future__ import annotations

from typing import Any

from ledger import canonical
from ledger.errors import Code, ConclaveError, Refused
from ledger.limits import MIB
from ledger.types import Json, JsonObject
from mcp_server.pruning import dump

MESSAGE_BYTES_MAX = MIB
METHOD_CHARACTERS_MAX = 128
ID_CHARACTERS_MAX = 256
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
_FRAME = frozenset({"jsonrpc", "id", "method", "params"})
"""Of a request or a notification: this server asks clients nothing, so no answer of theirs is awaited."""


def check(content: bytes) -> JsonObject:
    """Give a message's JSON.

    Raises:
        Refused: BODY_TOO_LARGE, BODY_NOT_JSON, BODY_TOO_DEEP, BODY_NUMBER_OUT_OF_RANGE, FIELD_INVALID.
    """
    if len(content) > MESSAGE_BYTES_MAX:
        raise too_large()
    value = canonical.parse(content)
    if not _is_text(value):
        raise Refused(Code.BODY_NOT_JSON, got="half a character", expected="JSON in UTF-8")
    if type(value) is not dict or value.get("jsonrpc") != "2.0" or not _FRAME.issuperset(value):
        raise _invalid("a JSON-RPC 2.0 request or notification, one at a time", "message")
    if "id" in value and not _is_id(value["id"]):
        raise _invalid("a short text or an integer", "id")
    method, params = value.get("method"), value.get("params", {})
    if not (type(method) is str and 0 < len(method) <= METHOD_CHARACTERS_MAX):
        raise _invalid("the name of a method", "method")
    if type(params) is not dict:
        raise _invalid("an object", "params")
    return value


def refusal(error: ConclaveError) -> JsonObject:
    """Give the JSON-RPC answer to a message that did not pass."""
    is_json = error.code is Code.FIELD_INVALID
    told: dict[str, Any] = {"code": int(error.code), "name": error.code.name, "expected": str(error.expected)}
    return {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": INVALID_REQUEST if is_json else PARSE_ERROR,
            "message": error.code.name,
            "data": told,
        },
    }


def too_large(bytes_max: int = MESSAGE_BYTES_MAX) -> Refused:
    """Make the refusal of a message that is too large."""
    return Refused(
        Code.BODY_TOO_LARGE, got=f"more than {bytes_max} bytes", expected=f"at most {bytes_max} bytes"
    )


def _is_id(value: Json) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= ID_CHARACTERS_MAX)


def _is_text(value: Json) -> bool:
    """Tell whether all text is Unicode: JSON can spell half a surrogate pair, which no later parser takes."""
    try:
        dump(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(expected: str, field: str) -> Refused:
    return Refused(Code.FIELD_INVALID, got="something else", expected=expected, field=field)
