"""From an envelope to its proven receipt, through a node that may lie about either."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from consensus.answers import BroadcastAnswer, InclusionProof, TxResult
from consensus.included import find_in_blocks
from consensus.results import result_at, result_bytes, verify_transaction
from consensus.submit import submit
from ledger import canonical
from ledger.bodies import release_body, rollback_body
from ledger.envelope import decode
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.types import ProposalState, sha256
from state.merkle import merkle_root, prove
from tests.support.ledger import CAROL, Ledger, Node, a_release, envelope
from tests.unit.consensus.ledgers import code_of, reader_of
from tests.unit.consensus.submitting import Refusing, Taking, Time, result_with, tx_of


@pytest.fixture
def node() -> Node:
    ledger = Ledger()
    ledger.commit()
    ledger.commit()
    return Node(ledger)


@pytest.mark.requires("submit.proven-receipt")
def test_a_receipt_is_proven(node: Node, tmp_path: Path) -> None:
    tx = tx_of()
    proven = submit(node, reader_of(node, tmp_path), tx, patience=Time().patience())
    assert (proven.receipt.envelope, proven.height, proven.index) == (node.ledger.open(tx).id, 3, 0)
    assert proven.receipt.state is ProposalState.OPEN
    assert proven.time_ns == node.ledger.chain.time_ns(4)


@pytest.mark.requires("submit.refusal-coded")
def test_check_tx_refuses_with_the_ledgers_code(node: Node, tmp_path: Path) -> None:
    broken = bytearray(tx_of())
    broken[-1] ^= 1
    with pytest.raises(Refused) as refused:
        submit(node, reader_of(node, tmp_path), bytes(broken), patience=Time().patience())
    assert code_of(refused) is Code.SIGNATURE_INVALID


@pytest.mark.requires("submit.refusal-coded")
def test_a_code_we_do_not_know(node: Node, tmp_path: Path) -> None:
    node.lies["broadcast_tx_sync"] = lambda answer: dataclasses.replace(answer, code=9999)
    with pytest.raises(Refused) as refused:
        submit(node, reader_of(node, tmp_path), tx_of(), patience=Time().patience())
    assert code_of(refused) is Code.TX_REFUSED
    assert refused.value.facts["number"] == 9999


@pytest.mark.requires("submit.refusal-coded")
def test_a_refusal_in_the_block_is_proven_too(node: Node, tmp_path: Path) -> None:
    """Two envelopes of one nonce pass CheckTx of two nodes; the block takes one."""
    tx = tx_of()
    node.ledger.commit(tx)
    node.ledger.commit(tx)
    node.ledger.commit()
    node.ledger.txs.pop(3)
    node.lies["broadcast_tx_sync"] = lambda answer: dataclasses.replace(answer, code=0)
    with pytest.raises(Refused) as refused:
        submit(node, reader_of(node, tmp_path), tx, patience=Time().patience())
    assert code_of(refused) is Code.NONCE_REPLAYED
    assert refused.value.facts["by"] == "block 4"


@pytest.mark.requires("submit.idempotent")
def test_sending_again_gives_the_same_receipt(node: Node, tmp_path: Path) -> None:
    reader, tx = reader_of(node, tmp_path), tx_of()
    first = submit(node, reader, tx, patience=Time().patience())

    def cached(_: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_REFUSED, got="tx already exists in cache")

    node.lies["broadcast_tx_sync"] = cached
    assert submit(node, reader, tx, patience=Time().patience()) == first
    time = Time()
    other = envelope(CAROL, release_body(a_release("other")))
    node.ledger.values[node.ledger.height].clear()
    with pytest.raises(EnvironmentFault) as fault:
        submit(Refusing(node.ledger), reader, other, patience=time.patience())
    assert code_of(fault) is Code.RPC_REFUSED
    assert time.now <= 6


@pytest.mark.requires("submit.idempotent")
def test_sending_again_to_a_restarted_node_gives_the_same_receipt(node: Node, tmp_path: Path) -> None:
    """It has forgotten what it took before, so its CheckTx calls the included envelope used up."""
    reader, tx = reader_of(node, tmp_path), tx_of()
    first = submit(node, reader, tx, patience=Time().patience())
    for code in (Code.NONCE_REPLAYED, Code.NONCE_TOO_OLD, Code.ENVELOPE_EXPIRED):
        node.lies["broadcast_tx_sync"] = functools.partial(dataclasses.replace, code=int(code))
        assert submit(node, reader, tx, patience=Time().patience()) == first


def _lost(_: object) -> NoReturn:
    raise EnvironmentFault(Code.RPC_REFUSED, got="not found")


def _used(_: object) -> BroadcastAnswer:
    return BroadcastAnswer(int(Code.NONCE_REPLAYED), "", b"")


def _cached(_: object) -> NoReturn:
    raise EnvironmentFault(Code.RPC_REFUSED, got="tx already exists in cache")


class _Used(Node):
    """A node that knows the nonce of every envelope as used, and includes none."""

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        return _used(tx)


@pytest.mark.requires("submit.index-lost")
@pytest.mark.parametrize("taken", [_used, _cached])
@pytest.mark.parametrize("beside", [0, 1, 4])
def test_an_envelope_the_index_lost_is_found_in_its_block_and_proven(
    node: Node, tmp_path: Path, taken: Callable[[object], BroadcastAnswer], beside: int
) -> None:
    reader, tx = reader_of(node, tmp_path), tx_of()
    others = [envelope(CAROL, release_body(a_release(f"other{n}", text=str(n)))) for n in range(beside)]
    node.ledger.commit(*others[:2], tx, *others[2:])
    height = node.ledger.height
    for _ in range(5):
        node.ledger.commit()
    node.lies.update(broadcast_tx_sync=taken)
    indexed = submit(node, reader, tx, patience=Time().patience())
    node.lies.update(tx=_lost)
    found = submit(node, reader, tx, patience=Time().patience())
    assert (found, found.height, found.index) == (indexed, height, min(beside, 2))


@pytest.mark.requires("submit.index-lost")
def test_a_refusal_the_index_lost_is_given_as_the_ledger_gave_it(node: Node, tmp_path: Path) -> None:
    tx = envelope(CAROL, rollback_body("nothing", 7))
    node.ledger.commit(tx)
    code = node.ledger.results[node.ledger.height][0].code
    node.ledger.commit()
    assert code not in (0, int(Code.NONCE_REPLAYED))
    node.lies.update(broadcast_tx_sync=_used, tx=_lost)
    with pytest.raises(Refused) as refused:
        submit(node, reader_of(node, tmp_path), tx, patience=Time().patience())
    assert refused.value.code == code


@pytest.mark.requires("submit.index-lost")
def test_a_block_or_result_that_a_node_made_up_proves_nothing(node: Node, tmp_path: Path) -> None:
    tx = tx_of()

    class Lying(_Used):
        def block_txs(self, height: int) -> tuple[bytes, ...]:
            return (tx,) if height == 2 else super().block_txs(height)

    node.ledger.commit()
    lying = Lying(node.ledger)
    with pytest.raises(VerificationFailed) as refused:
        submit(lying, reader_of(lying, tmp_path), tx, patience=Time().patience())
    assert code_of(refused) is Code.TX_PROOF_INVALID
    node.ledger.commit(tx)
    node.ledger.commit()
    lying.lies.update(tx=_lost, block_results=result_with(code=206))
    with pytest.raises(VerificationFailed) as refused:
        submit(lying, reader_of(lying, tmp_path), tx, patience=Time().patience())
    assert code_of(refused) is Code.RESULTS_HASH_MISMATCH


@pytest.mark.requires("submit.index-lost")
def test_the_search_is_bounded_by_blocks_time_and_the_envelopes_last_height(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consensus.included.SEARCHED_BLOCKS", 3)
    tx, last, asked = tx_of(), decode(tx_of()).not_after_height, []

    class Counting(_Used):
        def block_txs(self, height: int) -> tuple[bytes, ...]:
            asked.append(height)
            return ()

    counting = Counting(node.ledger)
    assert find_in_blocks(counting, 10, tx, lambda: False) is None
    assert find_in_blocks(counting, last + 50, tx, lambda: False) is None
    assert find_in_blocks(counting, 2, tx, lambda: False) is None
    assert asked == [10, 9, 8, last, last - 1, last - 2, 2, 1]
    assert find_in_blocks(counting, 10, tx, lambda: len(asked) > 9) is None
    assert len(asked) == 10
    assert find_in_blocks(counting, 10, b"no envelope", lambda: False) is None


@pytest.mark.requires("submit.index-lost")
def test_blocks_that_a_node_does_not_have_are_passed_over_and_its_going_away_is_said(node: Node) -> None:
    tx = tx_of()
    node.ledger.commit(tx)
    height = node.ledger.height
    found = find_in_blocks(node, height + 3, tx, lambda: False)
    assert found is not None
    assert found.height == height

    def gone(_: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_UNREACHABLE)

    node.lies["block_txs"] = gone
    with pytest.raises(EnvironmentFault) as fault:
        find_in_blocks(node, height, tx, lambda: False)
    assert code_of(fault) is Code.RPC_UNREACHABLE


@pytest.mark.requires("submit.refusal-coded")
def test_another_envelope_with_a_used_nonce_is_refused_soon(node: Node, tmp_path: Path) -> None:
    time, refusing = Time(), _Used(node.ledger)
    with pytest.raises(Refused) as refused:
        submit(refusing, reader_of(refusing, tmp_path), tx_of("two"), patience=time.patience())
    assert code_of(refused) is Code.NONCE_REPLAYED
    assert time.now <= 2


@pytest.mark.requires("submit.timeout-told")
def test_a_node_that_goes_away_says_nothing_of_the_ledger(node: Node, tmp_path: Path) -> None:
    def gone(_: object) -> NoReturn:
        raise EnvironmentFault(Code.RPC_UNREACHABLE)

    node.lies["broadcast_tx_sync"] = lambda _: BroadcastAnswer(int(Code.NONCE_REPLAYED), "", b"")
    node.lies["tx"] = gone
    with pytest.raises(EnvironmentFault) as fault:
        submit(node, reader_of(node, tmp_path), tx_of("two"), patience=Time().patience())
    assert code_of(fault) is Code.TIMEOUT


@pytest.mark.requires("submit.timeout-told")
def test_a_timeout_says_what_is_known(node: Node, tmp_path: Path) -> None:
    time, silent = Time(), Taking(node.ledger)
    with pytest.raises(EnvironmentFault) as fault:
        submit(silent, reader_of(node, tmp_path), tx_of(), patience=time.patience())
    assert code_of(fault) is Code.TIMEOUT
    assert fault.value.got == "sent; not seen in a block"
    assert fault.value.facts["last"] == "RPC_REFUSED"
    assert time.now >= 10


@pytest.mark.requires("submit.timeout-told")
def test_an_unproven_block_is_not_a_receipt(node: Node, tmp_path: Path) -> None:
    node.lies["tx"] = lambda answer: dataclasses.replace(answer, height=99)
    with pytest.raises(EnvironmentFault) as fault:
        submit(node, reader_of(node, tmp_path), tx_of(), patience=Time().patience())
    assert code_of(fault) is Code.TIMEOUT
    assert "block 99; not proven" in fault.value.got


@pytest.mark.requires("submit.inclusion-proven")
@pytest.mark.parametrize(
    ("method", "lie", "code"),
    [
        ("tx", lambda a: dataclasses.replace(a, tx=b"other"), Code.TX_PROOF_INVALID),
        ("tx", lambda a: dataclasses.replace(a, height=2), Code.TX_PROOF_INVALID),
        (
            "tx",
            lambda a: dataclasses.replace(a, proof=InclusionProof(2, 0, (b"\x01" * 32,))),
            Code.TX_PROOF_INVALID,
        ),
        ("block_results", result_with(code=206), Code.RESULTS_HASH_MISMATCH),
        ("block_results", result_with(data=b"{}"), Code.RESULTS_HASH_MISMATCH),
        ("block_results", result_with(gas_used=1), Code.RESULTS_HASH_MISMATCH),
        ("block_results", lambda _: (), Code.RESULTS_HASH_MISMATCH),
    ],
)
def test_a_lie_about_the_block(
    node: Node, tmp_path: Path, method: str, lie: Callable[[Any], Any], code: Code
) -> None:
    node.lies[method] = lie
    with pytest.raises(VerificationFailed) as refused:
        submit(node, reader_of(node, tmp_path), tx_of(), patience=Time().patience())
    assert code_of(refused) is code


@pytest.mark.requires("submit.inclusion-proven")
def test_an_index_shifted_within_a_valid_proof_is_refused() -> None:
    """The last of three transactions proves as the second of two; the number of results tells them apart."""
    txs = [b"a", b"b", b"c"]
    leaves = [sha256(tx) for tx in txs]
    data_hash = merkle_root(leaves)
    results = [TxResult(code, b"", 0, 0, "") for code in (0, 0, 206)]
    shifted = InclusionProof(2, 1, tuple(prove(leaves, 2)))
    verify_transaction(b"c", shifted, data_hash)
    root = merkle_root([result_bytes(r) for r in results])
    with pytest.raises(VerificationFailed) as refused:
        result_at(results, shifted, root)
    assert code_of(refused) is Code.TX_PROOF_INVALID
    assert result_at(results, InclusionProof(3, 2, shifted.aunts), root).code == 206


@pytest.mark.requires("submit.proven-receipt")
def test_a_receipt_of_another_envelope(node: Node, tmp_path: Path) -> None:
    """A dishonest quorum may write any receipt; it must still be this envelope's."""
    tx, ledger = tx_of(), node.ledger
    ledger.commit(tx)
    result = ledger.results[ledger.height][0]
    receipt = canonical.load(result.data) | {"envelope": "ab" * 32}
    ledger.results[ledger.height] = [dataclasses.replace(result, data=canonical.dump(receipt))]
    ledger.commit()
    node.lies["broadcast_tx_sync"] = lambda answer: dataclasses.replace(answer, code=0)
    with pytest.raises(VerificationFailed) as refused:
        submit(node, reader_of(node, tmp_path), tx, patience=Time().patience())
    assert code_of(refused) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("submit.refusal-coded")
def test_an_unreachable_node_is_said_at_once(node: Node, tmp_path: Path) -> None:
    class Gone(Node):
        def broadcast_tx_sync(self, tx: bytes) -> NoReturn:
            raise EnvironmentFault(Code.RPC_UNREACHABLE)

    with pytest.raises(EnvironmentFault) as fault:
        submit(Gone(node.ledger), reader_of(node, tmp_path), tx_of(), patience=Time().patience())
    assert code_of(fault) is Code.RPC_UNREACHABLE


@pytest.mark.requires("submit.index-lost")
def test_the_first_send_needs_no_timeout_where_the_index_lost_it(node: Node, tmp_path: Path) -> None:
    node.lies["tx"] = _lost
    time = Time()
    proven = submit(node, reader_of(node, tmp_path), tx_of(), patience=time.patience())
    assert (proven.height, time.now) == (3, 0)
    far = Taking(node.ledger)
    far.lies["tx"] = _lost
    tx = tx_of("two")
    time = Time(lambda: far.ledger.commit(*([tx] if far.ledger.height == 30 else [])))
    found = submit(far, reader_of(node, tmp_path), tx, patience=time.patience(60))
    assert found.height == 31
    asked = far.asked.count("block_txs")
    assert asked <= 32  # no block is gone through twice


class _Full(Node):
    """A node whose mempool has no room for the first ``times`` offers."""

    def __init__(self, ledger: Ledger, times: int) -> None:
        super().__init__(ledger)
        self.times = times

    def broadcast_tx_sync(self, tx: bytes) -> BroadcastAnswer:
        self.times -= 1
        if self.times >= 0:
            return BroadcastAnswer(int(Code.MEMPOOL_BUSY), "full", sha256(tx))
        return super().broadcast_tx_sync(tx)


@pytest.mark.requires("submit.backpressure")
def test_a_full_node_is_offered_again_for_a_bounded_time(node: Node, tmp_path: Path) -> None:
    time = Time()
    assert (
        submit(_Full(node.ledger, 3), reader_of(node, tmp_path), tx_of(), patience=time.patience(60)).index
        == 0
    )
    assert time.now == 1 + 2 + 2
    full, time = _Full(node.ledger, 10**6), Time()
    with pytest.raises(Refused) as refused:
        submit(full, reader_of(node, tmp_path), tx_of("two"), patience=time.patience(60))
    assert code_of(refused) is Code.MEMPOOL_BUSY
    assert refused.value.todo
    assert 15 <= time.now <= 17
    assert 10**6 - full.times < 12
    other = submit([full, node], reader_of(node, tmp_path), tx_of("three"), patience=Time().patience())
    assert other.index == 0
