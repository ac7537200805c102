"""The replicated machine: what each action does to the state. The executable specification of the ledger.

Owns state transitions. Promises that they depend on the arguments alone, that every transaction of a block
gets exactly one result, and that a refused one changes nothing but its signer's nonce. Never reads a clock,
draws randomness, or performs I/O.

Source: docs/spec/ledger.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abci_app import rules
from abci_app.check import Admitted, Constants, Opened, admit, identity_of
from ledger import records, statekeys
from ledger.errors import Code, Refused
from ledger.limits import RELEASES_PER_CLUSTER_MAX
from ledger.proposal import Judgement, Proposal, Release, Report
from ledger.receipt import Receipt
from ledger.records import (
    ChangeSummary,
    JudgementRecord,
    ProposalRecord,
    ReleaseRecord,
    ReportRecord,
    RevisionRecord,
)
from ledger.roles import DEFAULT_RULE, ApprovalRule, decide
from ledger.types import ActionKind, ProposalState
from state.reader import Overlay, StateReader

Opener = Callable[[bytes], Opened]
"""``check.open_envelope`` with the ledger's constants bound, possibly remembering."""


@dataclass(frozen=True, slots=True)
class TxResult:
    """The consensus part of a transaction's result, and the refusal for people's eyes."""

    code: Code
    data: bytes
    refusal: Refused | None


def apply_block(
    state: Overlay, txs: Sequence[bytes], height: int, constants: Constants, open_tx: Opener
) -> list[TxResult]:
    """Apply a block's transactions in order.

    Args:
        state: an overlay over the state of ``height - 1``; holds the changes afterwards.
        txs: any bytes.
        height: the block's.
        constants: of the ledger.
        open_tx: opens one transaction.

    Returns:
        One result a transaction, same order.
    """
    return [_apply(state, tx, height, constants, open_tx) for tx in txs]


def _apply(state: Overlay, tx: bytes, height: int, constants: Constants, open_tx: Opener) -> TxResult:
    try:
        admitted = admit(open_tx(tx), state, height)
    except Refused as refusal:
        return TxResult(refusal.code, b"", refusal)
    # From here on the envelope is used up, so that a refused one can never take effect later.
    use_nonce(state, admitted)
    attempt = Overlay(state)
    try:
        receipt = execute(attempt, admitted, tx, height, constants)
    except Refused as refusal:
        return TxResult(refusal.code, b"", refusal)
    attempt.commit_into_parent()
    return TxResult(Code.OK, receipt.to_bytes(), None)


def use_nonce(state: Overlay, admitted: Admitted) -> None:
    """Record on ``state`` that the signer's nonce is used."""
    state.put(statekeys.nonce(admitted.opened.envelope.signer), records.write(admitted.nonces))


def check_action(state: StateReader, admitted: Admitted, height: int) -> None:
    """Judge whether an admitted action keeps the rules on ``state``. CheckTx asks no more than this.

    Args:
        state: what the action would meet.
        admitted: by ``check.admit`` on the same state.
        height: the block's.

    Raises:
        Refused: whatever rule the action breaks.
    """
    match admitted.opened.action:
        case Proposal() as proposal:
            _check_change(state, proposal)
            _rule(state, DEFAULT_RULE)
        case Judgement() as judgement:
            record = _judged(state, judgement)
            rules.check_open(record, height)
            rules.check_judgement(record, judgement, admitted.opened.envelope.signer)
        case Report() as report:
            content = state.get(statekeys.report(report.cluster, report.release))
            last = None if content is None else records.read_report(content)
            rules.check_report(report, admitted.signer, release_record(state, report.release), last)


def execute(state: Overlay, admitted: Admitted, tx: bytes, height: int, constants: Constants) -> Receipt:
    """Perform an admitted action.

    Args:
        state: where changes go; to be thrown away if this raises.
        admitted: by ``check.admit`` on the same state.
        tx: the transaction's bytes, kept as evidence.
        height: the block's.
        constants: of the ledger.

    Raises:
        Refused: whatever rule the action breaks.
    """
    check_action(state, admitted, height)
    match admitted.opened.action:
        case Proposal() as proposal:
            return _propose(state, admitted, proposal, tx, height, constants)
        case Judgement() as judgement:
            return _judge(state, admitted, judgement, tx, height)
        case Report() as report:
            return _report(state, admitted, report, tx, height)


def _propose(
    state: Overlay, admitted: Admitted, proposal: Proposal, tx: bytes, height: int, constants: Constants
) -> Receipt:
    opened = admitted.opened
    number = records.read_count(state.get(statekeys.PROPOSALS)) + 1
    record = ProposalRecord(
        id=opened.id,
        number=number,
        digest=opened.digest,
        proposer=opened.envelope.signer,
        state=ProposalState.OPEN,
        height=height,
        expires=height + constants.proposal_ttl_blocks,
        rule=DEFAULT_RULE,
        change=_summary(proposal),
    )
    state.put(statekeys.PROPOSALS, records.write_count(number))
    state.put(statekeys.proposal_number(number), records.write_number(opened.id))
    state.put(statekeys.proposal(opened.id), records.write(record))
    state.put(statekeys.envelope(opened.id), tx)
    return Receipt(opened.id, height, opened.id, number, record.state)


def _judge(state: Overlay, admitted: Admitted, judgement: Judgement, tx: bytes, height: int) -> Receipt:
    opened = admitted.opened
    record = _judged(state, judgement)
    entry = JudgementRecord(opened.id, opened.envelope.signer, height)
    if judgement.kind is ActionKind.REJECTION:
        record = dataclasses.replace(
            record, rejections=(*record.rejections, entry), state=ProposalState.REJECTED
        )
    else:
        record = dataclasses.replace(record, approvals=(*record.approvals, entry))
        if _is_approved(state, record):
            revision = _finalize(state, record, height)
            record = dataclasses.replace(
                record, state=ProposalState.FINAL, final_height=height, revision=revision
            )
    state.put(statekeys.proposal(record.id), records.write(record))
    state.put(statekeys.envelope(opened.id), tx)
    return Receipt(opened.id, height, record.id, record.number, record.state, record.revision)


def _judged(state: StateReader, judgement: Judgement) -> ProposalRecord:
    content = state.get(statekeys.proposal(judgement.proposal))
    if content is None:
        raise Refused(Code.PROPOSAL_UNKNOWN, got=judgement.proposal, expected="a proposal of the ledger")
    return records.read_proposal(content)


def _rule(state: StateReader, name: str) -> ApprovalRule:
    content = state.get(statekeys.rule(name))
    if content is None:
        raise Refused(Code.NO_RULE_MATCHES, got=name, expected="a rule of the ledger")
    return records.read_rule(content)


def _is_approved(state: StateReader, record: ProposalRecord) -> bool:
    approvers = [identity_of(state, entry.signer) for entry in record.approvals]
    return decide(_rule(state, record.rule), approvers).approved


def _finalize(state: Overlay, record: ProposalRecord, height: int) -> int:
    """Turn an approved proposal into the release's next revision; give its number."""
    current = release_record(state, record.change.release)
    rules.check_against(current, record.change.against)
    number = (current.revision if current else 0) + 1
    if record.change.to_revision is None:
        content, digest = record.id, record.digest
        clusters = record.change.clusters
        rules.check_release_clusters(clusters, cluster_names(state), current)
    else:
        rules.check_revision(current, record.change.release, record.change.to_revision)
        target = state.get(statekeys.revision(record.change.release, record.change.to_revision))
        assert target is not None
        source = records.read_revision(target)
        content, digest = source.content, source.digest
        clusters = current.clusters if current else source.clusters
    revision = RevisionRecord(
        release=record.change.release,
        revision=number,
        content=content,
        authority=record.id,
        digest=digest,
        height=height,
        clusters=clusters,
        rollback_of=record.change.to_revision,
    )
    _index(state, revision, current)
    state.put(statekeys.revision(revision.release, number), records.write(revision))
    state.put(
        statekeys.release(revision.release), records.write(ReleaseRecord(revision.release, number, clusters))
    )
    return number


def _index(state: Overlay, revision: RevisionRecord, current: ReleaseRecord | None) -> None:
    if current is None:
        _insert(state, statekeys.INDEX_RELEASES, revision.release)
    for cluster in revision.clusters:
        if current is None or cluster not in current.clusters:
            _insert(state, statekeys.cluster_releases(cluster), revision.release)


def _insert(state: Overlay, index: bytes, name: str) -> None:
    names = records.read_names(state.get(index))
    if len(names) >= RELEASES_PER_CLUSTER_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=len(names) + 1, expected=f"at most {RELEASES_PER_CLUSTER_MAX} releases"
        )
    state.put(index, records.write_names(tuple(sorted({*names, name}))))


def _report(state: Overlay, admitted: Admitted, report: Report, tx: bytes, height: int) -> Receipt:
    opened = admitted.opened
    record = ReportRecord(
        cluster=report.cluster,
        release=report.release,
        revision=report.revision,
        sequence=report.sequence,
        outcome=report.outcome,
        health=report.health,
        objects=report.objects,
        height=height,
        reporter=opened.envelope.signer,
    )
    state.put(statekeys.report(report.cluster, report.release), records.write(record))
    state.put(statekeys.report_envelope(report.cluster, report.release), tx)
    return Receipt(opened.id, height)


def _check_change(state: StateReader, proposal: Proposal) -> None:
    change = proposal.change
    current = release_record(state, change.name if isinstance(change, Release) else change.release)
    if isinstance(change, Release):
        rules.check_release_clusters(change.clusters, cluster_names(state), current)
    else:
        rules.check_revision(current, change.release, change.to_revision)
    rules.check_against(current, proposal.against)


def _summary(proposal: Proposal) -> ChangeSummary:
    change = proposal.change
    if isinstance(change, Release):
        return ChangeSummary("release", change.name, None, change.clusters, proposal.against)
    return ChangeSummary("rollback", change.release, change.to_revision, (), proposal.against)


def release_record(state: StateReader, name: str) -> ReleaseRecord | None:
    """Give a release's record, or None where there is no such release."""
    content = state.get(statekeys.release(name))
    return None if content is None else records.read_release(content)


def cluster_names(state: StateReader) -> frozenset[str]:
    """Give the names of the ledger's clusters."""
    return frozenset(records.read_names(state.get(statekeys.INDEX_CLUSTERS)))
