"""What a proof file's question means, asked of any view of the ledger.

Owns the answer to each question, and the approval trail: who said what, with which keys, at which height.
Promises that all judging is done by the ledger's own readers (``consensus.operators``, ``release_reader``,
``evidence``), and that asking a live node and asking a file are the same. Every value comes through
``View.read``.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus import operators, release_reader
from consensus.evidence import Evidence, Get, identity_at, unbound
from consensus.proof_file.form import Kind, Question
from consensus.reader import View
from consensus.scopes import revision_record
from ledger import statekeys
from ledger.identity import IdentityRecord
from ledger.records import ChangeSummary
from ledger.release import ReleaseRevision

PROPOSED = "proposed"
APPROVED = "approved"


@dataclass(frozen=True, slots=True)
class Voice:
    """One signed statement, its signatures verified.

    Attributes:
        act: ``proposed`` or ``approved``.
        who: the signer as of then.
        keys: ids of the keys that signed.
        envelope: id of what was signed.
        height: that included it, as the ledger's record says.
        counted: whether it counted towards the decision.
    """

    act: str
    who: IdentityRecord
    keys: tuple[str, ...]
    envelope: str
    height: int
    counted: bool


@dataclass(frozen=True, slots=True)
class Trail:
    """How one proposal became final.

    Attributes:
        id: the proposal's.
        number: its number.
        digest: of the body everybody signed for.
        reason: the proposer's words.
        change: what it changed.
        requirement: digest of what it needed.
        constitution: the version under which it was decided.
        final_height: the block that made it final.
        voices: the proposer first, then the approvals in the ledger's order.
    """

    id: str
    number: int
    digest: str
    reason: str
    change: ChangeSummary
    requirement: str
    constitution: int | None
    final_height: int
    voices: tuple[Voice, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer.

    Attributes:
        revision: of a release; None for everything else.
        trails: the proposals behind it; for a rollback the one that carried the content first.
        value: of a key; None where it is absent, or another question was asked.
    """

    revision: ReleaseRevision | None = None
    trails: tuple[Trail, ...] = ()
    value: bytes | None = None


def ask(view: View, question: Question) -> Finding:
    """Answer ``question`` from proven values.

    Raises:
        VerificationFailed: as ``operators.approved`` and ``View.get``.
        Refused: RELEASE_UNKNOWN, REVISION_UNKNOWN.
    """
    evidence = Evidence(view.chain_id)
    if question.kind is Kind.KEY:
        return Finding(value=view.get(question.name.encode()).value)
    if question.kind is Kind.PROPOSAL:
        return Finding(trails=(_trail(view, evidence, question.name),))
    if question.kind is Kind.RELEASE:
        return _release(view, evidence, question.name, question.revision or 0)
    return Finding()


def _release(view: View, evidence: Evidence, name: str, number: int) -> Finding:
    newest = release_reader.release_record(view, name).value.revision
    known = min(max(number, 1), newest)
    cluster = view.read(lambda get: revision_record(get, name, known)).value.clusters[0]
    found = release_reader.release(view, cluster, name, evidence=evidence, revision=number).value
    identifiers = dict.fromkeys((found.content_proposal, found.authority_proposal))
    return Finding(found, tuple(_trail(view, evidence, identifier) for identifier in identifiers))


def _trail(view: View, evidence: Evidence, identifier: str) -> Trail:
    return view.read(lambda get: _read_trail(get, evidence, identifier)).value


def _read_trail(get: Get, evidence: Evidence, identifier: str) -> Trail:
    approved = operators.approved(get, evidence, identifier)
    record = approved.record
    proposer, _ = operators.proposed(get, evidence, record)
    counted = {subject.did for subject in approved.approvers}
    voices = [
        Voice(PROPOSED, proposer, evidence.said(get, record.id).keys, record.id, record.height, counted=True)
    ]
    for entry in record.approvals:
        who = identity_at(get, entry.signer, entry.height)
        if who is None:
            raise unbound(statekeys.identity(entry.signer), "nobody", f"{entry.signer} at {entry.height}")
        is_counted = entry.signer in counted
        voices.append(Voice(APPROVED, who, entry.keys, entry.envelope, entry.height, counted=is_counted))
    return Trail(
        id=record.id,
        number=record.number,
        digest=record.digest,
        reason=approved.proposal.reason,
        change=record.change,
        requirement=record.requirement,
        constitution=record.constitution,
        final_height=record.final_height or 0,
        voices=tuple(voices),
    )
