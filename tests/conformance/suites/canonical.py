"""Suite ``canonical``: may these exact bytes be an envelope's body? Judged by ``ledger.canonical``."""

from __future__ import annotations

from typing import Any

from ledger import canonical
from ledger.errors import Code, Refused


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{bytes}``: a body is a JSON object in its RFC 8785 bytes (docs/spec/ledger.md §1)."""
    try:
        content = bytes.fromhex(case["bytes"])
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    try:
        value = canonical.load(content)
    except Refused as refusal:
        return {"verdict": "refused", "code": int(refusal.code)}
    if not isinstance(value, dict):
        return {"verdict": "refused", "code": int(Code.ACTION_UNKNOWN)}
    return {"verdict": "accepted"}
