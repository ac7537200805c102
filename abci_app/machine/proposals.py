"""Proposals: made, judged, executed.

Owns what becomes of a change that people ask for. Promises that nothing is executed without the requirement
that holds at that moment, by subjects who may approve it at that moment. Source: docs/spec/authority.md §3
to §5.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from abci_app import indexes, rules
from abci_app.check import Admitted, account_of, check_not_suspended, identity_of
from abci_app.machine import claims, configure, freezes, incidents, releases
from abci_app.machine.context import Context
from abci_app.machine.incidents import About
from abci_app.machine.world import (
    constitution_of,
    constitution_record,
    release_record,
    requirement_of,
    scope_of,
    unknown_clusters,
)
from ledger import account as accounts
from ledger import envelope as envelopes
from ledger import records, statekeys
from ledger.account import Account
from ledger.actions import Judgement, Proposal, read_action, summary_of
from ledger.authority.constitution import check_may
from ledger.authority.decision import Decision, Voice, check_member, check_voice, decide, denied
from ledger.authority.objects import Verb
from ledger.authority.requirement import Requirement
from ledger.authority.scope import Operation, Scope
from ledger.changes import Configure
from ledger.errors import Code, Refused
from ledger.receipt import Receipt
from ledger.records import ChangeSummary, IncidentKind, JudgementRecord, ProposalRecord, state_at
from ledger.types import ActionKind, ProposalState


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposal as it would be recorded: what it changes, its scope and what it requires."""

    change: ChangeSummary
    scope: Scope
    requirement: Requirement


def check_proposal(ctx: Context, admitted: Admitted, proposal: Proposal) -> Asked:
    """Judge whether a proposal may be made now.

    Raises:
        Refused: PERMISSION_DENIED, NO_RULE_MATCHES, BREAK_GLASS_INVALID, or whatever rule the change breaks.
    """
    opened, change = admitted.opened, summary_of(proposal)
    scope = scope_of(ctx.state, opened.id, change, opened.content)
    if change.release is not None:
        current = release_record(ctx.state, change.release)
        if change.operation == Operation.APPLY:
            unknown = unknown_clusters(ctx.state, scope.clusters)
            rules.check_release_clusters(scope.clusters, unknown, current)
        rules.check_against(current, change.against)
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, proposal.break_glass)
    if requirement.members is not None:
        check_member(requirement, admitted.signer)
    else:
        check_may(constitution_of(ctx.state), admitted.signer, Verb.PROPOSE, scope, ctx.height)
    if isinstance(proposal.change, Configure):
        # Tried on a fork, so that what could never be executed is never put to a vote.
        configure.apply(ctx.fork(), proposal.change, opened.id, admitted.signer)
    elif change.release is not None and change.operation in (Operation.APPLY, Operation.ROLLBACK):
        (coming, *_) = scope.judged_apart()
        claims.check(ctx.state, change.release, coming.touches, scope.clusters)
    return Asked(change, scope, requirement)


def propose(ctx: Context, admitted: Admitted, proposal: Proposal, tx: bytes) -> Receipt:
    """Record a proposal.

    Raises:
        Refused: as ``check_proposal``; OPEN_PROPOSALS_EXCEEDED.
    """
    asked = check_proposal(ctx, admitted, proposal)
    opened, did = admitted.opened, admitted.signer.did
    number = records.read_count(ctx.state.get(statekeys.PROPOSALS)) + 1
    expires = ctx.height + asked.requirement.ttl_blocks
    account = account_after(ctx, admitted, asked)
    ctx.state.put(statekeys.account(did), accounts.write(account))
    record = ProposalRecord(
        id=opened.id,
        number=number,
        digest=opened.digest,
        proposer=did,
        state=ProposalState.OPEN,
        height=ctx.height,
        expires=expires,
        requirement=asked.requirement.digest,
        change=asked.change,
        break_glass=proposal.break_glass,
    )
    ctx.state.put(statekeys.PROPOSALS, records.write_count(number))
    ctx.state.put(statekeys.proposal_number(number), records.write_number(opened.id))
    ctx.state.put(statekeys.envelope(opened.id), tx)
    if opened.content is not None:
        ctx.put(statekeys.content(opened.id), opened.content)
    _write(ctx, record)
    return Receipt(opened.id, ctx.height, opened.id, number, record.state)


def account_after(ctx: Context, admitted: Admitted, asked: Asked) -> Account:
    """Give the proposer's account with one more open proposal.

    Raises:
        Refused: OPEN_PROPOSALS_EXCEEDED.
    """
    expires = ctx.height + asked.requirement.ttl_blocks
    most = ctx.constants.parameters.open_proposals_max
    return accounts.open_proposal(admitted.account, expires, ctx.height, most)


def check_judgement(ctx: Context, admitted: Admitted, judgement: Judgement) -> tuple[ProposalRecord, Scope]:
    """Judge whether a judgement may be given now. Gives the proposal, its requirement brought up to date.

    Raises:
        Refused: PROPOSAL_UNKNOWN, PROPOSAL_NOT_OPEN, PROPOSAL_EXPIRED, AGENT_SUSPENDED,
            APPROVAL_DIGEST_MISMATCH, REQUIREMENT_CHANGED, APPROVAL_DUPLICATE, PERMISSION_DENIED, or what the
            change itself meets now.
    """
    record = existing_proposal(ctx, judgement.proposal)
    rejecting = judgement.kind is ActionKind.REJECTION
    rules.check_open(record, ctx.height, rejecting=rejecting)
    if not rejecting:
        check_not_suspended(ctx.state, identity_of(ctx.state, record.proposer))
    scope = scope_of(ctx.state, record.id, record.change, None)
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, record.break_glass)
    record = dataclasses.replace(record, requirement=requirement.digest)
    rules.check_judgement(record, judgement, admitted.signer.did)
    if not rejecting or admitted.signer.did != record.proposer:
        check_voice(constitution_of(ctx.state), requirement, admitted.signer, scope, ctx.height)
    return record, scope


def judge(ctx: Context, admitted: Admitted, judgement: Judgement, tx: bytes) -> Receipt:
    """Record a judgement; what it decides happens at once, or after the requirement's delay.

    Raises:
        Refused: as ``check_judgement``, and what the change meets when it is executed.
    """
    record, scope = check_judgement(ctx, admitted, judgement)
    opened, signer = admitted.opened, admitted.signer.did
    ctx.state.put(statekeys.envelope(opened.id), tx)
    entry = JudgementRecord(opened.id, signer, opened.keys, record.requirement, ctx.height)
    if judgement.kind is ActionKind.REJECTION:
        record = _reject(ctx, record, scope, entry)
    else:
        earlier = tuple(e for e in record.approvals if e.signer != signer)
        record = dataclasses.replace(record, approvals=(*earlier, entry))
        if decision_of(ctx, record, scope).approved:
            record = _approved(ctx, record, scope)
    _write(ctx, record)
    return Receipt(opened.id, ctx.height, record.id, record.number, record.state, record.revision)


def execute_due(ctx: Context, number: int) -> None:
    """Execute an approved proposal whose delay is over, if all that it needs still holds."""
    known = ctx.state.get(statekeys.proposal_number(number))
    assert known is not None, "a proposal of the agenda is not there"
    record = existing_proposal(ctx, records.read_number(known))
    if record.state is not ProposalState.APPROVED:
        return
    attempt = ctx.fork()
    try:
        # What an agent asked for before it was cut off is not done behind anybody's back.
        check_not_suspended(attempt.state, identity_of(attempt.state, record.proposer))
        scope = scope_of(attempt.state, record.id, record.change, None)
        requirement = requirement_of(attempt.state, scope, ctx.constants, ctx.time, record.break_glass)
        record = dataclasses.replace(record, requirement=requirement.digest)
        if not decision_of(attempt, record, scope).approved:
            record = dataclasses.replace(record, state=ProposalState.OPEN, approved_time=None)
        elif ctx.time < (record.approved_time or 0) + requirement.delay_seconds:
            _schedule(attempt, record, (record.approved_time or 0) + requirement.delay_seconds)
        else:
            record = _execute_unless_frozen(attempt, record, scope)
    except Refused as refusal:
        failed = dataclasses.replace(record, state=ProposalState.FAILED, code=int(refusal.code))
        _write(ctx, _closed(ctx, failed))
        return
    _write(attempt, record)
    ctx.merge(attempt)


def decision_of(ctx: Context, record: ProposalRecord, scope: Scope) -> Decision:
    """Judge the approvals of a proposal as they count now."""
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, record.break_glass)
    return decide(constitution_of(ctx.state), requirement, scope, _voices(ctx, record.approvals), ctx.height)


def existing_proposal(ctx: Context, identifier: str) -> ProposalRecord:
    """Give a proposal.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
    """
    content = ctx.state.get(statekeys.proposal(identifier))
    if content is None:
        raise Refused(Code.PROPOSAL_UNKNOWN, got=identifier, expected="a proposal of the ledger")
    return records.read_proposal(content)


def _voices(ctx: Context, entries: tuple[JudgementRecord, ...]) -> list[Voice]:
    voices = []
    for entry in entries:
        identity = identity_of(ctx.state, entry.signer)
        revoked = any(identity.is_revoked(key_id) for key_id in entry.keys)
        voices.append(Voice(identity, keys_revoked=revoked, requirement=entry.requirement))
    return voices


def _reject(ctx: Context, record: ProposalRecord, scope: Scope, entry: JudgementRecord) -> ProposalRecord:
    earlier = tuple(e for e in record.rejections if e.signer != entry.signer)
    approvals = tuple(e for e in record.approvals if e.signer != entry.signer)
    record = dataclasses.replace(record, rejections=(*earlier, entry), approvals=approvals)
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, record.break_glass)
    voices = _voices(ctx, record.rejections)
    if entry.signer != record.proposer and not denied(
        constitution_of(ctx.state), requirement, scope, voices, ctx.height
    ):
        return record
    return _closed(ctx, dataclasses.replace(record, state=ProposalState.REJECTED))


def _approved(ctx: Context, record: ProposalRecord, scope: Scope) -> ProposalRecord:
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, record.break_glass)
    record = dataclasses.replace(record, state=ProposalState.APPROVED, approved_time=ctx.time)
    if requirement.delay_seconds:
        _schedule(ctx, record, ctx.time + requirement.delay_seconds)
        return record
    return _execute_unless_frozen(ctx, record, scope)


def _execute_unless_frozen(ctx: Context, record: ProposalRecord, scope: Scope) -> ProposalRecord:
    frozen = freezes.on_scope(ctx.state, scope, record.change.release)
    if frozen is None or record.change.operation == Operation.CONFIGURE:
        return _execute(ctx, record)
    if ctx.height > record.expires:
        return _closed(ctx, dataclasses.replace(record, state=ProposalState.EXPIRED))
    freezes.hold(ctx, record.number)
    ctx.emit("held", proposal=record.id, number=record.number, freeze=frozen.name)
    return record


def _execute(ctx: Context, record: ProposalRecord) -> ProposalRecord:
    if record.break_glass is not None:
        _use_break_glass(ctx, record)
    version = constitution_record(ctx.state).version
    revision = None
    match Operation(record.change.operation):
        case Operation.APPLY:
            revision = releases.apply(ctx, record)
        case Operation.ROLLBACK:
            revision = releases.roll_back(ctx, record)
        case Operation.WITHDRAW:
            releases.withdraw(ctx, str(record.change.release))
        case Operation.DELETE:
            releases.delete(ctx, str(record.change.release), prune=record.change.prune)
        case Operation.CONFIGURE:
            granter = identity_of(ctx.state, record.proposer)
            configure.apply(ctx, change_of(ctx, record), record.id, granter)
    return _closed(
        ctx,
        dataclasses.replace(
            record,
            state=ProposalState.FINAL,
            final_height=ctx.height,
            constitution=version,
            revision=revision,
        ),
    )


def change_of(ctx: Context, record: ProposalRecord) -> Configure:
    """Give the change a configure proposal signed."""
    tx = ctx.state.get(statekeys.envelope(record.id))
    assert tx is not None, "the evidence of a proposal is not there"
    action = read_action(envelopes.decode(tx).body, image_digest_required=False)
    assert isinstance(action, Proposal), action
    assert isinstance(action.change, Configure), action
    return action.change


def _use_break_glass(ctx: Context, record: ProposalRecord) -> None:
    key = statekeys.break_glass_uses(str(record.break_glass))
    ctx.state.put(key, records.write_count(records.read_count(ctx.state.get(key)) + 1))
    incidents.record(
        ctx,
        IncidentKind.BREAK_GLASS,
        f"proposal {record.number} under {record.break_glass}",
        About(record.change.release, subject=record.proposer),
    )


def _closed(ctx: Context, record: ProposalRecord) -> ProposalRecord:
    """Give its place back to the proposer."""
    account = accounts.close_proposal(account_of(ctx.state, record.proposer), record.expires)
    ctx.state.put(statekeys.account(record.proposer), accounts.write(account))
    return record


def _schedule(ctx: Context, record: ProposalRecord, due: int) -> None:
    indexes.insert(ctx.state, statekeys.AGENDA, f"{due:012d}/execute/{record.number:010d}")


def _write(ctx: Context, record: ProposalRecord) -> None:
    ctx.put(statekeys.proposal(record.id), record)
    ctx.emit(
        "proposal",
        id=record.id,
        number=record.number,
        state=state_at(record, ctx.height).value,
        operation=record.change.operation,
        release=record.change.release,
        revision=record.revision,
        code=record.code,
    )
