"""Releases as a cluster must run them: every operator signature again, every record bound to the next.

The state here is what a dishonest quorum could write: consensus alone must not be enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from consensus.operators import Evidence
from consensus.reader import View
from ledger import records, statekeys
from ledger.actions import Proposal, Report
from ledger.bodies import judgement_body, release_body, report_body
from ledger.changes import Release
from ledger.errors import Code, Refused, VerificationFailed
from ledger.records import JudgementRecord, ProposalRecord, ReleaseRecord, ReleaseState
from ledger.types import ActionKind, Did, ProposalState
from tests.support.ledger import (
    ALICE,
    BOB,
    CAROL,
    EAST,
    ROBOT,
    Ledger,
    Node,
    Subject,
    a_release,
    envelope,
)
from tests.unit.consensus.ledgers import code_of, reader_of

NAME = "guestbook"
RULE = statekeys.ledger_object_version("ApprovalRule", "default", 1)


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.commit()
    made.release("one")
    return made


def _view(ledger: Ledger, folder: Path) -> View:
    ledger.commit()
    return reader_of(Node(ledger), folder).at()


@pytest.mark.requires("release.proven")
def test_a_release_is_what_the_operators_signed(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.release("two")
    found = release_reader.release(_view(ledger, tmp_path), "east", NAME).value
    assert (found.revision, found.authority_proposal, found.content_proposal) == (2, identifier, identifier)
    assert list(found.manifests) == a_release(text="two")["spec"]["manifests"]
    assert set(found.approvers) == {ALICE.did, CAROL.did}


@pytest.mark.requires("release.proven")
def test_an_earlier_revision_can_be_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    ledger.release("two")
    view = _view(ledger, tmp_path)
    assert release_reader.release(view, "east", NAME, revision=1).value.manifests[0]["data"] == {
        "text": "one"
    }
    with pytest.raises(Refused) as refused:
        release_reader.release(view, "east", NAME, revision=3)
    assert code_of(refused) is Code.REVISION_UNKNOWN


@pytest.mark.requires("release.rollback-proven")
def test_a_rollback_brings_back_the_signed_content(ledger: Ledger, tmp_path: Path) -> None:
    ledger.release("two")
    authority = ledger.roll_back(1)
    found = release_reader.release(_view(ledger, tmp_path), "east", NAME).value
    assert (found.revision, found.authority_proposal) == (3, authority)
    assert found.content_proposal != authority
    assert found.manifests[0]["data"] == {"text": "one"}


@pytest.mark.requires("release.proven")
def test_lists_are_complete_and_unknown_names_refused(ledger: Ledger, tmp_path: Path) -> None:
    view = _view(ledger, tmp_path)
    assert release_reader.releases(view, "east").value == (NAME,)
    assert release_reader.releases(view, "west").value == ()
    assert release_reader.all_releases(view).value == (NAME,)
    assert release_reader.clusters(view).value == ("east", "west")
    assert release_reader.parameters(view).value.image_digest_required
    assert [rule.name for rule in release_reader.rules(view).value] == ["default"]
    assert {identity.name for identity in release_reader.identities(view).value} >= {"alice", "robot"}
    for call, code in (
        (lambda: release_reader.releases(view, "nowhere"), Code.CLUSTER_UNKNOWN),
        (lambda: release_reader.release(view, "west", NAME), Code.RELEASE_UNKNOWN),
        (lambda: release_reader.release(view, "east", "none"), Code.RELEASE_UNKNOWN),
        (lambda: release_reader.history(view, "none"), Code.RELEASE_UNKNOWN),
        (lambda: release_reader.proposal(view, 9), Code.PROPOSAL_UNKNOWN),
        (lambda: release_reader.proposal(view, -1), Code.PROPOSAL_UNKNOWN),
        (lambda: release_reader.proposal(view, "ab" * 32), Code.PROPOSAL_UNKNOWN),
    ):
        with pytest.raises(Refused) as refused:
            call()
        assert code_of(refused) is code


@pytest.mark.requires("release.proposals-read")
def test_proposals_and_history(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.release("two")
    ledger.commit(envelope(ROBOT, release_body(a_release(text="three"))))
    view = _view(ledger, tmp_path)
    assert [p.number for p in release_reader.proposals(view).value] == [3, 2, 1]
    assert [p.number for p in release_reader.proposals(view, newest=1).value] == [3]
    assert release_reader.proposal(view, 2).value == release_reader.proposal(view, identifier).value
    assert release_reader.proposal(view, 3).value.state is ProposalState.OPEN
    said = release_reader.proposed(view, 3).value
    assert isinstance(said, Proposal)
    assert isinstance(said.change, Release)
    assert said.change.manifests[0]["data"] == {"text": "three"}
    assert [r.revision for r in release_reader.history(view, NAME).value] == [2, 1]


@pytest.mark.requires("release.evidence-once")
def test_envelopes_judged_once_are_not_fetched_again(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit()
    node = Node(ledger)
    reader = reader_of(node, tmp_path)
    evidence = Evidence(ledger.chain.chain_id)
    counts = []
    for _ in range(2):
        node.asked.clear()
        release_reader.release(reader.at(), "east", NAME, evidence=evidence)
        counts.append(node.asked.count("abci_query"))
    assert counts[0] - counts[1] == 3


def _proposal(ledger: Ledger) -> ProposalRecord:
    number = ledger.values[ledger.height][statekeys.proposal_number(1)]
    content = ledger.values[ledger.height][statekeys.proposal(records.read_number(number))]
    return records.read_proposal(content)


def _put(ledger: Ledger, record: ProposalRecord) -> None:
    ledger.edit(ledger.height, {statekeys.proposal(record.id): records.write(record)})


def _approvals(*kept: int) -> Callable[[Ledger], None]:
    def lie(ledger: Ledger) -> None:
        record = _proposal(ledger)
        _put(ledger, dataclasses.replace(record, approvals=tuple(record.approvals[i] for i in kept)))

    return lie


def _open(ledger: Ledger) -> None:
    _put(ledger, dataclasses.replace(_proposal(ledger), state=ProposalState.OPEN))


def _bytes_of(index: int, change: Callable[[bytes], bytes | None]) -> Callable[[Ledger], None]:
    def lie(ledger: Ledger) -> None:
        record = _proposal(ledger)
        identifier = record.id if index < 0 else record.approvals[index].envelope
        key = statekeys.envelope(identifier)
        ledger.edit(ledger.height, {key: change(ledger.values[ledger.height][key])})

    return lie


def _approved_by(
    subject: Subject,
    *,
    digest: str | None = None,
    kind: ActionKind = ActionKind.APPROVAL,
    named: Subject | None = None,
    requirement: str | None = None,
) -> Callable[[Ledger], None]:
    """Replace the second approval by one that ``subject`` really signed, recorded as ``named``'s."""

    def lie(ledger: Ledger) -> None:
        record = _proposal(ledger)
        required = requirement or record.requirement
        tx = envelope(subject, judgement_body(kind, record.id, digest or record.digest, required))
        opened = ledger.open(tx)
        keys = opened.keys if named is None else (named.key_id,)
        entry = JudgementRecord(opened.id, Did((named or subject).did), keys, required, 4)
        ledger.edit(ledger.height, {statekeys.envelope(opened.id): tx})
        _put(ledger, dataclasses.replace(record, approvals=(record.approvals[0], entry)))

    return lie


def _twice(ledger: Ledger) -> None:
    record = _proposal(ledger)
    _put(ledger, dataclasses.replace(record, approvals=(record.approvals[0], record.approvals[0])))


def _revision(**changes: object) -> Callable[[Ledger], None]:
    def lie(ledger: Ledger) -> None:
        key = statekeys.revision(NAME, 1)
        record = records.read_revision(ledger.values[ledger.height][key])
        ledger.edit(ledger.height, {key: records.write(dataclasses.replace(record, **changes))})  # type: ignore[arg-type]

    return lie


def _unapproved_content(ledger: Ledger) -> None:
    """Point the revision at another proposal that nobody approved."""
    tx = envelope(ROBOT, release_body(a_release(text="evil")))
    ledger.commit(tx)
    opened = ledger.open(tx)
    _revision(content=opened.id, digest=opened.digest)(ledger)


def _record(**changes: Any) -> Callable[[Ledger], None]:
    return lambda ledger: _put(ledger, dataclasses.replace(_proposal(ledger), **changes))


def _late_approval(ledger: Ledger) -> None:
    record = _proposal(ledger)
    late = dataclasses.replace(record.approvals[1], height=5000)
    _put(ledger, dataclasses.replace(record, approvals=(record.approvals[0], late)))


def _other_record(ledger: Ledger) -> None:
    """Keep a second approved proposal's record under the first one's id."""
    first = _proposal(ledger).id
    second = ledger.release("two")
    other = ledger.values[ledger.height][statekeys.proposal(second)]
    ledger.edit(ledger.height, {statekeys.proposal(first): other, statekeys.release(NAME): _release_at(1)})


def _release_at(revision: int) -> bytes:
    return records.write(ReleaseRecord(NAME, NAME, revision, ("east",), None, ReleaseState.ACTIVE))


def _same_envelope(ledger: Ledger) -> None:
    """Keep the first approval's envelope under the second one's id."""
    first, second = (statekeys.envelope(entry.envelope) for entry in _proposal(ledger).approvals)
    ledger.edit(ledger.height, {second: ledger.values[ledger.height][first]})


def _swapped_identity(ledger: Ledger) -> None:
    """Let bob's key speak with carol's identity: her organisation would make his approval count."""
    _approved_by(BOB)(ledger)
    carol = ledger.values[ledger.height][statekeys.identity(CAROL.did)]
    ledger.edit(ledger.height, {statekeys.identity(BOB.did): carol})


def _absent(key: bytes) -> Callable[[Ledger], None]:
    return lambda ledger: ledger.edit(ledger.height, {key: None})


def _write(key: bytes, value: bytes) -> Callable[[Ledger], None]:
    return lambda ledger: ledger.edit(ledger.height, {key: value})


_LIES: dict[str, tuple[Callable[[Ledger], None], Code]] = {
    "one approval": (_approvals(0), Code.APPROVALS_INSUFFICIENT),
    "no approval": (_approvals(), Code.APPROVALS_INSUFFICIENT),
    "one approval twice": (_twice, Code.APPROVALS_INSUFFICIENT),
    "not final": (_open, Code.PROPOSAL_UNDER_APPROVED),
    "one organisation": (_approved_by(BOB), Code.APPROVALS_INSUFFICIENT),
    "an agent's approval": (_approved_by(ROBOT), Code.OPERATOR_SIGNATURE_INVALID),
    "a rejection as approval": (_approved_by(CAROL, kind=ActionKind.REJECTION), Code.LEDGER_RECORD_INVALID),
    "an approval of another body": (_approved_by(CAROL, digest="cd" * 32), Code.LEDGER_RECORD_INVALID),
    "another's name on it": (_approved_by(BOB, named=CAROL), Code.LEDGER_RECORD_INVALID),
    "broken approval": (
        _bytes_of(1, lambda tx: tx[:-1] + bytes([tx[-1] ^ 1])),
        Code.OPERATOR_SIGNATURE_INVALID,
    ),
    "broken proposal": (
        _bytes_of(-1, lambda tx: tx.replace(b"one", b"two")),
        Code.OPERATOR_SIGNATURE_INVALID,
    ),
    "approval gone": (_bytes_of(0, lambda _: None), Code.LEDGER_RECORD_INVALID),
    "proposal gone": (_bytes_of(-1, lambda _: None), Code.LEDGER_RECORD_INVALID),
    "proposal no envelope": (_bytes_of(-1, lambda _: b"\xff"), Code.OPERATOR_SIGNATURE_INVALID),
    "unapproved content": (_unapproved_content, Code.LEDGER_RECORD_INVALID),
    "another digest": (_revision(digest="ef" * 32), Code.LEDGER_RECORD_INVALID),
    "more clusters": (_revision(clusters=("east", "west")), Code.LEDGER_RECORD_INVALID),
    "called a rollback": (_revision(rollback_of=1), Code.LEDGER_RECORD_INVALID),
    "another's revision": (_revision(release="other"), Code.LEDGER_RECORD_INVALID),
    "another's identity": (_swapped_identity, Code.LEDGER_RECORD_INVALID),
    "another proposer": (_record(proposer=Did(BOB.did)), Code.LEDGER_RECORD_INVALID),
    "included after its last height": (_record(height=5000), Code.LEDGER_RECORD_INVALID),
    "approved after its last height": (_late_approval, Code.LEDGER_RECORD_INVALID),
    "another proposal's record": (_other_record, Code.LEDGER_RECORD_INVALID),
    "another approval's envelope": (_same_envelope, Code.LEDGER_RECORD_INVALID),
    "identity gone": (_absent(statekeys.identity(CAROL.did)), Code.LEDGER_RECORD_INVALID),
    "rule gone": (_absent(RULE), Code.LEDGER_RECORD_INVALID),
    "revision gone": (_absent(statekeys.revision(NAME, 1)), Code.LEDGER_RECORD_INVALID),
    "release no record": (_write(statekeys.release(NAME), b"{}"), Code.LEDGER_RECORD_INVALID),
    "release not JSON": (_write(statekeys.release(NAME), b"\xff"), Code.LEDGER_RECORD_INVALID),
}


@pytest.mark.requires("release.quorum-not-enough")
@pytest.mark.parametrize("name", _LIES)
def test_what_a_dishonest_quorum_writes_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    lie, code = _LIES[name]
    lie(ledger)
    view = _view(ledger, tmp_path)
    with pytest.raises(VerificationFailed) as refused:
        release_reader.release(view, "east", NAME)
    assert code_of(refused) is code


@pytest.mark.requires("release.quorum-not-enough")
def test_a_rollback_to_other_content_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    ledger.release("two")
    ledger.roll_back(1)
    key = statekeys.revision(NAME, 3)
    record = records.read_revision(ledger.values[ledger.height][key])
    second = records.read_revision(ledger.values[ledger.height][statekeys.revision(NAME, 2)])
    lie = dataclasses.replace(record, content=second.content, digest=second.digest)
    ledger.edit(ledger.height, {key: records.write(lie)})
    with pytest.raises(VerificationFailed) as refused:
        release_reader.release(_view(ledger, tmp_path), "east", NAME)
    assert code_of(refused) is Code.LEDGER_RECORD_INVALID


def _reported(ledger: Ledger, subject: Subject = EAST) -> bytes:
    objects = (
        {"object": "v1/ConfigMap/guestbook/greeting", "outcome": "created", "health": "current", "code": 0},
    )
    return envelope(subject, report_body(Report("east", NAME, 1, 1, "applied", "current", objects)))


@pytest.mark.requires("release.reports-proven")
def test_a_report_is_what_the_clusters_node_signed(ledger: Ledger, tmp_path: Path) -> None:
    assert release_reader.report(_view(ledger, tmp_path), "east", NAME).value is None
    assert [r.code for r in ledger.commit(_reported(ledger))] == [0]
    found = release_reader.report(_view(ledger, tmp_path), "east", NAME).value
    assert found is not None
    assert (found.outcome, found.health, found.reporter) == ("applied", "current", EAST.did)


@pytest.mark.requires("release.reports-proven")
def test_a_report_that_says_more_than_was_signed(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit(_reported(ledger))
    key = statekeys.report("east", NAME)
    record = records.read_report(ledger.values[ledger.height][key])
    ledger.edit(ledger.height, {key: records.write(dataclasses.replace(record, health="failed"))})
    with pytest.raises(VerificationFailed) as refused:
        release_reader.report(_view(ledger, tmp_path), "east", NAME)
    assert code_of(refused) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.reports-proven")
def test_a_report_by_a_human(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit(_reported(ledger))
    ledger.edit(ledger.height, {statekeys.report_envelope("east", NAME): _reported(ledger, ALICE)})
    with pytest.raises(VerificationFailed) as refused:
        release_reader.report(_view(ledger, tmp_path), "east", NAME)
    assert code_of(refused) is Code.OPERATOR_SIGNATURE_INVALID


def _copied(source: bytes, target: bytes) -> Callable[[Ledger], None]:
    """Keep the record of one key under another."""
    return lambda ledger: ledger.edit(ledger.height, {target: ledger.values[ledger.height][source]})


def _numbered(ledger: Ledger) -> None:
    other = ledger.release("two")
    ledger.edit(ledger.height, {statekeys.proposal_number(1): records.write_number(other)})


_MISPLACED: dict[str, tuple[Callable[[Ledger], None], Callable[[View], object]]] = {
    "identity": (
        _copied(statekeys.identity(ALICE.did), statekeys.identity(BOB.did)),
        release_reader.identities,
    ),
    "number": (_numbered, lambda view: release_reader.proposal(view, 1)),
    "release": (
        _copied(statekeys.release(NAME), statekeys.release("other")),
        lambda view: release_reader.release_record(view, "other"),
    ),
    "revision": (
        _revision(revision=2),
        lambda view: release_reader.history(view, NAME),
    ),
    "proposed": (_record(digest="cd" * 32), lambda view: release_reader.proposed(view, 1)),
}


@pytest.mark.requires("release.quorum-not-enough")
@pytest.mark.parametrize("name", _MISPLACED)
def test_a_record_kept_under_anothers_key_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    lie, ask = _MISPLACED[name]
    lie(ledger)
    view = _view(ledger, tmp_path)
    with pytest.raises(VerificationFailed) as refused:
        ask(view)
    assert code_of(refused) is Code.LEDGER_RECORD_INVALID
