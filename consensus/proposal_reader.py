"""Proposals, answered with proof.

Promises that a proposal is found under its own number and id, and that what it says is what its proposer
signed. Every function takes a ``View`` and gives a ``Verified`` value.
"""

from __future__ import annotations

from consensus.evidence import Evidence, Get, required, unbound
from consensus.ledger_reader import PAGE_MAX, count_of
from consensus.operators import proposed as signed_proposal
from consensus.reader import View
from consensus.verified import Verified
from ledger import records, statekeys
from ledger.actions import Proposal
from ledger.errors import Code, Refused
from ledger.records import ProposalRecord


def proposal(view: View, which: str | int) -> Verified[ProposalRecord]:
    """Give a proposal by id or number.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
    """
    return view.read(lambda get: proposal_of(get, which))


def proposals(view: View, *, newest: int = PAGE_MAX) -> Verified[tuple[ProposalRecord, ...]]:
    """Give the ``newest`` proposals, the newest first."""
    return view.read(lambda get: _proposals(get, min(newest, PAGE_MAX)))


def proposed(view: View, which: str | int) -> Verified[Proposal]:
    """Give what a proposal says, its proposer's signature verified; approved or not.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
        VerificationFailed: OPERATOR_SIGNATURE_INVALID, LEDGER_RECORD_INVALID.
    """
    known = Evidence(view.chain_id)
    return view.read(lambda get: signed_proposal(get, known, proposal_of(get, which))[1])


def proposal_of(get: Get, which: str | int) -> ProposalRecord:
    """Give a proposal by id or number.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    identifier = which
    if isinstance(which, int):
        key = statekeys.proposal_number(which) if 0 < which < 10**10 else b""
        if not key or get(key) is None:
            raise _unknown(which)
        identifier = required(get, key, records.read_number)
    key = statekeys.proposal(str(identifier))
    if get(key) is None:
        raise _unknown(which)
    record = required(get, key, records.read_proposal)
    if record.id != identifier or (isinstance(which, int) and record.number != which):
        raise unbound(key, f"{record.id}, number {record.number}", which)
    return record


def _proposals(get: Get, newest: int) -> tuple[ProposalRecord, ...]:
    count = count_of(get, statekeys.PROPOSALS)
    return tuple(proposal_of(get, n) for n in range(count, max(0, count - newest), -1))


def _unknown(which: str | int) -> Refused:
    return Refused(
        Code.PROPOSAL_UNKNOWN,
        got=which,
        expected="the number or id of a proposal of the ledger",
        todo="see: conclave get proposals",
    )
