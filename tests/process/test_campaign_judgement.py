"""The judgement at the end of a crash campaign: an intact chain passes, each kind of damage is named."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from consensus.submit import ProvenReceipt
from ledger import receipt
from ledger.types import sha256
from tests.campaign.judgement import Evidence, Judgement, Proven, judge
from tests.support.application import Chain
from tests.support.subjects import ALICE, CHAIN_ID, Pen, genesis_bytes, release


@pytest.fixture
def intact() -> Evidence:
    """Three blocks, the second with a proposal whose receipt was proven."""
    chain, tx = Chain(), Pen().propose(ALICE, release())
    hashes, blocks, proven = [chain.start()], [], []
    for txs in ([], [tx], [], []):
        blocks.append(_block(hashes[-1], txs))
        response = chain.block(txs)
        hashes.append(response.app_hash)
        for result in response.tx_results:
            answer = ProvenReceipt(receipt.from_bytes(result.data), chain.height, 0, sha256(tx), 0)
            proven.append(Proven(tx, answer))
    return Evidence(CHAIN_ID, genesis_bytes(), blocks, (4, hashes[-1]), proven)


def _block(app_hash: bytes, txs: list[bytes]) -> Any:
    return {
        "header": {"app_hash": app_hash.hex().upper()},
        "data": {"txs": [base64.b64encode(tx).decode() for tx in txs]},
    }


@pytest.mark.requires("campaign.judges")
def test_an_intact_chain_passes(intact: Evidence) -> None:
    assert judge(intact) == Judgement(transactions=1)
    assert judge(dataclasses.replace(intact, unproven=[intact.proven[0].tx])) == Judgement(transactions=1)


@pytest.mark.requires("campaign.judges")
def test_each_damage_is_named(intact: Evidence) -> None:
    (proven,), blocks = intact.proven, list(intact.blocks)
    late = dataclasses.replace(proven, receipt=dataclasses.replace(proven.receipt, height=3))
    other = _block(bytes.fromhex(blocks[1]["header"]["app_hash"]), [])
    lost = {
        "a receipt of another height": dataclasses.replace(intact, proven=[late]),
        "a receipt of no transaction": dataclasses.replace(intact, proven=[Proven(b"x", proven.receipt)]),
        "used up, not there": dataclasses.replace(intact, unproven=[b"x"]),
        "a disk that stayed behind": dataclasses.replace(intact, disk=(2, bytes(32))),
        "a block without it": dataclasses.replace(intact, blocks=[blocks[0], other, *blocks[2:]]),
    }
    half = {
        "another app hash in a header": dataclasses.replace(
            intact, blocks=[*blocks[:3], _block(bytes(32), [])]
        ),
        "another state on the disk": dataclasses.replace(intact, disk=(4, bytes(32))),
    }
    assert {name for name, evidence in lost.items() if judge(evidence).lost} == set(lost)
    assert {name for name, evidence in half.items() if judge(evidence).half} == set(half)
