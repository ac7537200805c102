"""Audit records as flat events, and the specification's own words on them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.types import JsonObject
from mcp_server.audit import limits
from mcp_server.audit.digests import Digest
from mcp_server.audit.records import (
    Anchored,
    Decision,
    Ended,
    Head,
    Outcome,
    Record,
    Refusals,
    Segment,
    Started,
    Verdict,
)
from mcp_server.audit.siem import event
from tests.support.auditing import AGENT, BEGIN_NS

SPEC = (Path(__file__).resolve().parents[3] / "docs" / "spec" / "mcp-audit.md").read_text()
HEADER = Segment("ab" * 32, 1, "did:key:z6Mk", "z6Mk", "chain", "sha256", 64)
CALL = "cd" * 16


def flat(body: object) -> JsonObject:
    return event(Record(9, "00" * 32, BEGIN_NS, body), "ef" * 32, HEADER)  # type: ignore[arg-type]


@pytest.mark.requires("audit.siem")
def test_a_refused_call_is_an_alert_with_who_what_and_why() -> None:
    reasons = ({"code": 906, "name": "SECRET_FOUND"}, {"code": 908, "name": "FIRST_TOUCH"})
    body = Decision(CALL, "tool", "get_object", AGENT, "z6Mk", Digest(11, "aa" * 32), Verdict.REFUSE, reasons)
    found = flat(body)
    assert found["@timestamp"] == "2027-01-15T08:00:00Z"
    assert (found["event.kind"], found["event.type"], found["event.outcome"]) == (
        "alert",
        ["denied"],
        "failure",
    )
    assert (found["event.code"], found["event.reason"]) == ("SECRET_FOUND", "SECRET_FOUND, FIRST_TOUCH")
    assert (found["user.id"], found["event.id"], found["conclave.call.name"]) == (AGENT, CALL, "get_object")
    allowed = flat(Decision(CALL, "tool", "x", None, None, Digest(2, "aa" * 32), Verdict.ALLOW))
    assert (allowed["event.kind"], allowed["event.type"]) == ("event", ["allowed"])
    assert "user.id" not in allowed
    ended = flat(Outcome(CALL, Ended.ANSWERED, (), 7, Digest(3, "bb" * 32), 1500))
    assert (ended["event.duration"], ended["conclave.ledger.height"]) == (1_500_000, 7)


@pytest.mark.requires("audit.siem")
def test_every_event_is_flat_and_every_field_of_it_is_specified() -> None:
    reason: JsonObject = {"code": 1, "name": "N"}
    events = [
        flat(Decision(CALL, "tool", "x", AGENT, "k", Digest(1, "a"), Verdict.WARN, (reason,))),
        flat(Refusals({"TOKEN_INVALID": 3, "DPOP_INVALID": 1})),
        flat(Outcome(CALL, Ended.ANSWERED, (), 7, Digest(3, "b"), 1)),
        flat(Started("1", Digest(5, "c"), (CALL,))),
        flat(Anchored(3, "d", 9)),
        flat(HEADER),
        flat(Head(bytes(64))),
    ]
    told = SPEC[SPEC.index("## 6") :]
    for found in events:
        for name, value in found.items():
            items = value if isinstance(value, list) else [value]
            assert all(type(item) in (str, int, bool) for item in items), name
            assert f"`{name}`" in told, name


@pytest.mark.requires("audit.siem")
def test_the_specification_gives_the_limits_that_hold() -> None:
    written = re.sub(r"\s+", " ", SPEC)
    for words in (
        f"at most {limits.LINE_BYTES_MAX // 1024} KiB",
        f"after {limits.HEAD_RECORDS_MAX} records, {limits.HEAD_SECONDS:.0f} s",
        f"over {limits.HEAD_RECORDS_MAX + limits.HEAD_RECORDS_SLACK} records without a head",
        f"after {limits.ANCHOR_RECORDS} records, or {limits.ANCHOR_SECONDS:.0f} s",
        f"at most {limits.LOGS_MAX} folders",
        f"cut at {limits.NAME_CHARACTERS_MAX} characters",
        f"at most {limits.REASONS_MAX} of",
        f"{limits.SEGMENT_BYTES // 2**20} MiB or a day",
    ):
        assert words in written, words
