"""What P1 sends is what it claims: signed proposals of the ledger, the peer's of the same size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abci_app.application import ConclaveApplication
from bench import payloads
from bench.p1 import SIZES
from ledger.pb import abci_pb2 as pb


@pytest.mark.requires("bench.p1-honest")
@pytest.mark.parametrize("size", [size for size, _ in SIZES.values()])
def test_every_transaction_is_a_proposal_the_ledger_commits(tmp_path: Path, size: int) -> None:
    application = ConclaveApplication.open(tmp_path / "app")
    try:
        genesis = json.dumps(payloads.app_state()).encode()
        application.init_chain(pb.RequestInitChain(chain_id=payloads.CHAIN_ID, app_state_bytes=genesis))
        for height, txs in enumerate((payloads.setup(), payloads.proposals(8, size)), 1):
            if height > 1:
                assert {application.check_tx(pb.RequestCheckTx(tx=tx)).code for tx in txs} == {0}
            results = application.finalize_block(pb.RequestFinalizeBlock(txs=txs, height=height)).tx_results
            assert [result.code for result in results] == [0] * len(txs)
            application.commit(pb.RequestCommit())
            states = {json.loads(result.data)["state"] for result in results}
            assert states == ({"open", "final"} if height == 1 else {"open"})
    finally:
        application.close()


@pytest.mark.requires("bench.p1-honest")
def test_both_sides_send_the_same_number_of_bytes() -> None:
    for size, _ in SIZES.values():
        ours, peer = payloads.proposals(8, size), payloads.kvstore(8, size)
        assert {len(tx) for tx in (*ours, *peer)} == {size}
        assert len(set(ours)) == len(set(peer)) == 8
        assert all(tx.count(b"=") == 1 and b":" not in tx for tx in peer)
