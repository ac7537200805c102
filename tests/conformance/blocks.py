"""Reading the frames around light blocks in cases, shared by ``light`` and ``bisect``."""

from __future__ import annotations

from typing import Any

from consensus.light.parse import parse_header, parse_signed_header, parse_validators
from consensus.light.timestamp import parse_time
from consensus.light.types import LightBlock, Options, Trusted, TrustLevel, ValidatorSet
from consensus.light.verifier import restored
from ledger.errors import VerificationFailed


def set_in(value: Any) -> ValidatorSet:
    """Read a validator set: a list, or an object with ``validators``."""
    return parse_validators(value.get("validators") if isinstance(value, dict) else value, lax=True)


def block_in(value: Any) -> LightBlock:
    """Read a light block; ``validator_set`` stands for ``validators`` too."""
    case = value if isinstance(value, dict) else {}
    following = case.get("next_validators", case.get("next_validator_set"))
    return LightBlock(
        parse_signed_header(case.get("signed_header"), lax=True),
        set_in(case.get("validators", case.get("validator_set"))),
        None if following is None else set_in(following),
    )


def trusted_in(value: Any) -> Trusted:
    """Take a trusted block at its word; its set stands for the next where the header names one set.

    It needs no commit. A next set that is not its header's carries nothing: then only the next height
    follows.
    """
    signed_header = value.get("signed_header")
    if isinstance(signed_header, dict) and signed_header.get("commit") is None:
        header = parse_header(signed_header.get("header"), lax=True)
    else:
        header = parse_signed_header(signed_header, lax=True).header
    same = header.next_validators_hash == header.validators_hash
    own = value.get("validators", value.get("validator_set")) if same else None
    following = value.get("next_validators", value.get("next_validator_set"))
    shown = own if following is None else following
    validators = None if shown is None else set_in(shown)
    try:
        return restored(header, validators)
    except VerificationFailed:
        return restored(header, None)


def options_in(case: dict[str, Any]) -> Options:
    """Read periods and trust level, ``"2/3"`` or ``{"numerator": 2, "denominator": 3}``."""
    level = case.get("trust_level", "1/3")
    if isinstance(level, dict):
        numerator, denominator = level["numerator"], level["denominator"]
    else:
        numerator, _, denominator = str(level).partition("/")
    return Options(
        trusting_period_ns=integer_in(case["trusting_period_ns"]),
        clock_drift_ns=integer_in(case["clock_drift_ns"]),
        trust_level=TrustLevel(integer_in(numerator), integer_in(denominator)),
    )


def integer_in(value: Any) -> int:
    """Read an integer, as such or as text.

    Raises:
        TypeError: neither.
        ValueError: text that is no integer.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return int(value)


def time_in(value: Any) -> int:
    """Read an RFC 3339 time."""
    return parse_time(str(value))
