"""RFC 3339 times as CometBFT prints them, in integer nanoseconds.

Owns parsing and printing, because Python's datetime stops at microseconds and at year 1 in other ways than
Go's. Promises exactness over years 1 … 9999. UTC (``Z``) only, up to nine decimals.
"""

from __future__ import annotations

import re

from consensus.light.types import SECOND_NS
from ledger.errors import Code, VerificationFailed

_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z", re.ASCII
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_TO_EPOCH = 719_162
"""Days from 0001-01-01 to 1970-01-01."""
_DAY_SECONDS = 86_400


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_before_year(year: int) -> int:
    past = year - 1
    return past * 365 + past // 4 - past // 100 + past // 400


def _month_days(year: int, month: int) -> int:
    return _MONTH_DAYS[month - 1] + (month == 2 and _is_leap(year))


def parse_time(text: str) -> int:
    """Read an RFC 3339 UTC time into nanoseconds since the Unix epoch.

    Raises:
        VerificationFailed: HEADER_MALFORMED for any other text.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise VerificationFailed(Code.HEADER_MALFORMED, got=text[:64], expected="an RFC 3339 UTC time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (
        year >= 1
        and 1 <= month <= 12
        and 1 <= day <= _month_days(year, month)
        and hour < 24
        and minute < 60
        and second < 60
    ):
        raise VerificationFailed(Code.HEADER_MALFORMED, got=text, expected="a date and time that exist")
    days = _days_before_year(year) + sum(_month_days(year, m) for m in range(1, month)) + day - 1
    seconds = (days - _DAYS_TO_EPOCH) * _DAY_SECONDS + hour * 3600 + minute * 60 + second
    return seconds * SECOND_NS + int((match[7] or "").ljust(9, "0"))


def format_time(time_ns: int) -> str:
    """Print nanoseconds since the epoch as RFC 3339 UTC, decimals only where needed (Go's RFC3339Nano)."""
    seconds, nanos = divmod(time_ns, SECOND_NS)
    days, rest = divmod(seconds, _DAY_SECONDS)
    days += _DAYS_TO_EPOCH
    year = days // 366 + 1
    while _days_before_year(year + 1) <= days:
        year += 1
    days -= _days_before_year(year)
    month = 1
    while days >= _month_days(year, month):
        days -= _month_days(year, month)
        month += 1
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{year:04d}-{month:02d}-{days + 1:02d}T{clock}{fraction}Z"
