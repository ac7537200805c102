"""Stories of the ledger, told block by block to the machine."""

from __future__ import annotations

import pytest

from abci_app import indexes
from ledger import bodies, envelope, receipt, records, statekeys
from ledger.errors import Code
from ledger.types import ProposalState
from tests.support.memory_state import MemoryState
from tests.support.subjects import (
    ALICE,
    BOB,
    CAROL,
    NODE,
    Pen,
    configmap,
    identifier,
    release,
    report_of,
)


def codes(state: MemoryState, *txs: bytes) -> list[Code]:
    """Apply a block; give the codes."""
    return [result.code for result in state.apply(txs)]


def released(pen: Pen, state: MemoryState, content: str = "1") -> bytes:
    """Bring a release of ``web`` to its end; give the proposal."""
    proposal = pen.propose(ALICE, release(manifests=[configmap("settings", content)]))
    txs = [proposal, pen.approve(BOB, proposal), pen.approve(CAROL, proposal)]
    assert codes(state, *txs) == [Code.OK] * 3
    return proposal


def proposal_record(state: MemoryState, tx: bytes) -> records.ProposalRecord:
    content = state.get(statekeys.proposal(identifier(tx)))
    assert content is not None
    return records.read_proposal(content)


@pytest.mark.requires("abci.story-release")
def test_propose_approve_approve_final() -> None:
    pen, state = Pen(), MemoryState()
    proposal = pen.propose(ALICE)
    (proposed,) = state.apply([proposal])
    assert receipt.from_bytes(proposed.data) == receipt.Receipt(
        identifier(proposal), 1, identifier(proposal), 1, ProposalState.OPEN
    )
    first = pen.approve(ALICE, proposal)
    (approved,) = state.apply([first])
    assert receipt.from_bytes(approved.data).state is ProposalState.OPEN
    assert state.get(statekeys.release("web")) is None

    second = pen.approve(CAROL, proposal)
    (final,) = state.apply([second])
    told = receipt.from_bytes(final.data)
    assert (told.state, told.revision, told.height) == (ProposalState.FINAL, 1, 3)

    record = proposal_record(state, proposal)
    assert [entry.envelope for entry in record.approvals] == [identifier(first), identifier(second)]
    assert [entry.height for entry in record.approvals] == [2, 3]
    assert (record.state, record.final_height, record.revision) == (ProposalState.FINAL, 3, 1)
    revision = records.read_revision(state.content[statekeys.revision("web", 1)])
    assert (revision.content, revision.authority) == (record.id, record.id)
    assert revision.digest == envelope.decode(proposal).digest
    assert records.read_release(state.content[statekeys.release("web")]).clusters == ("east",)
    assert tuple(indexes.entries(state, statekeys.INDEX_RELEASES)) == ("web",)
    assert tuple(indexes.entries(state, statekeys.cluster_releases("east"))) == ("web",)
    assert tuple(indexes.entries(state, statekeys.cluster_releases("west"))) == ()
    assert records.read_number(state.content[statekeys.proposal_number(1)]) == record.id
    for tx in (proposal, first, second):
        assert state.get(statekeys.envelope(identifier(tx))) == tx


@pytest.mark.requires("abci.story-release")
def test_the_whole_story_fits_one_block_and_gives_the_same_release() -> None:
    pen, state = Pen(), MemoryState()
    released(pen, state)
    assert records.read_release(state.content[statekeys.release("web")]).revision == 1


@pytest.mark.requires("abci.quorum")
def test_under_approved_stays_open() -> None:
    pen, state = Pen(), MemoryState()
    proposal = pen.propose(ALICE)
    assert codes(state, proposal, pen.approve(ALICE, proposal), pen.approve(BOB, proposal)) == [Code.OK] * 3
    assert proposal_record(state, proposal).state is ProposalState.OPEN
    assert state.get(statekeys.release("web")) is None


@pytest.mark.requires("abci.story-release")
def test_an_upgrade_is_the_next_revision_and_may_add_clusters() -> None:
    pen, state = Pen(), MemoryState()
    released(pen, state)
    wider = pen.propose(ALICE, release(clusters=("east", "west")))
    assert codes(state, wider, pen.approve(BOB, wider), pen.approve(CAROL, wider)) == [Code.OK] * 3
    record = records.read_release(state.content[statekeys.release("web")])
    assert (record.revision, record.clusters) == (2, ("east", "west"))
    assert tuple(indexes.entries(state, statekeys.cluster_releases("west"))) == ("web",)
    narrower = pen.propose(ALICE, release())
    assert codes(state, narrower) == [Code.RELEASE_CLUSTERS_CHANGED]


@pytest.mark.requires("abci.story-rollback")
def test_a_rollback_is_a_new_revision_with_the_old_content() -> None:
    pen, state = Pen(), MemoryState()
    first = released(pen, state, "1")
    released(pen, state, "2")
    rollback = pen.roll_back(BOB, 1)
    assert codes(state, rollback, pen.approve(ALICE, rollback)) == [Code.OK] * 2
    assert records.read_release(state.content[statekeys.release("web")]).revision == 2
    assert codes(state, pen.approve(CAROL, rollback)) == [Code.OK]
    revision = records.read_revision(state.content[statekeys.revision("web", 3)])
    assert (revision.content, revision.authority) == (identifier(first), identifier(rollback))
    assert (revision.rollback_of, revision.digest) == (1, envelope.decode(first).digest)
    again = pen.roll_back(BOB, 3)
    assert codes(state, again, pen.approve(ALICE, again), pen.approve(CAROL, again)) == [Code.OK] * 3
    revision = records.read_revision(state.content[statekeys.revision("web", 4)])
    assert (revision.content, revision.rollback_of) == (identifier(first), 3)


@pytest.mark.requires("abci.story-rollback")
def test_a_rollback_leaves_no_cluster_behind() -> None:
    """Revision 1 ran in the east only; its content now goes wherever the release runs."""
    pen, state = Pen(), MemoryState()
    released(pen, state)
    wider = pen.propose(ALICE, release(clusters=("east", "west")))
    rollback = pen.roll_back(ALICE, 1)
    state.apply([wider, pen.approve(BOB, wider), pen.approve(CAROL, wider)])
    codes_met = codes(state, rollback, pen.approve(BOB, rollback), pen.approve(CAROL, rollback))
    assert codes_met == [Code.OK] * 3
    revision = records.read_revision(state.content[statekeys.revision("web", 3)])
    assert revision.clusters == ("east", "west")
    assert records.read_release(state.content[statekeys.release("web")]).clusters == ("east", "west")


@pytest.mark.requires("abci.story-rejection")
def test_a_rejection_ends_a_proposal() -> None:
    pen, state = Pen(), MemoryState()
    proposal = pen.propose(ALICE)
    rejection = pen.reject(BOB, proposal)
    results = state.apply([proposal, pen.approve(ALICE, proposal), rejection, pen.approve(CAROL, proposal)])
    assert [result.code for result in results] == [Code.OK, Code.OK, Code.OK, Code.PROPOSAL_NOT_OPEN]
    record = proposal_record(state, proposal)
    assert (record.state, record.rejections[0].envelope) == (ProposalState.REJECTED, identifier(rejection))
    assert receipt.from_bytes(results[2].data).state is ProposalState.REJECTED
    assert state.get(statekeys.release("web")) is None


@pytest.mark.requires("abci.proposal-open")
def test_a_proposal_expires() -> None:
    pen, state = Pen(), MemoryState()
    proposal = pen.propose(ALICE)
    state.apply([proposal, pen.approve(ALICE, proposal)])
    late = pen.approve(CAROL, proposal)
    expires = proposal_record(state, proposal).expires
    assert expires == 1 + state.constants.parameters.proposal_ttl_blocks
    (result,) = state.apply([late], height=expires + 1)
    assert result.code is Code.PROPOSAL_EXPIRED


@pytest.mark.requires("abci.judged-again")
def test_what_was_right_when_proposed_is_judged_again_when_final() -> None:
    """Two proposals made side by side: the second, once final, would drop a cluster of the first."""
    pen, state = Pen(), MemoryState()
    wide = pen.propose(ALICE, release(clusters=("east", "west")))
    narrow = pen.propose(BOB, release(clusters=("east",)))
    assert codes(state, wide, narrow, pen.approve(ALICE, narrow)) == [Code.OK] * 3
    assert codes(state, pen.approve(ALICE, wide), pen.approve(CAROL, wide)) == [Code.OK] * 2
    assert codes(state, pen.approve(CAROL, narrow)) == [Code.RELEASE_CLUSTERS_CHANGED]
    record = proposal_record(state, narrow)
    assert (record.state, len(record.approvals)) == (ProposalState.OPEN, 1)
    assert records.read_release(state.content[statekeys.release("web")]).clusters == ("east", "west")


@pytest.mark.requires("abci.report-rules")
def test_reports_are_kept_with_their_envelope_newest_only() -> None:
    pen, state = Pen(), MemoryState()
    released(pen, state)
    first, second = pen.report(NODE, report_of()), pen.report(NODE, report_of(sequence=2))
    results = state.apply([first, second, pen.report(NODE, report_of(sequence=2))])
    assert [result.code for result in results] == [Code.OK, Code.OK, Code.REPORT_SEQUENCE_STALE]
    assert receipt.from_bytes(results[1].data) == receipt.Receipt(identifier(second), 2)
    record = records.read_report(state.content[statekeys.report("east", "web")])
    assert (record.sequence, record.height, record.reporter) == (2, 2, NODE.did)
    assert state.get(statekeys.report_envelope("east", "web")) == second


@pytest.mark.requires("abci.against")
def test_a_change_for_an_older_revision_is_refused_when_proposed_and_when_it_would_be_final() -> None:
    pen, state = Pen(), MemoryState()
    late, first = (
        pen.write(ALICE, bodies.release_body(release(manifests=[configmap("settings", text)]), against=0))
        for text in ("late", "first")
    )
    assert codes(state, late, first, pen.approve(BOB, late)) == [Code.OK] * 3
    assert codes(state, pen.approve(BOB, first), pen.approve(CAROL, first)) == [Code.OK] * 2
    assert codes(state, pen.approve(CAROL, late)) == [Code.REVISION_CONFLICT]
    assert proposal_record(state, late).state is ProposalState.OPEN
    stale = pen.write(ALICE, bodies.rollback_body("web", 1, against=0))
    fresh = pen.write(ALICE, bodies.rollback_body("web", 1, against=1))
    assert codes(state, stale, fresh) == [Code.REVISION_CONFLICT, Code.OK]
    assert proposal_record(state, fresh).change.against == 1
