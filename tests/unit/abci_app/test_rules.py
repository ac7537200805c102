"""The admission rules, one by one."""

from __future__ import annotations

import dataclasses

import pytest

from abci_app import rules
from ledger import envelope
from ledger.actions import Judgement
from ledger.errors import Code
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    JSON_INTEGER_MAX,
    NONCE_WINDOW_SIZE,
    NOT_AFTER_HORIZON_BLOCKS_MAX,
)
from ledger.records import (
    ChangeSummary,
    JudgementRecord,
    NonceWindow,
    ProposalRecord,
    ReleaseRecord,
    ReportRecord,
)
from ledger.roles import Identity
from ledger.types import ActionKind, Did, ProposalState, SubjectKind
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE, BOB, DIGEST, report_of, seal

ENVELOPE = envelope.decode(seal(ALICE, b"{}", 1, not_after=100))
RECORD = ProposalRecord(
    "ab" * 32, 1, DIGEST, ALICE.did, ProposalState.OPEN, 5, 55, "default",
    ChangeSummary("release", "web", None, ("east",)),
)  # fmt: skip
APPROVAL = Judgement(ActionKind.APPROVAL, RECORD.id, DIGEST, "")
NODE = Identity(Did("did:key:n"), "n", SubjectKind.NODE, "a", "east")
RELEASE = ReleaseRecord("web", 2, ("east", "west"))


@pytest.mark.requires("abci.height-window")
def test_an_envelope_is_included_up_to_its_last_height() -> None:
    rules.check_height(ENVELOPE, 1)
    rules.check_height(ENVELOPE, 100)
    refusal_of(lambda: rules.check_height(ENVELOPE, 101), Code.ENVELOPE_EXPIRED)
    far = dataclasses.replace(ENVELOPE, not_after_height=NOT_AFTER_HORIZON_BLOCKS_MAX + 5)
    rules.check_height(far, 5)
    refusal_of(lambda: rules.check_height(far, 4), Code.NOT_AFTER_TOO_FAR)


@pytest.mark.requires("abci.nonce-window")
def test_nonces_at_the_edges_of_the_window() -> None:
    window = rules.use_nonce(NonceWindow(0, 0), 100)
    assert window == NonceWindow(100, 1)
    window = rules.use_nonce(window, 100 - NONCE_WINDOW_SIZE + 1)
    assert window == NonceWindow(100, 1 | 1 << NONCE_WINDOW_SIZE - 1)
    refusal_of(lambda: rules.use_nonce(window, 100), Code.NONCE_REPLAYED)
    refusal_of(lambda: rules.use_nonce(window, 100 - NONCE_WINDOW_SIZE + 1), Code.NONCE_REPLAYED)
    refusal_of(lambda: rules.use_nonce(window, 100 - NONCE_WINDOW_SIZE), Code.NONCE_TOO_OLD)
    assert rules.use_nonce(window, 101) == NonceWindow(101, 0b11)
    assert rules.use_nonce(window, JSON_INTEGER_MAX) == NonceWindow(JSON_INTEGER_MAX, 1)
    assert rules.use_nonce(NonceWindow(0, 0), 1) == NonceWindow(1, 1)


@pytest.mark.requires("abci.proposal-open")
def test_only_an_open_proposal_is_judged_and_only_in_time() -> None:
    rules.check_open(RECORD, 55)
    refusal_of(lambda: rules.check_open(RECORD, 56), Code.PROPOSAL_EXPIRED)
    for state in (ProposalState.FINAL, ProposalState.REJECTED):
        closed = dataclasses.replace(RECORD, state=state)
        refusal_of(lambda closed=closed: rules.check_open(closed, 6), Code.PROPOSAL_NOT_OPEN)  # type: ignore[misc]


@pytest.mark.requires("abci.approval-exact")
def test_a_judgement_means_exactly_this_body() -> None:
    rules.check_judgement(RECORD, APPROVAL, BOB.did)
    other = dataclasses.replace(APPROVAL, digest="00" * 32)
    refusal_of(lambda: rules.check_judgement(RECORD, other, BOB.did), Code.APPROVAL_DIGEST_MISMATCH)


@pytest.mark.requires("abci.approval-once")
def test_one_judgement_a_subject_and_a_bounded_number() -> None:
    mine = JudgementRecord(DIGEST, BOB.did, 5)
    for record in (
        dataclasses.replace(RECORD, approvals=(mine,)),
        dataclasses.replace(RECORD, rejections=(mine,)),
    ):
        refusal_of(
            lambda record=record: rules.check_judgement(record, APPROVAL, BOB.did),  # type: ignore[misc]
            Code.APPROVAL_DUPLICATE,
        )
        rules.check_judgement(record, APPROVAL, ALICE.did)
    many = tuple(JudgementRecord(DIGEST, Did(f"did:key:{i}"), 5) for i in range(APPROVALS_PER_PROPOSAL_MAX))
    full = dataclasses.replace(RECORD, approvals=many)
    refusal_of(lambda: rules.check_judgement(full, APPROVAL, BOB.did), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("abci.release-clusters")
def test_a_release_keeps_the_clusters_it_has() -> None:
    known = frozenset({"east", "west", "north"})
    rules.check_release_clusters(("east",), known, None)
    rules.check_release_clusters(("east", "north", "west"), known, RELEASE)
    refusal_of(lambda: rules.check_release_clusters(("south",), known, None), Code.CLUSTER_UNKNOWN)
    refusal_of(lambda: rules.check_release_clusters(("east",), known, RELEASE), Code.RELEASE_CLUSTERS_CHANGED)


@pytest.mark.requires("abci.rollback-target")
def test_a_rollback_names_a_revision_that_was() -> None:
    rules.check_revision(RELEASE, "web", 1)
    rules.check_revision(RELEASE, "web", 2)
    refusal_of(lambda: rules.check_revision(RELEASE, "web", 3), Code.REVISION_UNKNOWN)
    refusal_of(lambda: rules.check_revision(None, "web", 1), Code.RELEASE_UNKNOWN)


@pytest.mark.requires("abci.report-rules")
def test_a_report_is_of_the_reporters_cluster_on_a_revision_it_was_given() -> None:
    rules.check_report(report_of(), NODE, RELEASE, None)
    rules.check_report(report_of(revision=2), NODE, RELEASE, None)
    west = dataclasses.replace(NODE, cluster="west")
    refusal_of(lambda: rules.check_report(report_of(), west, RELEASE, None), Code.REPORTER_NOT_OF_CLUSTER)
    nowhere = dataclasses.replace(NODE, cluster=None)
    refusal_of(lambda: rules.check_report(report_of(), nowhere, RELEASE, None), Code.REPORTER_NOT_OF_CLUSTER)
    refusal_of(lambda: rules.check_report(report_of(), NODE, None, None), Code.RELEASE_UNKNOWN)
    refusal_of(lambda: rules.check_report(report_of(revision=3), NODE, RELEASE, None), Code.REVISION_UNKNOWN)
    elsewhere = dataclasses.replace(RELEASE, clusters=("west",))
    refusal_of(lambda: rules.check_report(report_of(), NODE, elsewhere, None), Code.CLUSTER_UNKNOWN)


@pytest.mark.requires("abci.report-rules")
def test_reports_come_in_sequence() -> None:
    last = ReportRecord("east", "web", 1, 5, "applied", "current", (), 9, NODE.did)
    rules.check_report(report_of(sequence=6), NODE, RELEASE, last)
    for sequence in (1, 4, 5):
        refusal_of(
            lambda sequence=sequence: rules.check_report(report_of(sequence=sequence), NODE, RELEASE, last),  # type: ignore[misc]
            Code.REPORT_SEQUENCE_STALE,
        )
