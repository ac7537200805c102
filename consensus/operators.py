"""What operators signed, judged again by every verifier.

Owns the re-verification of the evidence the ledger keeps: the envelopes of a proposal and of its
approvals, and the approval rule over them. Promises that consensus alone is never enough: the proposer's
and every approver's signature must verify, bind to the record beside it, and satisfy the rule. Works on
any getter of proven values; performs no I/O itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ledger import envelope as envelopes
from ledger import records, statekeys
from ledger.actions import Action, Judgement, Proposal, kind_of, read_action
from ledger.changes import Release
from ledger.envelope import Envelope
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.keys import DID_KEY_PREFIX
from ledger.records import JudgementRecord, ProposalRecord
from ledger.roles import Identity, check_verb, decide
from ledger.types import ActionKind, ProposalState

R = TypeVar("R")
Get = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Said:
    """An envelope whose signatures verify under its signer's key, and its action."""

    envelope: Envelope
    digest: str
    action: Action


@dataclass(frozen=True, slots=True)
class Approved:
    """A final proposal whose operators' signatures and approvals were verified again."""

    record: ProposalRecord
    proposal: Proposal
    approvers: tuple[Identity, ...]


class Evidence:
    """Envelopes already judged, by id. An id is a hash of all that was signed, so one judgement is for ever.

    Args:
        chain_id: the chain.
        bytes_max: how many bytes of envelopes are remembered.
    """

    def __init__(self, chain_id: str, bytes_max: int = 32 * 1024 * 1024) -> None:
        self.chain_id, self._bytes_max, self._bytes = chain_id, bytes_max, 0
        self._said: OrderedDict[str, Said] = OrderedDict()

    def said(self, get: Get, identifier: str) -> Said:
        """Give the envelope ``identifier``, its signatures verified.

        Raises:
            VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
        """
        known = self._said.get(identifier)
        if known is not None:
            self._said.move_to_end(identifier)
            return known
        key = statekeys.envelope(identifier)
        said = open_envelope(required(get, key, lambda content: content), self.chain_id, key)
        if envelopes.envelope_id(said.envelope) != identifier:
            raise unbound(key, envelopes.envelope_id(said.envelope), identifier)
        self._said[identifier] = said
        self._bytes += len(said.envelope.body)
        while self._bytes > self._bytes_max and len(self._said) > 1:
            self._bytes -= len(self._said.popitem(last=False)[1].envelope.body)
        return said


def required(get: Get, key: bytes, read: Callable[[bytes], R]) -> R:
    """Read the record at ``key``, which another record promises to exist.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID where it is absent or not understood.
    """
    content = get(key)
    if content is None:
        raise unbound(key, "nothing", "the record another one names")
    try:
        return read(content)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key=statekeys.text(key)
        ) from None


def unbound(key: bytes, got: object, expected: object) -> VerificationFailed:
    """Make the refusal of a record that does not fit the one that names it."""
    return VerificationFailed(
        Code.LEDGER_RECORD_INVALID, got=got, expected=str(expected), key=statekeys.text(key)
    )


def open_envelope(content: bytes, chain_id: str, key: bytes) -> Said:
    """Open an envelope the ledger keeps and verify every signature on it.

    Raises:
        VerificationFailed: OPERATOR_SIGNATURE_INVALID, with the cause.
    """
    try:
        envelope = envelopes.decode(content)
        keys = frozenset({envelope.signer.removeprefix(DID_KEY_PREFIX)})
        envelopes.verify_signatures(envelope, chain_id=chain_id, signer_keys=keys)
        # Pinning was judged by the parameters of its time; what was signed is judged here.
        action = read_action(envelope.body, image_digest_required=False)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.OPERATOR_SIGNATURE_INVALID, refusal, key=statekeys.text(key)
        ) from None
    return Said(envelope, envelope.digest, action)


def speaker(get: Get, said: Said, kind: ActionKind, key: bytes) -> Identity:
    """Give the identity that spoke, if it may say such a thing.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    identity = required(get, statekeys.identity(said.envelope.signer), records.read_identity)
    if identity.did != said.envelope.signer or kind_of(said.action) is not kind:
        raise unbound(key, f"{kind_of(said.action)} by {identity.did}", f"{kind} by {said.envelope.signer}")
    try:
        check_verb(identity, kind)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.OPERATOR_SIGNATURE_INVALID, refusal, key=statekeys.text(key)
        ) from None
    return identity


def approved(get: Get, evidence: Evidence, identifier: str) -> Approved:
    """Give a proposal if it is final and its operators' evidence says so too.

    Raises:
        VerificationFailed: PROPOSAL_UNDER_APPROVED where it is not final, APPROVALS_INSUFFICIENT where the
            verified approvals do not satisfy its rule, LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
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
    proposal = _proposed(get, evidence, record, key)
    approvers = tuple(_approver(get, evidence, record, entry) for entry in record.approvals)
    rule = required(get, statekeys.rule(record.rule), records.read_rule)
    decision = decide(rule, approvers)
    if rule.name != record.rule or not decision.approved:
        raise VerificationFailed(
            Code.APPROVALS_INSUFFICIENT,
            got=f"{decision.humans} humans of {decision.organisations} organisations",
            expected=f"{rule.humans} of {rule.organisations}, rule {record.rule}",
            proposal=identifier,
        )
    return Approved(record, proposal, approvers)


def _proposed(get: Get, evidence: Evidence, record: ProposalRecord, key: bytes) -> Proposal:
    said = evidence.said(get, record.id)
    speaker(get, said, ActionKind.PROPOSAL, key)
    proposal = said.action
    if not isinstance(proposal, Proposal) or key != statekeys.proposal(record.id):
        raise unbound(key, record.id, "the id it is kept under")
    bound = (said.digest, said.envelope.signer, *_change(proposal))
    stated = (
        record.digest,
        record.proposer,
        record.change.kind,
        record.change.release,
        record.change.to_revision,
        record.change.clusters,
        record.change.against,
    )
    if bound != stated or record.height > said.envelope.not_after_height:
        raise unbound(key, stated, f"what was signed: {bound}")
    return proposal


def _change(proposal: Proposal) -> tuple[str, str, int | None, tuple[str, ...], int | None]:
    change = proposal.change
    if isinstance(change, Release):
        return ("release", change.name, None, change.clusters, proposal.against)
    return ("rollback", change.release, change.to_revision, (), proposal.against)


def _approver(get: Get, evidence: Evidence, record: ProposalRecord, entry: JudgementRecord) -> Identity:
    key = statekeys.envelope(entry.envelope)
    said = evidence.said(get, entry.envelope)
    identity = speaker(get, said, ActionKind.APPROVAL, key)
    judgement = said.action
    expected = Judgement(ActionKind.APPROVAL, record.id, record.digest, "")
    if judgement != expected or identity.did != entry.signer:
        raise unbound(key, judgement, f"an approval of proposal {record.id} by {entry.signer}")
    if entry.height > said.envelope.not_after_height:
        raise unbound(key, f"included at {entry.height}", f"at most {said.envelope.not_after_height}")
    return identity
