"""The admission rules: one claim a function, over frozen records.

Owns every condition an envelope must meet besides its own shape. Promises to read nothing but its
arguments; raises ``Refused`` and never changes state.

Source: docs/spec/ledger.md §1 and §2.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.actions import Judgement, Report
from ledger.envelope import Envelope
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    NOT_AFTER_HORIZON_BLOCKS_MAX,
    REPORT_SEQUENCE_AHEAD_MAX,
)
from ledger.records import ProposalRecord, ReleaseRecord, ReleaseState, state_at
from ledger.types import ActionKind, Did, ProposalState, SubjectKind

_OWN_KEYS = frozenset({ActionKind.ROTATION, ActionKind.RECOVERY, ActionKind.DEACTIVATION})
_KINDS: Mapping[SubjectKind, frozenset[ActionKind]] = {
    SubjectKind.HUMAN: frozenset(ActionKind) - {ActionKind.REPORT, ActionKind.ANCHOR, ActionKind.OBSERVATION},
    SubjectKind.AGENT: _OWN_KEYS | {ActionKind.PROPOSAL, ActionKind.OBSERVATION},
    SubjectKind.NODE: _OWN_KEYS | {ActionKind.REPORT, ActionKind.SUSPENSION, ActionKind.ANCHOR},
    SubjectKind.ORGANISATION: _OWN_KEYS,
}
"""What a kind of subject may ever do, whatever its roles; besides, it may always revoke its own keys and
reject its own proposals."""


def check_height(envelope: Envelope, height: int) -> None:
    """The envelope may be included at ``height``: not after its last one, nor valid absurdly long.

    Raises:
        Refused: ENVELOPE_EXPIRED or NOT_AFTER_TOO_FAR.
    """
    if height > envelope.not_after_height:
        raise Refused(
            Code.ENVELOPE_EXPIRED,
            got=f"height {height}",
            expected=f"at most {envelope.not_after_height}",
            todo="sign again with a later last height",
        )
    if envelope.not_after_height > height + NOT_AFTER_HORIZON_BLOCKS_MAX:
        raise Refused(
            Code.NOT_AFTER_TOO_FAR,
            got=envelope.not_after_height,
            expected=f"at most {height + NOT_AFTER_HORIZON_BLOCKS_MAX}",
            todo="sign again with a nearer last height",
        )


def check_kind(signer: IdentityRecord, action: ActionKind, *, own: bool = False) -> None:
    """The signer's kind of subject performs this kind of action.

    Args:
        signer: who.
        action: what.
        own: a revocation of the signer's own keys, or a rejection of its own proposal, which everybody may.

    Raises:
        Refused: AGENT_MAY_NOT_APPROVE or VERB_NOT_ALLOWED.
    """
    if action in _KINDS[signer.kind] or own:
        return
    judging = action in (ActionKind.APPROVAL, ActionKind.REJECTION)
    if signer.kind is SubjectKind.AGENT and judging:
        raise Refused(
            Code.AGENT_MAY_NOT_APPROVE,
            got=f"agent {signer.name}",
            expected="a human",
            todo="ask a human to review the proposal",
        )
    raise Refused(
        Code.VERB_NOT_ALLOWED,
        got=f"{signer.kind.value} {signer.name}: {action.value}",
        expected=", ".join(sorted(a.value for a in _KINDS[signer.kind])),
    )


def check_open(record: ProposalRecord, height: int, *, rejecting: bool = False) -> None:
    """The proposal can still be judged at ``height``; one that waits for its delay can only be rejected.

    Raises:
        Refused: PROPOSAL_NOT_OPEN or PROPOSAL_EXPIRED.
    """
    state = state_at(record, height)
    if state is ProposalState.EXPIRED:
        raise Refused(
            Code.PROPOSAL_EXPIRED,
            got=f"height {height}",
            expected=f"at most {record.expires}",
            todo="propose again",
            number=record.number,
        )
    if state is not ProposalState.OPEN and not (rejecting and state is ProposalState.APPROVED):
        raise Refused(
            Code.PROPOSAL_NOT_OPEN, got=state.value, expected=ProposalState.OPEN.value, number=record.number
        )


def check_judgement(record: ProposalRecord, judgement: Judgement, signer: Did) -> None:
    """The judgement means exactly this proposal and requirement, and the signer has not judged it so before.

    Who has approved may still reject: nobody is bound to stand by what they learn to be wrong.

    Raises:
        Refused: APPROVAL_DIGEST_MISMATCH, REQUIREMENT_CHANGED, APPROVAL_DUPLICATE or LIMIT_EXCEEDED.
    """
    if judgement.digest != record.digest:
        raise Refused(
            Code.APPROVAL_DIGEST_MISMATCH,
            got=judgement.digest,
            expected=record.digest,
            todo="review the proposal as it is on the ledger and approve that",
            number=record.number,
        )
    if judgement.requirement != record.requirement:
        raise Refused(
            Code.REQUIREMENT_CHANGED,
            got=judgement.requirement,
            expected=record.requirement,
            todo="look at what is required now and approve again",
            number=record.number,
        )
    judged = (*record.approvals, *record.rejections)
    final = record.rejections if judgement.kind is ActionKind.REJECTION else judged
    if any(entry.signer == signer and entry.requirement == record.requirement for entry in final):
        raise Refused(
            Code.APPROVAL_DUPLICATE,
            got=signer,
            expected="one judgement a subject, or a rejection that takes an approval back",
            number=record.number,
        )
    if sum(entry.signer != signer for entry in judged) >= APPROVALS_PER_PROPOSAL_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=len(judged), expected=f"at most {APPROVALS_PER_PROPOSAL_MAX}")


def check_release_clusters(
    clusters: tuple[str, ...], unknown: tuple[str, ...], current: ReleaseRecord | None
) -> None:
    """The release targets known clusters, and none that it already runs on is dropped.

    Dropping one would leave its objects there without an owner.

    Args:
        clusters: those it names.
        unknown: those of them the ledger does not have.
        current: the release so far.

    Raises:
        Refused: CLUSTER_UNKNOWN or RELEASE_CLUSTERS_CHANGED.
    """
    if unknown:
        raise Refused(
            Code.CLUSTER_UNKNOWN, got=unknown[0], expected="a cluster of the ledger", field="spec.clusters"
        )
    dropped = [c for c in clusters_of(current) if c not in clusters]
    if dropped:
        raise Refused(
            Code.RELEASE_CLUSTERS_CHANGED,
            got=f"without {dropped[0]}",
            expected="all clusters of the newest revision, or more",
            field="spec.clusters",
        )


def check_against(current: ReleaseRecord | None, against: int | None) -> None:
    """The release has not moved on since the change was made for it.

    Raises:
        Refused: REVISION_CONFLICT.
    """
    newest = current.revision if current else 0
    if against is not None and against != newest:
        raise Refused(
            Code.REVISION_CONFLICT,
            got=f"a change of revision {against}",
            expected=f"one of revision {newest}, the newest",
            todo="compare with the newest revision and propose again",
        )


def check_revision(current: ReleaseRecord | None, name: str, revision: int) -> None:
    """The release has had this revision.

    Raises:
        Refused: RELEASE_UNKNOWN or REVISION_UNKNOWN.
    """
    if current is None:
        raise Refused(Code.RELEASE_UNKNOWN, got=name, expected="a release of the ledger")
    if revision > current.revision:
        raise Refused(Code.REVISION_UNKNOWN, got=revision, expected=f"1 … {current.revision}", release=name)


def check_active(current: ReleaseRecord | None, name: str) -> ReleaseRecord:
    """The release exists and was not deleted. Gives it.

    Raises:
        Refused: RELEASE_UNKNOWN or RELEASE_NOT_ACTIVE.
    """
    if current is None:
        raise Refused(Code.RELEASE_UNKNOWN, got=name, expected="a release of the ledger")
    if current.state is ReleaseState.DELETED:
        raise Refused(
            Code.RELEASE_NOT_ACTIVE, got=current.state.value, expected="a release that is there", release=name
        )
    return current


def clusters_of(current: ReleaseRecord | None) -> tuple[str, ...]:
    """Give the clusters a release is on; none once it was deleted."""
    return () if current is None or current.state is ReleaseState.DELETED else current.clusters


def check_report(
    report: Report, reporter: IdentityRecord, current: ReleaseRecord | None, last_sequence: int
) -> None:
    """The report comes from the cluster's own node, on a revision it was given, after the cluster's last one.

    Raises:
        Refused: REPORTER_NOT_OF_CLUSTER, RELEASE_UNKNOWN, REVISION_UNKNOWN, CLUSTER_UNKNOWN,
            REPORT_SEQUENCE_STALE or REPORT_SEQUENCE_TOO_FAR.
    """
    if reporter.cluster != report.cluster:
        raise Refused(
            Code.REPORTER_NOT_OF_CLUSTER,
            got=f"{reporter.name} of cluster {reporter.cluster}",
            expected=f"the node of cluster {report.cluster}",
        )
    check_revision(current, report.release, report.revision)
    if current is not None and report.cluster not in current.clusters:
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=report.cluster,
            expected="a cluster the release targets",
            release=report.release,
        )
    if report.sequence <= last_sequence:
        raise Refused(Code.REPORT_SEQUENCE_STALE, got=report.sequence, expected=f"above {last_sequence}")
    if report.sequence > last_sequence + REPORT_SEQUENCE_AHEAD_MAX:
        # One report by a stolen key must not use up all that the cluster will ever have to say.
        raise Refused(
            Code.REPORT_SEQUENCE_TOO_FAR,
            got=report.sequence,
            expected=f"at most {last_sequence + REPORT_SEQUENCE_AHEAD_MAX}",
            todo="report with the sequence after the last one",
        )
