"""Records, receipts and bodies: what is written reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import actions, bodies, receipt, records
from ledger.receipt import Receipt
from ledger.records import (
    ChangeSummary,
    DesiredRecord,
    DesiredState,
    JudgementRecord,
    MetricRecord,
    ProposalRecord,
    ReleaseRecord,
    ReleaseState,
    ReportRecord,
    RevisionRecord,
)
from ledger.types import Did, ProposalState
from tests.support.refusal import outcome

COUNT = st.integers(0, 2**53 - 1)
POSITIVE = st.integers(1, 2**53 - 1)
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
CLUSTERS = st.sets(NAME, min_size=1, max_size=4).map(lambda names: tuple(sorted(names)))
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
DID = st.from_regex(r"did:key:z[1-9A-HJ-Za-km-z]{1,20}", fullmatch=True).map(Did)
KEYS = st.lists(st.just("z"), max_size=2).map(tuple)
JUDGEMENTS = st.lists(st.builds(JudgementRecord, HEX, DID, KEYS, HEX, COUNT), max_size=3).map(tuple)
OPTIONAL = st.none() | POSITIVE
CHANGE = st.builds(
    ChangeSummary, st.sampled_from(["apply", "rollback"]), NAME, OPTIONAL, CLUSTERS | st.just(())
)
STATES = st.sampled_from(ProposalState)
METRICS = st.lists(st.builds(MetricRecord, st.just("o"), NAME, COUNT, COUNT), max_size=2).map(tuple)
READERS: dict[type, Any] = {
    DesiredRecord: records.read_desired,
    ProposalRecord: records.read_proposal,
    ReleaseRecord: records.read_release,
    RevisionRecord: records.read_revision,
    ReportRecord: records.read_report,
}
RECORDS = st.one_of(
    st.builds(DesiredRecord, NAME, NAME, POSITIVE, st.sampled_from(DesiredState), st.booleans(), COUNT),
    st.builds(
        ProposalRecord, HEX, POSITIVE, HEX, DID, STATES, COUNT, COUNT, HEX, CHANGE, st.none() | NAME,
        JUDGEMENTS, JUDGEMENTS, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL,
    ),
    st.builds(ReleaseRecord, NAME, NAME, POSITIVE, CLUSTERS, OPTIONAL, st.sampled_from(ReleaseState)),
    st.builds(RevisionRecord, NAME, POSITIVE, HEX, HEX, HEX, COUNT, COUNT, CLUSTERS, OPTIONAL, OPTIONAL),
    st.builds(
        ReportRecord, NAME, NAME, POSITIVE, POSITIVE, st.sampled_from(actions.OUTCOMES),
        st.sampled_from(actions.HEALTHS), st.just(({"object": "x"},)), METRICS, COUNT, COUNT, DID,
    ),
)  # fmt: skip


@pytest.mark.requires("ledger.record-round-trip")
@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_records_read_back(record: Any) -> None:
    content = records.write(record)
    assert READERS[type(record)](content) == record
    assert records.write(READERS[type(record)](content)) == content


@pytest.mark.requires("ledger.record-strict")
@settings(max_examples=100, deadline=None)
@given(RECORDS, st.data())
def test_a_damaged_record_is_refused_or_reads_as_what_it_says(record: Any, data: st.DataObject) -> None:
    content = records.write(record)
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + data.draw(st.binary(max_size=2)) + content[at + 1 :]
    for read in READERS.values():
        value, code = outcome(lambda read=read: read(changed))  # type: ignore[misc]
        assert (value is None) == bool(code)


@pytest.mark.requires("ledger.receipt-round-trip")
@settings(max_examples=80, deadline=None)
@given(st.builds(Receipt, HEX, COUNT, st.none() | HEX, OPTIONAL, st.none() | STATES, OPTIONAL))
def test_receipts_read_back(written: Receipt) -> None:
    assert receipt.from_bytes(written.to_bytes()) == written


@pytest.mark.requires("ledger.action-round-trip")
@settings(max_examples=80, deadline=None)
@given(
    st.builds(
        actions.Report,
        NAME, NAME, POSITIVE, POSITIVE, st.sampled_from(actions.OUTCOMES), st.sampled_from(actions.HEALTHS),
        st.lists(
            st.fixed_dictionaries(
                {
                    "object": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
                    "outcome": st.sampled_from(actions.OBJECT_OUTCOMES),
                    "health": st.sampled_from(actions.HEALTHS),
                    "code": st.integers(0, 9999),
                }
            ),
            max_size=3,
        ).map(tuple),
    )
)  # fmt: skip
def test_reports_read_back(report: actions.Report) -> None:
    assert actions.read_action(bodies.report_body(report), image_digest_required=True) == report
