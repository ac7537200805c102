"""RFC 3339 times in integer nanoseconds."""

from __future__ import annotations

import pytest

from consensus.light.timestamp import format_time, parse_time
from consensus.light.types import GO_ZERO_TIME_NS
from ledger.errors import Code, VerificationFailed


@pytest.mark.requires("light.times-exact")
@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", GO_ZERO_TIME_NS),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2023-05-17T14:12:53.605374524Z", 1_684_332_773_605_374_524),
        ("2024-02-29T00:00:00.1Z", 1_709_164_800_100_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799 * 10**9),
    ],
)
def test_both_ways(text: str, time_ns: int) -> None:
    assert parse_time(text) == time_ns
    assert format_time(time_ns) == text


@pytest.mark.requires("light.times-exact")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:00:60Z",
        "2023-01-01T00:00:00",
        "2023-01-01T00:00:00+01:00",
        "2023-01-01T00:00:00.1234567890Z",
        "2023-01-01t00:00:00Z",
        "٢٠٢٣-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2023-01-01T00:00:00Z\n",
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(VerificationFailed) as refused:
        parse_time(text)
    assert refused.value.code is Code.HEADER_MALFORMED
