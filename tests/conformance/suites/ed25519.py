"""Suite ``ed25519``: signatures by ZIP-215, judged by ``ledger.keys``. Only translates."""

from __future__ import annotations

from typing import Any

from ledger.keys import verify_ed25519


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{public_key, message, signature}``."""
    try:
        key, message, signature = (bytes.fromhex(case[f]) for f in ("public_key", "message", "signature"))
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    return {"verdict": "valid" if verify_ed25519(key, message, signature) else "invalid"}
