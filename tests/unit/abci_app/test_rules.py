"""The admission rules, one by one."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest

from abci_app import rules
from ledger import envelope
from ledger.actions import Judgement
from ledger.errors import Code
from ledger.identity import did_key_identity
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    JSON_INTEGER_MAX,
    NOT_AFTER_HORIZON_BLOCKS_MAX,
    REPORT_SEQUENCE_AHEAD_MAX,
)
from ledger.records import (
    ChangeSummary,
    JudgementRecord,
    ProposalRecord,
    ReleaseRecord,
    ReleaseState,
)
from ledger.types import ActionKind, Did, ProposalState, SubjectKind
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE, BOB, DIGEST, report_of, seal
from tests.support.subjects import NODE as OTHER

ENVELOPE = envelope.decode(seal(ALICE, b"{}", 1, not_after=100))
RULE = "ef" * 32
RECORD = ProposalRecord(
    "ab" * 32, 1, DIGEST, ALICE.did, ProposalState.OPEN, 5, 55, RULE,
    ChangeSummary("apply", "web", None, ("east",)),
)  # fmt: skip
APPROVAL = Judgement(ActionKind.APPROVAL, RECORD.id, DIGEST, RULE)
NODE = did_key_identity(OTHER.did, "n", SubjectKind.NODE, "a", "east", 0)
RELEASE = ReleaseRecord("web", "demo", 2, ("east", "west"), None, ReleaseState.ACTIVE)
ALLOWED = {
    SubjectKind.HUMAN: set(ActionKind) - {ActionKind.REPORT, ActionKind.ANCHOR, ActionKind.OBSERVATION},
    SubjectKind.AGENT: {ActionKind.PROPOSAL, ActionKind.OBSERVATION},
    SubjectKind.NODE: {ActionKind.REPORT, ActionKind.SUSPENSION, ActionKind.ANCHOR},
    SubjectKind.ORGANISATION: set[ActionKind](),
}
OWN_KEYS = {ActionKind.ROTATION, ActionKind.RECOVERY, ActionKind.DEACTIVATION}


@pytest.mark.requires("ledger.verbs")
@pytest.mark.parametrize("kind", SubjectKind)
@pytest.mark.parametrize("action", ActionKind)
def test_what_each_kind_of_subject_may_ever_do(kind: SubjectKind, action: ActionKind) -> None:
    subject = dataclasses.replace(NODE, kind=kind)
    rules.check_kind(subject, ActionKind.REVOCATION, own=True)
    if action in ALLOWED[kind] | OWN_KEYS:
        rules.check_kind(subject, action)
        return
    judging = action in (ActionKind.APPROVAL, ActionKind.REJECTION)
    agent = kind is SubjectKind.AGENT and judging
    code = Code.AGENT_MAY_NOT_APPROVE if agent else Code.VERB_NOT_ALLOWED
    refusal_of(lambda: rules.check_kind(subject, action), code)


@pytest.mark.requires("abci.height-window")
def test_an_envelope_is_included_up_to_its_last_height() -> None:
    rules.check_height(ENVELOPE, 1)
    rules.check_height(ENVELOPE, 100)
    refusal_of(lambda: rules.check_height(ENVELOPE, 101), Code.ENVELOPE_EXPIRED)
    far = dataclasses.replace(ENVELOPE, not_after_height=NOT_AFTER_HORIZON_BLOCKS_MAX + 5)
    rules.check_height(far, 5)
    refusal_of(lambda: rules.check_height(far, 4), Code.NOT_AFTER_TOO_FAR)


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


@pytest.mark.requires("abci.approval-requirement")
def test_a_judgement_means_exactly_this_requirement() -> None:
    other = dataclasses.replace(APPROVAL, requirement="00" * 32)
    refusal_of(lambda: rules.check_judgement(RECORD, other, BOB.did), Code.REQUIREMENT_CHANGED)
    earlier = JudgementRecord(DIGEST, BOB.did, ("z",), "00" * 32, 5)
    again = dataclasses.replace(RECORD, approvals=(earlier,))
    rules.check_judgement(again, APPROVAL, BOB.did)


@pytest.mark.requires("abci.approval-once")
def test_one_judgement_a_subject_and_a_bounded_number() -> None:
    mine = JudgementRecord(DIGEST, BOB.did, ("z",), RULE, 5)
    for record in (
        dataclasses.replace(RECORD, approvals=(mine,)),
        dataclasses.replace(RECORD, rejections=(mine,)),
    ):
        refusal_of(
            lambda record=record: rules.check_judgement(record, APPROVAL, BOB.did),  # type: ignore[misc]
            Code.APPROVAL_DUPLICATE,
        )
        rules.check_judgement(record, APPROVAL, ALICE.did)
    approved = dataclasses.replace(RECORD, approvals=(mine,))
    rejected = dataclasses.replace(RECORD, rejections=(mine,))
    rejection = dataclasses.replace(APPROVAL, kind=ActionKind.REJECTION)
    rules.check_judgement(approved, rejection, BOB.did)
    refusal_of(lambda: rules.check_judgement(rejected, rejection, BOB.did), Code.APPROVAL_DUPLICATE)
    many = tuple(
        JudgementRecord(DIGEST, Did(f"did:key:{i}"), ("z",), RULE, 5)
        for i in range(APPROVALS_PER_PROPOSAL_MAX)
    )
    full = dataclasses.replace(RECORD, approvals=many)
    refusal_of(lambda: rules.check_judgement(full, APPROVAL, BOB.did), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("abci.release-clusters")
def test_a_release_keeps_the_clusters_it_has() -> None:
    rules.check_release_clusters(("east",), (), None)
    rules.check_release_clusters(("east", "north", "west"), (), RELEASE)
    refusal_of(lambda: rules.check_release_clusters(("south",), ("south",), None), Code.CLUSTER_UNKNOWN)
    refusal_of(lambda: rules.check_release_clusters(("east",), (), RELEASE), Code.RELEASE_CLUSTERS_CHANGED)
    gone = dataclasses.replace(RELEASE, state=ReleaseState.DELETED)
    rules.check_release_clusters(("east",), (), gone)


@pytest.mark.requires("abci.release-active")
def test_a_deleted_release_is_over() -> None:
    assert rules.check_active(RELEASE, "web") is RELEASE
    withdrawn = dataclasses.replace(RELEASE, state=ReleaseState.WITHDRAWN)
    assert rules.check_active(withdrawn, "web") is withdrawn
    gone = dataclasses.replace(RELEASE, state=ReleaseState.DELETED)
    refusal_of(lambda: rules.check_active(gone, "web"), Code.RELEASE_NOT_ACTIVE)
    refusal_of(lambda: rules.check_active(None, "web"), Code.RELEASE_UNKNOWN)
    assert rules.clusters_of(gone) == ()


@pytest.mark.requires("abci.rollback-target")
def test_a_rollback_names_a_revision_that_was() -> None:
    rules.check_revision(RELEASE, "web", 1)
    rules.check_revision(RELEASE, "web", 2)
    refusal_of(lambda: rules.check_revision(RELEASE, "web", 3), Code.REVISION_UNKNOWN)
    refusal_of(lambda: rules.check_revision(None, "web", 1), Code.RELEASE_UNKNOWN)


@pytest.mark.requires("abci.report-rules")
def test_a_report_is_of_the_reporters_cluster_on_a_revision_it_was_given() -> None:
    rules.check_report(report_of(), NODE, RELEASE, 0)
    rules.check_report(report_of(revision=2), NODE, RELEASE, 0)
    west = dataclasses.replace(NODE, cluster="west")
    refusal_of(lambda: rules.check_report(report_of(), west, RELEASE, 0), Code.REPORTER_NOT_OF_CLUSTER)
    nowhere = dataclasses.replace(NODE, cluster=None)
    refusal_of(lambda: rules.check_report(report_of(), nowhere, RELEASE, 0), Code.REPORTER_NOT_OF_CLUSTER)
    refusal_of(lambda: rules.check_report(report_of(), NODE, None, 0), Code.RELEASE_UNKNOWN)
    refusal_of(lambda: rules.check_report(report_of(revision=3), NODE, RELEASE, 0), Code.REVISION_UNKNOWN)
    elsewhere = dataclasses.replace(RELEASE, clusters=("west",))
    refusal_of(lambda: rules.check_report(report_of(), NODE, elsewhere, 0), Code.CLUSTER_UNKNOWN)


@pytest.mark.requires("abci.report-rules")
def test_reports_come_in_sequence() -> None:
    rules.check_report(report_of(sequence=6), NODE, RELEASE, 5)
    for sequence in (1, 4, 5):
        refusal_of(
            lambda sequence=sequence: rules.check_report(report_of(sequence=sequence), NODE, RELEASE, 5),  # type: ignore[misc]
            Code.REPORT_SEQUENCE_STALE,
        )
    far = 5 + REPORT_SEQUENCE_AHEAD_MAX
    rules.check_report(report_of(sequence=far), NODE, RELEASE, 5)
    for sequence in (far + 1, JSON_INTEGER_MAX):
        refusal_of(
            partial(rules.check_report, report_of(sequence=sequence), NODE, RELEASE, 5),
            Code.REPORT_SEQUENCE_TOO_FAR,
        )
