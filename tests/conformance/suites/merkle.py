"""Suite ``merkle``: inclusion proofs of RFC 6962 and CometBFT, judged by ``state.merkle``.

Only translates; any case gets an answer: ``valid``, ``invalid``, or ``refused`` where it can't be read.
"""

from __future__ import annotations

from ledger.errors import VerificationFailed
from state.merkle import leaf_hash, verify_inclusion


def answer(case: dict[str, object]) -> dict[str, object]:
    """Judge ``{leaf_hash or leaf, index, total, aunts, root}``, bytes in hex, numbers as such or as text."""
    try:
        given = case.get("leaf_hash")
        leaf = leaf_hash(_unhex(case["leaf"])) if given is None else _unhex(given)
        index, total, root = _number(case["index"]), _number(case["total"]), _unhex(case["root"])
        aunts = _aunts(case.get("aunts"))
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    try:
        verify_inclusion(root, leaf, index, total, aunts)
    except VerificationFailed:
        return {"verdict": "invalid"}
    return {"verdict": "valid"}


def _aunts(field: object) -> list[bytes]:
    if field is None:
        return []
    if not isinstance(field, list):
        raise TypeError(field)
    return [_unhex(aunt) for aunt in field]


def _unhex(field: object) -> bytes:
    if not isinstance(field, str):
        raise TypeError(field)
    return bytes.fromhex(field)


def _number(field: object) -> int:
    if isinstance(field, bool) or not isinstance(field, int | str):
        raise TypeError(field)
    return int(field)
