"""The one refusal of a proof: PROOF_INVALID, with the broken rule as a fact.

Owns the spelling of that error for ICS-23 and RFC 6962 proofs alike. Decides nothing.
"""

from __future__ import annotations

from ledger.errors import Code, VerificationFailed


def refuse(rule: str, *, got: object = "", expected: str = "") -> VerificationFailed:
    """Make the refusal of a proof that breaks ``rule``, a stable word among the error's facts."""
    todo = "ask another node; whoever sent this proof lies or is broken"
    return VerificationFailed(Code.PROOF_INVALID, got=got, expected=expected, todo=todo, rule=rule)
