"""State that proves correctly and is a lie: more than two thirds wrote it, the operators did not sign it.

Beside what ``tests/unit/consensus/test_release_reader.py`` shows of ``release.quorum-not-enough``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus import release_reader
from ledger import envelope as envelopes
from ledger import records, statekeys
from ledger.bodies import judgement_body, release_body, rollback_body
from ledger.errors import Code, VerificationFailed
from ledger.records import JudgementRecord, ProposalRecord
from ledger.types import ActionKind, Did
from tests.support.ledger import (
    ALICE,
    BOB,
    CAROL,
    EAST,
    Ledger,
    Node,
    Subject,
    a_release,
    envelope,
)
from tests.unit.consensus.ledgers import reader_of

NAME = "guestbook"
NEWEST_REVISION = 3
MALLORY = Subject("mallory", "human", "b")
Lie = Callable[[Ledger], None]


def a_ledger() -> Ledger:
    """Give a ledger of three revisions, the last a rollback to the first."""
    ledger = Ledger()
    ledger.commit()
    ledger.release("one")
    ledger.release("two")
    ledger.roll_back(1)
    return ledger


def _at(ledger: Ledger, key: bytes) -> bytes:
    return ledger.values[ledger.height][key]


def _proposal(ledger: Ledger, number: int) -> ProposalRecord:
    identifier = records.read_number(_at(ledger, statekeys.proposal_number(number)))
    return records.read_proposal(_at(ledger, statekeys.proposal(identifier)))


def _second_approval(tx_of: Callable[[ProposalRecord], bytes], who: Subject) -> Lie:
    """Let the newest proposal's second approval be this envelope, recorded as ``who``'s."""

    def lie(ledger: Ledger) -> None:
        record = _proposal(ledger, 3)
        tx = tx_of(record)
        identifier = _id(tx)
        entry = JudgementRecord(
            identifier, Did(who.did), (who.key_id,), record.requirement, record.final_height or 0
        )
        changed = dataclasses.replace(record, approvals=(record.approvals[0], entry))
        written = {statekeys.envelope(identifier): tx, statekeys.proposal(record.id): records.write(changed)}
        ledger.edit(ledger.height, dict(written))

    return lie


def _id(tx: bytes) -> str:
    return envelopes.envelope_id(envelopes.decode(tx))


def _approval(record: ProposalRecord) -> bytes:
    return judgement_body(ActionKind.APPROVAL, record.id, record.digest, record.requirement)


def _of_the_release(record: ProposalRecord) -> bytes:
    del record
    return release_body(a_release(text="evil"))


def _of_another_proposal(ledger: Ledger) -> None:
    """Count carol's approval of the first proposal for the newest."""
    record, first = _proposal(ledger, 3), _proposal(ledger, 1)
    changed = dataclasses.replace(record, approvals=(record.approvals[0], first.approvals[1]))
    ledger.edit(ledger.height, {statekeys.proposal(record.id): records.write(changed)})


def _sealed_for_another_chain(ledger: Ledger) -> None:
    """Let the whole proposal come from another ledger of the same operators."""
    record = _proposal(ledger, 3)
    tx = envelope(BOB, rollback_body(NAME, 1), chain_id="another-chain")
    ledger.edit(ledger.height, {statekeys.envelope(record.id): tx})


def _revision(number: int, **changes: object) -> Lie:
    def lie(ledger: Ledger) -> None:
        key = statekeys.revision(NAME, number)
        record = dataclasses.replace(records.read_revision(_at(ledger, key)), **changes)  # type: ignore[arg-type]
        ledger.edit(ledger.height, {key: records.write(record)})

    return lie


def _content_of(number: int) -> Lie:
    """Let the newest revision run the content of another proposal, digest and all."""

    def lie(ledger: Ledger) -> None:
        other = _proposal(ledger, number)
        _revision(NEWEST_REVISION, content=other.id, digest=other.digest)(ledger)

    return lie


def _both_rewritten(ledger: Ledger) -> None:
    """Rewrite the revision rolled back to as well, so that the two agree on a content nobody approved."""
    tx = envelope(ALICE, release_body(a_release(text="evil")))
    ledger.commit(tx)
    opened = ledger.open(tx)
    for number in (1, NEWEST_REVISION):
        _revision(number, content=opened.id, digest=opened.digest)(ledger)


def _no_such_revision(ledger: Ledger) -> None:
    """Point to a fourth revision under the authority of the third."""
    key = statekeys.release(NAME)
    record = dataclasses.replace(records.read_release(_at(ledger, key)), revision=4)
    third = records.read_revision(_at(ledger, statekeys.revision(NAME, NEWEST_REVISION)))
    fourth = dataclasses.replace(third, revision=4)
    wanted_key = statekeys.desired("east", NAME)
    wanted = dataclasses.replace(records.read_desired(_at(ledger, wanted_key)), revision=4)
    ledger.edit(
        ledger.height,
        {
            key: records.write(record),
            statekeys.revision(NAME, 4): records.write(fourth),
            wanted_key: records.write(wanted),
        },
    )


_LIES: dict[str, tuple[Lie, Code]] = {
    "an approval for another chain": (
        _second_approval(lambda r: envelope(CAROL, _approval(r), chain_id="another-chain"), CAROL),
        Code.OPERATOR_SIGNATURE_INVALID,
    ),
    "a node's approval": (
        _second_approval(lambda r: envelope(EAST, _approval(r)), EAST),
        Code.OPERATOR_SIGNATURE_INVALID,
    ),
    "a proposal as an approval": (
        _second_approval(lambda r: envelope(CAROL, _of_the_release(r)), CAROL),
        Code.LEDGER_RECORD_INVALID,
    ),
    "an approval by somebody the ledger does not know": (
        _second_approval(lambda r: envelope(MALLORY, _approval(r)), MALLORY),
        Code.LEDGER_RECORD_INVALID,
    ),
    "an approval of another proposal": (_of_another_proposal, Code.LEDGER_RECORD_INVALID),
    "a proposal for another chain": (_sealed_for_another_chain, Code.OPERATOR_SIGNATURE_INVALID),
    "a rollback to content that was approved, but not meant": (_content_of(2), Code.LEDGER_RECORD_INVALID),
    "content that is no release": (_content_of(3), Code.LEDGER_RECORD_INVALID),
    "content nobody approved, in both revisions": (_both_rewritten, Code.PROPOSAL_UNDER_APPROVED),
    "a rollback said to go elsewhere": (_revision(3, rollback_of=2), Code.LEDGER_RECORD_INVALID),
    "a rollback said to be none": (_revision(3, rollback_of=None), Code.LEDGER_RECORD_INVALID),
    "a digest swapped": (_revision(3, digest="cd" * 32), Code.LEDGER_RECORD_INVALID),
    "one approval, two revisions": (_no_such_revision, Code.LEDGER_RECORD_INVALID),
}


@pytest.mark.requires("redteam.hostile-quorum")
def test_the_truth_is_believed(tmp_path: Path) -> None:
    ledger = a_ledger()
    ledger.commit()
    found = release_reader.release(reader_of(Node(ledger), tmp_path).at(), "east", NAME).value
    assert (found.revision, found.manifests[0]["data"]) == (NEWEST_REVISION, {"text": "one"})


@pytest.mark.requires("redteam.hostile-quorum")
@pytest.mark.parametrize("name", _LIES)
def test_a_record_that_proves_and_lies_is_refused(name: str, tmp_path: Path) -> None:
    lie, code = _LIES[name]
    ledger = a_ledger()
    lie(ledger)
    ledger.commit()
    view = reader_of(Node(ledger), tmp_path).at()
    with pytest.raises(VerificationFailed) as refused:
        release_reader.release(view, "east", NAME)
    assert refused.value.code is code
