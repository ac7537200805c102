"""The admission rules: one claim a function, over frozen records.

Owns every condition an envelope must meet besides its own shape. Promises to read nothing but its
arguments; raises ``Refused`` and never changes state.

Source: docs/spec/ledger.md §1 and §2.
"""

from __future__ import annotations

from ledger.envelope import Envelope
from ledger.errors import Code, Refused
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    NONCE_WINDOW_SIZE,
    NOT_AFTER_HORIZON_BLOCKS_MAX,
)
from ledger.proposal import Judgement, Report
from ledger.records import NonceWindow, ProposalRecord, ReleaseRecord, ReportRecord, state_at
from ledger.roles import Identity
from ledger.types import Did, ProposalState

_WINDOW_MASK = (1 << NONCE_WINDOW_SIZE) - 1


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


def use_nonce(window: NonceWindow, nonce: int) -> NonceWindow:
    """The nonce is fresh: above the highest used, or unused inside the window. Gives the window after it.

    Raises:
        Refused: NONCE_REPLAYED or NONCE_TOO_OLD.
    """
    if nonce > window.highest:
        shift = nonce - window.highest
        seen = (window.seen << shift) & _WINDOW_MASK if shift < NONCE_WINDOW_SIZE else 0
        return NonceWindow(nonce, seen | 1)
    age = window.highest - nonce
    if age >= NONCE_WINDOW_SIZE:
        raise Refused(
            Code.NONCE_TOO_OLD,
            got=nonce,
            expected=f"above {window.highest - NONCE_WINDOW_SIZE}",
            todo="sign again with a fresh nonce",
        )
    if window.seen >> age & 1:
        raise Refused(
            Code.NONCE_REPLAYED,
            got=nonce,
            expected="a nonce not used before",
            todo="sign again with a fresh nonce",
        )
    return NonceWindow(window.highest, window.seen | 1 << age)


def check_open(record: ProposalRecord, height: int) -> None:
    """The proposal can still be judged at ``height``.

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
    if state is not ProposalState.OPEN:
        raise Refused(
            Code.PROPOSAL_NOT_OPEN, got=state.value, expected=ProposalState.OPEN.value, number=record.number
        )


def check_judgement(record: ProposalRecord, judgement: Judgement, signer: Did) -> None:
    """The judgement means exactly this proposal, and the signer has not judged it before.

    Raises:
        Refused: APPROVAL_DIGEST_MISMATCH, APPROVAL_DUPLICATE or LIMIT_EXCEEDED.
    """
    if judgement.digest != record.digest:
        raise Refused(
            Code.APPROVAL_DIGEST_MISMATCH,
            got=judgement.digest,
            expected=record.digest,
            todo="review the proposal as it is on the ledger and approve that",
            number=record.number,
        )
    judged = (*record.approvals, *record.rejections)
    if any(entry.signer == signer for entry in judged):
        raise Refused(
            Code.APPROVAL_DUPLICATE, got=signer, expected="one judgement a subject", number=record.number
        )
    if len(judged) >= APPROVALS_PER_PROPOSAL_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=len(judged), expected=f"at most {APPROVALS_PER_PROPOSAL_MAX}")


def check_release_clusters(
    clusters: tuple[str, ...], known: frozenset[str], current: ReleaseRecord | None
) -> None:
    """The release targets known clusters, and none that it already runs on is dropped.

    Dropping one would leave its objects there without an owner.

    Raises:
        Refused: CLUSTER_UNKNOWN or RELEASE_CLUSTERS_CHANGED.
    """
    unknown = [c for c in clusters if c not in known]
    if unknown:
        raise Refused(
            Code.CLUSTER_UNKNOWN, got=unknown[0], expected="a cluster of the ledger", field="spec.clusters"
        )
    dropped = [c for c in (current.clusters if current else ()) if c not in clusters]
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


def check_report(
    report: Report, reporter: Identity, current: ReleaseRecord | None, last: ReportRecord | None
) -> None:
    """The report comes from the cluster's own node, on a revision it was given, after the last one.

    Raises:
        Refused: REPORTER_NOT_OF_CLUSTER, RELEASE_UNKNOWN, REVISION_UNKNOWN, CLUSTER_UNKNOWN or
            REPORT_SEQUENCE_STALE.
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
    if last is not None and report.sequence <= last.sequence:
        raise Refused(Code.REPORT_SEQUENCE_STALE, got=report.sequence, expected=f"above {last.sequence}")
