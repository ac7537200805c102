"""The application between CometBFT and the machine: the life of a block, restarts, the mempool, queries."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from abci_app.application import ConclaveApplication
from abci_app.genesis import genesis_state
from ledger import bodies, envelope, keys, records, statekeys
from ledger.errors import Code
from ledger.pb import abci_pb2 as pb
from ledger.pb.proof_pb2 import CommitmentProof
from ledger.types import ActionKind
from state.batch import Committed, Staged
from state.proof import verify_membership, verify_non_membership
from state.spec import SMT
from state.tree import Tree
from tests.support.application import Chain, memory_application
from tests.support.memory_state import MemoryStore
from tests.support.subjects import (
    ALICE,
    BOB,
    CAROL,
    CHAIN_ID,
    STRANGER,
    Pen,
    genesis_bytes,
    genesis_document,
    judgement_body,
    release,
    seal,
)


def started() -> Chain:
    chain = Chain()
    chain.start()
    return chain


@pytest.mark.requires("abci.lifecycle")
def test_init_chain_gives_the_root_of_genesis_and_may_come_again() -> None:
    chain = Chain()
    first = chain.start()
    assert chain.info() == (0, b"")
    assert first == chain.start()
    assert len(first) == 32
    other = genesis_document() | {"parameters": {"imageDigestRequired": False, "proposalTtlBlocks": 50}}
    request = pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(other))
    assert chain.application.init_chain(request).app_hash != first


@pytest.mark.requires("abci.lifecycle")
def test_a_second_genesis_forgets_what_was_opened_under_the_first() -> None:
    """An image without a digest is admitted by the second genesis only, then refused by the third."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "demo"},
        "spec": {"containers": [{"image": "x"}]},
    }
    tx = Pen().propose(ALICE, release(manifests=[pod]))
    chain = started()
    assert chain.check(tx) == Code.IMAGE_NOT_PINNED
    other = genesis_document() | {"parameters": {"imageDigestRequired": False, "proposalTtlBlocks": 50}}
    request = pb.RequestInitChain(chain_id=CHAIN_ID, app_state_bytes=genesis_bytes(other))
    chain.application.init_chain(request)
    assert chain.check(tx) == Code.OK
    chain.start()
    assert chain.check(tx) == Code.IMAGE_NOT_PINNED


@pytest.mark.requires("abci.lifecycle")
def test_finalize_twice_then_commit_is_finalize_once() -> None:
    pen, chain, plain = Pen(), started(), started()
    txs = [pen.propose(ALICE)]
    other = chain.finalize([b"another block of another round"])
    first, second = chain.finalize(txs), chain.finalize(txs)
    assert first == second
    assert other.app_hash != first.app_hash
    chain.commit()
    assert chain.info() == (1, first.app_hash)
    plain.block(txs)
    assert plain.info() == chain.info()


@pytest.mark.requires("abci.lifecycle")
def test_finalize_changes_nothing_that_can_be_read() -> None:
    pen, chain = Pen(), started()
    chain.block([])
    before = chain.info()
    chain.finalize([pen.propose(ALICE)])
    assert chain.info() == before
    assert chain.query("/state", statekeys.PROPOSALS).value == b""


@pytest.mark.requires("abci.lifecycle")
def test_an_idle_block_keeps_the_app_hash() -> None:
    chain = Chain()
    root = chain.start()
    assert [chain.block([]).app_hash for _ in range(3)] == [root] * 3
    assert chain.info() == (3, root)


@pytest.mark.requires("abci.lifecycle")
def test_genesis_is_written_once_with_the_first_block() -> None:
    written: list[int] = []

    class Recording(MemoryStore):
        def commit(self, staged: Staged) -> Committed:
            written.append(len(staged.changes))
            return super().commit(staged)

    chain = Chain(memory_application(Recording()))
    chain.start()
    for _ in range(3):
        chain.block([])
    assert written == [len(genesis_state(genesis_bytes(), CHAIN_ID)), 0, 0]


@pytest.mark.requires("abci.restart")
def test_a_restart_from_disk_goes_on_where_it_was(tmp_path: Path) -> None:
    pen = Pen()
    proposed = pen.propose(ALICE)
    blocks = [[proposed], [pen.approve(BOB, proposed), b"junk"], [pen.approve(CAROL, proposed)], []]
    straight = started()
    expected = [straight.block(txs) for txs in blocks]
    height = 0
    for txs, wanted in zip(blocks, expected, strict=True):
        chain = Chain(ConclaveApplication.open(tmp_path))
        try:
            assert chain.info()[0] == height
            if not height:
                chain.start()
            chain.height = height
            chain.finalize([b"a round that never committed"])
            assert chain.block(txs) == wanted
            height += 1
        finally:
            chain.application.close()
    chain = Chain(ConclaveApplication.open(tmp_path))
    try:
        assert chain.info() == straight.info() == (4, expected[-1].app_hash)
        assert chain.check(seal(ALICE, bodies.release_body(release()), 99)) == Code.OK
    finally:
        chain.application.close()


@pytest.mark.requires("abci.restart")
def test_a_crash_between_finalize_and_commit_loses_nothing() -> None:
    pen, store = Pen(), MemoryStore()
    chain = Chain(memory_application(store))
    chain.start()
    chain.block([])
    block = [pen.propose(ALICE)]
    wanted = chain.finalize(block)
    again = Chain(memory_application(store))
    again.height = again.info()[0]
    assert again.height == 1
    assert again.block(block) == wanted


@pytest.mark.requires("abci.mempool")
def test_the_check_state_knows_used_nonces_and_starts_afresh_after_a_commit() -> None:
    pen, chain = Pen(), started()
    proposed = pen.propose(ALICE)
    approval = pen.approve(BOB, proposed)
    assert chain.check(approval) == Code.PROPOSAL_UNKNOWN
    assert chain.check(proposed) == Code.OK
    assert chain.check(proposed) == Code.NONCE_REPLAYED
    assert chain.check(approval) == Code.PROPOSAL_UNKNOWN
    chain.block([])
    assert chain.check(proposed, recheck=True) == Code.OK
    chain.block([proposed])
    assert chain.check(proposed, recheck=True) == Code.NONCE_REPLAYED
    assert chain.check(approval) == Code.OK
    assert chain.check(approval) == Code.NONCE_REPLAYED


@pytest.mark.requires("abci.mempool")
def test_strangers_are_refused_before_their_body_is_read() -> None:
    chain = started()
    stranger = seal(STRANGER, b"no JSON at all", 1)
    member = seal(ALICE, b"no JSON at all", 1)
    assert chain.check(stranger) == Code.SIGNER_UNKNOWN
    assert chain.check(member) == Code.BODY_NOT_JSON
    assert len(chain.application._opened) == 0


@pytest.mark.requires("abci.mempool")
def test_only_what_was_decided_takes_the_slow_road_of_the_exact_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, tried = started(), list[bytes]()

    def exact(*arguments: bytes) -> bool:
        tried.append(arguments[0])
        return False

    monkeypatch.setattr(keys, "verify_zip215", exact)
    opened = envelope.decode(seal(ALICE, b"{}", 1))
    forged = envelope.encode(dataclasses.replace(opened, nonce=2))
    assert chain.check(forged) == chain.query("/check", forged).code == Code.SIGNATURE_INVALID
    assert not chain.process([forged])
    assert tried == []
    assert [result.code for result in chain.block([forged]).tx_results] == [Code.SIGNATURE_INVALID]
    assert tried == [ALICE.public_key]


@pytest.mark.requires("abci.mempool")
def test_what_is_refused_leaves_no_trace_in_the_check_state() -> None:
    chain = started()
    unknown = bodies.judgement_body(ActionKind.APPROVAL, "00" * 32, "00" * 32, "00" * 32)
    assert chain.check(seal(ALICE, unknown, 5)) == Code.PROPOSAL_UNKNOWN
    assert chain.check(seal(ALICE, bodies.release_body(release()), 5)) == Code.OK


@pytest.mark.requires("abci.prepare")
def test_prepare_keeps_what_passes_in_order_and_process_accepts_it() -> None:
    pen, chain = Pen(), started()
    proposed = pen.propose(ALICE)
    good = [
        proposed,
        pen.approve(BOB, proposed),
        pen.approve(CAROL, proposed),
        pen.propose(BOB, release("b")),
    ]
    overtaken = pen.approve(BOB, proposed)
    bad = [
        b"junk",
        proposed,
        seal(STRANGER, bodies.release_body(release()), 1),
        seal(ALICE, bodies.release_body(release()), 500, chain_id="other"),
        seal(ALICE, b"{}", 501),
    ]
    offered = [good[0], bad[0], bad[1], good[1], *bad[2:4], good[2], *bad[4:], good[3], overtaken]
    kept = chain.prepare(offered)
    assert kept == [*good, overtaken]
    assert chain.process(kept)
    codes = [result.code for result in chain.block(kept).tx_results]
    assert codes == [0, 0, 0, 0, Code.PROPOSAL_NOT_OPEN]


@pytest.mark.requires("abci.prepare")
def test_prepare_stays_within_the_block() -> None:
    pen, chain = Pen(), started()
    txs = [pen.propose(ALICE, release(f"r{i}")) for i in range(6)]
    for room in (0, len(txs[0]) - 1, len(txs[0]), 2 * len(txs[0]), 10**6):
        kept = chain.prepare(txs, room)
        block = pb.RequestProcessProposal(txs=kept)
        assert block.ByteSize() <= room
        assert kept == txs[: len(kept)]
    assert len(kept) == 6
    assert len(chain.prepare(txs, 3 * (len(txs[0]) + 8))) == 3


@pytest.mark.requires("abci.process")
def test_process_rejects_what_no_honest_proposer_makes_and_only_that() -> None:
    pen, chain = Pen(), started()
    proposed = pen.propose(ALICE)
    assert chain.process([])
    assert chain.process([proposed, proposed])
    assert chain.process([seal(STRANGER, bodies.release_body(release()), 1)])
    assert not chain.process([proposed, b"junk"])
    assert not chain.process([b""])
    assert not chain.process([seal(ALICE, bodies.release_body(release()), 1, chain_id="other")])
    assert not chain.process([proposed[:-1] + bytes((proposed[-1] ^ 1,))])


@pytest.mark.requires("abci.process")
def test_before_genesis_everything_is_refused_and_nothing_fails() -> None:
    chain, tx = Chain(), Pen().propose(ALICE)
    assert chain.check(tx) == Code.GENESIS_INVALID
    assert chain.prepare([tx]) == []
    assert not chain.process([tx])
    assert chain.query("/state", b"ledger").code == Code.HEIGHT_NOT_AVAILABLE
    assert chain.query("/check", tx).code == Code.GENESIS_INVALID


@pytest.mark.requires("abci.query")
def test_a_value_and_an_absence_are_proven_by_the_app_hash() -> None:
    chain = started()
    chain.block([])
    root = chain.info()[1]
    for key in (statekeys.LEDGER, b"release/nothing"):
        response = chain.query("/state", key, prove=True)
        assert (response.code, response.key, response.height) == (0, key, 1)
        (operation,) = response.proof_ops.ops
        assert (operation.type, operation.key) == ("ics23:smt", key)
        proof = CommitmentProof.FromString(operation.data)
        if response.value:
            verify_membership(SMT, root, proof, key, response.value)
        else:
            verify_non_membership(SMT, root, proof, key)
    assert chain.query("/state", statekeys.LEDGER).value == records.write_ledger(CHAIN_ID)


@pytest.mark.requires("abci.query")
@pytest.mark.parametrize(
    ("path", "content", "height", "code"),
    [
        ("", b"ledger", 0, Code.QUERY_INVALID),
        ("/nothing", b"ledger", 0, Code.QUERY_INVALID),
        ("/state", b"", 0, Code.QUERY_INVALID),
        ("/state", b"k" * 513, 0, Code.QUERY_INVALID),
        ("/state", b"ledger", 2, Code.HEIGHT_NOT_AVAILABLE),
        ("/state", b"ledger", -1, Code.HEIGHT_NOT_AVAILABLE),
        ("/check", b"", 0, Code.FIELD_MISSING),
    ],
)
def test_queries_that_cannot_be_answered_say_why(path: str, content: bytes, height: int, code: Code) -> None:
    chain = started()
    chain.block([])
    response = chain.query(path, content, height)
    assert (response.code, response.codespace) == (code, "conclave") or path == "/check"
    assert response.code == code


@pytest.mark.requires("abci.query")
def test_check_query_says_what_check_tx_would_and_has_no_effect() -> None:
    pen, chain = Pen(), started()
    chain.block([])
    tx = pen.propose(ALICE)
    assert [chain.query("/check", tx).code for _ in range(2)] == [0, 0]
    assert chain.check(tx) == Code.OK
    assert chain.query("/check", tx).code == Code.NONCE_REPLAYED


@pytest.mark.requires("abci.results")
def test_results_carry_code_and_receipt_and_the_log_is_for_people() -> None:
    pen, chain = Pen(), started()
    tx = pen.propose(ALICE)
    changed = envelope.encode(envelope.decode(seal(ALICE, judgement_body(tx), 1, chain_id="x")))
    accepted, refused = chain.block([tx, changed]).tx_results
    assert (accepted.code, accepted.log, accepted.codespace) == (0, "", "")
    assert json.loads(accepted.data)["number"] == 1
    assert (refused.code, refused.data, refused.codespace) == (Code.CHAIN_ID_MISMATCH, b"", "conclave")
    assert "CHAIN_ID_MISMATCH" in refused.log


@pytest.mark.requires("abci.lifecycle")
def test_info_and_the_calls_that_refuse_honestly() -> None:
    application = started().application
    info = application.info(pb.RequestInfo())
    assert (info.data, info.app_version) == ("conclave", 1)
    assert not application.list_snapshots(pb.RequestListSnapshots()).snapshots
    offer = application.offer_snapshot(pb.RequestOfferSnapshot())
    assert offer.result == pb.ResponseOfferSnapshot.REJECT_FORMAT
    assert application.load_snapshot_chunk(pb.RequestLoadSnapshotChunk()).chunk == b""
    applied = application.apply_snapshot_chunk(pb.RequestApplySnapshotChunk())
    assert applied.result == pb.ResponseApplySnapshotChunk.ABORT
    assert application.extend_vote(pb.RequestExtendVote()).vote_extension == b""
    extension = pb.RequestVerifyVoteExtension(vote_extension=b"x")
    verdict = application.verify_vote_extension(extension)
    assert verdict.status == pb.ResponseVerifyVoteExtension.REJECT


@pytest.mark.requires("abci.lifecycle")
def test_the_app_hash_is_the_root_of_what_the_store_holds() -> None:
    pen, store = Pen(), MemoryStore()
    chain = Chain(memory_application(store))
    chain.start()
    tx = pen.propose(ALICE)
    response = chain.block([tx, pen.approve(BOB, tx), pen.approve(CAROL, tx), b"junk"])
    assert response.app_hash == Tree.build(store.content.items()).root


@pytest.mark.requires("abci.overtaken")
def test_what_was_overtaken_while_it_waited_gets_a_refusal_in_a_block() -> None:
    """Silence would leave its signer waiting; a replay or an expired height still never enters."""
    pen, chain = Pen(), started()
    proposed = pen.propose(ALICE)
    rejection, approval = pen.reject(BOB, proposed), pen.approve(CAROL, proposed)
    chain.block([proposed])
    assert [chain.check(tx) for tx in (approval, rejection)] == [0, 0]
    chain.block([rejection])
    assert chain.check(rejection, recheck=True) == Code.NONCE_REPLAYED
    assert chain.check(approval, recheck=True) == Code.OK
    assert chain.check(pen.approve(ALICE, proposed)) == Code.PROPOSAL_NOT_OPEN
    kept = chain.prepare([rejection, approval, approval])
    assert kept == [approval]
    assert [result.code for result in chain.block(kept).tx_results] == [Code.PROPOSAL_NOT_OPEN]
    assert chain.prepare([approval]) == []
