"""Suite ``ics23``: membership and non-membership proofs, judged by ``state.proof``.

Only translates; any case gets an answer: ``valid``, ``invalid``, or ``refused`` where it can't be read.
"""

from __future__ import annotations

from ledger.errors import VerificationFailed
from state.proof import SPECS, parse_proof, verify_membership, verify_non_membership


def answer(case: dict[str, object]) -> dict[str, object]:
    """Judge ``{spec, root, key, value or null, proof}``, bytes in hex."""
    try:
        spec = SPECS[str(case["spec"])]
        root, key, proof = (_unhex(case[name]) for name in ("root", "key", "proof"))
        value = None if case["value"] is None else _unhex(case["value"])
    except (KeyError, TypeError, ValueError):
        return {"verdict": "refused"}
    try:
        if value is None:
            verify_non_membership(spec, root, parse_proof(proof), key)
        else:
            verify_membership(spec, root, parse_proof(proof), key, value)
    except VerificationFailed:
        return {"verdict": "invalid"}
    return {"verdict": "valid"}


def _unhex(field: object) -> bytes:
    if not isinstance(field, str):
        raise TypeError(field)
    return bytes.fromhex(field)
