"""What operators approved, judged again by every verifier.

Owns the re-verification of a proposal that the ledger says is final. Promises that consensus alone is never
enough: the proposer's and every approver's signature must verify under keys they had then, bind to the record
beside it, and together satisfy the requirement that follows from the constitution in force. Works on any
getter of proven values; performs no I/O itself. Source: docs/spec/authority.md §3 to §5.

What is believed of the ledger without the operators: that a version of the constitution and an identity are
what their records say (they are changed by proposals of their own, which can be verified likewise), which
signed revision a release had before (whose proposal can be verified likewise), that nobody rejected in time,
that a delay was kept, and how often a break-glass object had been used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from consensus.constitution import constitution_for, record_in_force, records_at
from consensus.evidence import (
    Evidence,
    Get,
    Said,
    ahead,
    identity_at,
    open_envelope,
    optional,
    required,
    speaker,
    unbound,
)
from consensus.scopes import scopes_of
from ledger import records, statekeys
from ledger.actions import Judgement, Proposal, summary_of
from ledger.authority.constitution import Constitution, check_may
from ledger.authority.decision import Voice, check_member, counted, decide
from ledger.authority.objects import Verb
from ledger.authority.requirement import Requirement, break_glass_requirement, requirement
from ledger.authority.scope import Scope
from ledger.changes import Release
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.identity import IdentityRecord
from ledger.limits import PROPOSAL_TTL_BLOCKS_MAX
from ledger.records import JudgementRecord, ProposalRecord
from ledger.types import ActionKind, ProposalState

__all__ = [
    "Approved",
    "Evidence",
    "Get",
    "Said",
    "approved",
    "open_envelope",
    "optional",
    "proposed",
    "required",
    "speaker",
    "unbound",
]


@dataclass(frozen=True, slots=True)
class Approved:
    """A final proposal whose operators' signatures and approvals were verified again.

    Attributes:
        approvers: those whose approvals were counted, as they were when it became final.
        requirement: what it needed, and got.
    """

    record: ProposalRecord
    proposal: Proposal
    approvers: tuple[IdentityRecord, ...]
    requirement: Requirement


@dataclass(frozen=True, slots=True)
class _Approval:
    """An approval whose signature verifies, and its signer before and after the block that was decisive."""

    keys: tuple[str, ...]
    requirement: str
    before: IdentityRecord
    after: IdentityRecord


def approved(get: Get, evidence: Evidence, identifier: str) -> Approved:
    """Give a proposal if it is final and its operators' evidence says so too.

    Raises:
        VerificationFailed: PROPOSAL_UNDER_APPROVED where it is not final, APPROVALS_INSUFFICIENT where the
            verified approvals do not satisfy what the constitution requires, LEDGER_RECORD_INVALID,
            OPERATOR_SIGNATURE_INVALID.
    """
    key = statekeys.proposal(identifier)
    record = required(get, key, records.read_proposal)
    if record.state is not ProposalState.FINAL:
        raise VerificationFailed(
            Code.PROPOSAL_UNDER_APPROVED,
            got=record.state.value,
            expected=ProposalState.FINAL.value,
            todo="have it approved",
            proposal=identifier,
        )
    if record.id != identifier:
        raise unbound(key, record.id, "the id it is kept under")
    ahead(get, evidence.unknown([record.id, *(entry.envelope for entry in record.approvals)]))
    proposer, proposal = proposed(get, evidence, record)
    final = record.final_height
    if final is None or not record.height <= final:
        raise unbound(key, f"final at {final}", f"a height from {record.height}")
    approvals = tuple(_approval(get, evidence, record, entry, final) for entry in record.approvals)
    _check_proposer(get, evidence, record, proposal, proposer)
    version = record_in_force(get, record.constitution, final)
    subjects = {proposer.did, *(approval.after.did for approval in approvals)}
    constitution = constitution_for(get, version, subjects, record.break_glass)
    refusals: list[VerificationFailed] = []
    for scope in scopes_of(get, evidence, record, proposal, executed=True):
        try:
            needed = _requirement(get, constitution, record, scope)
            if record.break_glass is not None:
                with _refused_as(Code.OPERATOR_SIGNATURE_INVALID, key):
                    check_member(needed, proposer)
            approvers = _approvers(constitution, needed, scope, approvals, record)
        except VerificationFailed as failed:
            refusals.append(failed)
        else:
            return Approved(record, proposal, approvers, needed)
    raise refusals[0]


def proposed(get: Get, evidence: Evidence, record: ProposalRecord) -> tuple[IdentityRecord, Proposal]:
    """Give who proposed what a record says, their signature verified; approved or not.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    key = statekeys.proposal(record.id)
    said = evidence.said(get, record.id)
    proposer = speaker(get, said, ActionKind.PROPOSAL, record.height, key)
    proposal = said.action
    if not isinstance(proposal, Proposal):
        raise unbound(key, type(proposal).__name__, "a proposal")
    signed = (said.digest, said.envelope.signer, proposal.break_glass, summary_of(proposal))
    stated = (record.digest, record.proposer, record.break_glass, record.change)
    if signed != stated:
        raise unbound(key, stated, f"what was signed: {signed}")
    return proposer, proposal


def _approval(
    get: Get, evidence: Evidence, record: ProposalRecord, entry: JudgementRecord, final: int
) -> _Approval:
    key = statekeys.envelope(entry.envelope)
    said = evidence.said(get, entry.envelope)
    signer = speaker(get, said, ActionKind.APPROVAL, entry.height, key)
    expected = Judgement(ActionKind.APPROVAL, record.id, record.digest, entry.requirement)
    if said.action != expected or (signer.did, said.keys) != (entry.signer, entry.keys):
        raise unbound(key, said.action, f"an approval of proposal {record.id} by {entry.signer}")
    if not record.height <= entry.height <= final:
        raise unbound(key, f"height {entry.height}", f"{record.height} … {final}")
    after = identity_at(get, signer.did, final) or signer
    before = identity_at(get, signer.did, final - 1) or after
    return _Approval(said.keys, entry.requirement, before, after)


def _voices(approvals: tuple[_Approval, ...]) -> Iterator[list[Voice]]:
    """Give the approvals as they counted when the decisive block began, and when it ended.

    The machine judged somewhere in between, and a revocation in the same block may have come before or after.
    """
    for order in ((True, False), (False, True)):
        voices = []
        for approval in approvals:
            sides = [approval.before if before else approval.after for before in order]
            heard = next((side for side in sides if _is_heard(side, approval.keys)), sides[0])
            revoked = not _is_heard(heard, approval.keys)
            voices.append(Voice(heard, keys_revoked=revoked, requirement=approval.requirement))
        yield voices


def _is_heard(subject: IdentityRecord, keys: tuple[str, ...]) -> bool:
    return subject.is_active and not any(subject.is_revoked(key_id) for key_id in keys)


def _approvers(
    constitution: Constitution,
    needed: Requirement,
    scope: Scope,
    approvals: tuple[_Approval, ...],
    record: ProposalRecord,
) -> tuple[IdentityRecord, ...]:
    final = record.final_height or 0
    identities = {approval.after.did: approval.after for approval in approvals}
    for voices in _voices(approvals):
        decision = decide(constitution, needed, scope, voices, final)
        if decision.approved:
            return tuple(identities[s.did] for s in counted(constitution, needed, scope, voices, final))
    raise VerificationFailed(
        Code.APPROVALS_INSUFFICIENT,
        got=f"{decision.humans} humans of {decision.organisations} organisations that count",
        expected=f"what constitution {record.constitution} requires; missing: {decision.missing()}",
        proposal=record.id,
    )


def _check_proposer(
    get: Get, evidence: Evidence, record: ProposalRecord, proposal: Proposal, proposer: IdentityRecord
) -> None:
    """The proposer might propose such a change when they did; of a break-glass object, see ``approved``."""
    if record.break_glass is not None:
        return
    newest = record_in_force(get, record.constitution, record.final_height or 0)
    scopes = scopes_of(get, evidence, record, proposal, executed=False)
    if isinstance(proposal.change, Release) and not proposal.change.clusters:
        # The selector may have chosen fewer clusters then: one is enough to have been among them.
        scopes += tuple(dataclasses.replace(s, clusters=(c,)) for s in scopes for c in s.clusters)
    constitutions = [
        constitution_for(get, version, (proposer.did,)) for version in records_at(get, newest, record.height)
    ]
    refusals: list[Refused] = []
    for constitution, scope in itertools.product(constitutions, scopes):
        try:
            check_may(constitution, proposer, Verb.PROPOSE, scope, record.height)
        except Refused as refusal:
            refusals.append(refusal)
        else:
            return
    with _refused_as(Code.OPERATOR_SIGNATURE_INVALID, statekeys.proposal(record.id)):
        raise refusals[0]


@contextlib.contextmanager
def _refused_as(code: Code, key: bytes) -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        raise caused(VerificationFailed, code, refusal, key=statekeys.text(key)) from None


def _requirement(get: Get, constitution: Constitution, record: ProposalRecord, scope: Scope) -> Requirement:
    """Give what a change needed, which must be what its record says.

    Parameters have no versions, so the one that bounds how long a proposal may be judged is not known as of
    then. It gives no authority; it only has to be found again for the digest, which the approvers signed:
    from how long the proposal was given, from the parameter as it is now, or from the rules alone.
    """
    key = statekeys.proposal(record.id)
    present = required(get, statekeys.PARAMETERS, records.read_parameters).proposal_ttl_blocks
    with _refused_as(Code.APPROVALS_INSUFFICIENT, key):
        for ttl_blocks in (record.expires - record.height, present, PROPOSAL_TTL_BLOCKS_MAX):
            found = _required_with(constitution, record, scope, ttl_blocks)
            if found.digest == record.requirement:
                return found
    raise unbound(key, f"requirement {record.requirement}", f"what the constitution says: {found.digest}")


def _required_with(
    constitution: Constitution, record: ProposalRecord, scope: Scope, ttl_blocks: int
) -> Requirement:
    if record.break_glass is None:
        return requirement(constitution, scope, ttl_blocks)
    return break_glass_requirement(
        constitution,
        record.break_glass,
        scope,
        time=record.approved_time or 0,
        uses=0,
        ttl_blocks=ttl_blocks,
    )
