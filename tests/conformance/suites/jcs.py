"""Suite ``jcs``: any JSON text to its RFC 8785 form, by ``ledger.canonical``. Only translates."""

from __future__ import annotations

from typing import Any

from ledger import canonical
from ledger.errors import Refused


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Answer ``{bytes}`` with the canonical bytes."""
    try:
        content = bytes.fromhex(case["bytes"])
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    try:
        return {"verdict": "ok", "bytes": canonical.canonicalize(content).hex()}
    except Refused as refusal:
        return {"verdict": "refused", "code": int(refusal.code)}
