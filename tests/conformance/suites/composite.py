"""Suite ``composite``: MLDSA65-Ed25519 signatures, judged by ``ledger.composite``. Only translates."""

from __future__ import annotations

from typing import Any

from ledger.composite import verify_composite


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{public_key, message, signature, context}``; no context is the empty one."""
    try:
        key, message, signature = (bytes.fromhex(case[f]) for f in ("public_key", "message", "signature"))
        context = bytes.fromhex(case.get("context") or "")
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    return {"verdict": "valid" if verify_composite(key, message, signature, context) else "invalid"}
