"""What a chain that was under fire must still be: judged by executing all of it anew.

Owns ``judge``. It trusts nothing of the node but its blocks, and compares those with the headers, with what
is on the disk and with every receipt that was proven to somebody.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from consensus.light.timestamp import parse_time
from consensus.submit import ProvenReceipt
from ledger.pb import abci_pb2 as pb
from ledger.pb import comet_pb2
from ledger.types import sha256
from tests.support.application import Chain


@dataclass(frozen=True, slots=True)
class Proven:
    """A transaction and the receipt that was proven for it."""

    tx: bytes
    receipt: ProvenReceipt


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a campaign leaves behind.

    Attributes:
        chain_id: the chain.
        genesis: its ``app_state``.
        blocks: every block as ``/block`` gives it, from height 1.
        disk: height and app hash of the application's store, opened and verified.
        proven: receipts that were proven to clients.
        unproven: transactions which the ledger called used up and could not show.
        genesis_document: CometBFT's, for the validators and the time of genesis.
    """

    chain_id: str
    genesis: bytes
    blocks: Sequence[Any]
    disk: tuple[int, bytes]
    proven: Sequence[Proven]
    unproven: Sequence[bytes] = ()
    genesis_document: Any = None


@dataclass(slots=True)
class Judgement:
    """What is wrong, in words, and how many transactions there were."""

    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    transactions: int = 0


def judge(evidence: Evidence) -> Judgement:
    """Execute every block in a fresh application and compare."""
    judgement, found = Judgement(), dict[bytes, tuple[int, int, bytes]]()
    fresh = Chain()
    request = pb.RequestInitChain(
        chain_id=evidence.chain_id, app_state_bytes=evidence.genesis, initial_height=1
    )
    if evidence.genesis_document is not None:
        request.time.seconds = _seconds(evidence.genesis_document["genesis_time"])
        for validator in evidence.genesis_document["validators"]:
            key = comet_pb2.PublicKey(ed25519=base64.b64decode(validator["pub_key"]["value"]))
            request.validators.add(pub_key=key, power=int(validator["power"]))
    app_hash = fresh.application.init_chain(request).app_hash
    for height, block in enumerate(evidence.blocks, 1):
        if bytes.fromhex(block["header"]["app_hash"]) != app_hash:
            judgement.half.append(f"header {height} has app hash {block['header']['app_hash']}")
        txs = [base64.b64decode(tx) for tx in block["data"]["txs"] or ()]
        fresh.time = _seconds(block["header"]["time"]) if "time" in block["header"] else 0
        response = fresh.block(txs)
        app_hash = response.app_hash
        for index, (tx, result) in enumerate(zip(txs, response.tx_results, strict=True)):
            judgement.transactions += 1
            if result.code == 0 and sha256(tx) in found:
                judgement.half.append(f"height {height}: a transaction took effect twice")
            found.setdefault(sha256(tx), (height, index, result.data))
        if (height, app_hash) != evidence.disk and height == evidence.disk[0]:
            judgement.half.append(f"the disk at height {height} has {evidence.disk[1].hex()}")
    if evidence.disk[0] < len(evidence.blocks) - 1:
        judgement.lost.append(f"the disk is at {evidence.disk[0]}, the chain at {len(evidence.blocks)}")
    judgement.lost += _lost_receipts(evidence, found)
    return judgement


def _seconds(text: str) -> int:
    return parse_time(text) // 10**9


def _lost_receipts(evidence: Evidence, found: dict[bytes, tuple[int, int, bytes]]) -> list[str]:
    lost = []
    for proven in evidence.proven:
        receipt = proven.receipt
        wanted = (receipt.height, receipt.index, receipt.receipt.to_bytes())
        if found.get(sha256(proven.tx)) != wanted:
            lost.append(f"envelope {receipt.receipt.envelope}, proven at height {receipt.height}")
    absent = [tx for tx in evidence.unproven if not found.get(sha256(tx), (0, 0, b""))[2]]
    return lost + [f"{sha256(tx).hex()}: called used up, not in the chain" for tx in absent]
