"""Reading the frames around light blocks in cases, shared by ``light`` and ``bisect``."""

from __future__ import annotations

from typing import Any

from consensus.light.parse import parse_signed_header, parse_validators
from consensus.light.timestamp import parse_time
from consensus.light.types import LightBlock, Options, TrustLevel, ValidatorSet


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


def options_in(case: dict[str, Any]) -> Options:
    """Read periods and trust level."""
    numerator, _, denominator = str(case.get("trust_level", "1/3")).partition("/")
    return Options(
        trusting_period_ns=int(case["trusting_period_ns"]),
        clock_drift_ns=int(case["clock_drift_ns"]),
        trust_level=TrustLevel(int(numerator), int(denominator)),
    )


def time_in(value: Any) -> int:
    """Read an RFC 3339 time."""
    return parse_time(str(value))
