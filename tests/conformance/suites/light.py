"""Suite ``light``: steps of light verification, judged by ``consensus.light.verifier``.

Only translates. Trust moves on ``ok``; a step that is no block is ``invalid`` with its code.
"""

from __future__ import annotations

from typing import Any

from consensus.light.types import Options, Trusted
from consensus.light.verdict import Invalid, NotEnoughTrust, Ok, Verdict
from consensus.light.verifier import verify
from ledger.errors import Code, ConclaveError, VerificationFailed
from tests.conformance.blocks import block_in, options_in, time_in, trusted_in


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{trusted, trust_level, trusting_period_ns, clock_drift_ns, steps}``."""
    try:
        options, trusted = options_in(case), trusted_in(case["trusted"])
        moments = [time_in(step["now"]) for step in case["steps"]]
    except (KeyError, TypeError, ValueError, AttributeError, ConclaveError):
        return {"verdict": "refused"}
    verdicts: list[str] = []
    codes: list[int | None] = []
    for step, now_ns in zip(case["steps"], moments, strict=True):
        verdict = _judge(step, trusted, options, now_ns)
        if isinstance(verdict, Ok):
            trusted = verdict.trusted
        word, code = _spell(verdict)
        verdicts.append(word)
        codes.append(code)
    return {"verdicts": verdicts, "codes": codes}


def _judge(step: dict[str, Any], trusted: Trusted, options: Options, now_ns: int) -> Verdict:
    try:
        block = block_in(step)
    except VerificationFailed as error:
        return Invalid(error)
    return verify(block, trusted, options, now_ns)


def _spell(verdict: Verdict) -> tuple[str, int | None]:
    if isinstance(verdict, Ok):
        return "ok", None
    if isinstance(verdict, NotEnoughTrust):
        return "not_enough_trust", int(Code.NOT_ENOUGH_TRUST)
    return "invalid", int(verdict.error.code)
