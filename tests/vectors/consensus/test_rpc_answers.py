"""Answers recorded from a real node: header hashes, a commit signature, results and inclusion proofs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consensus import answers
from consensus.light.encoding import header_hash
from consensus.light.parse import parse_header
from consensus.light.render import header_json, signed_header_json
from consensus.light.types import LightBlock
from consensus.light.verifier import trust_root
from consensus.results import verify_transaction
from consensus.trust_store import TrustRoot
from ledger.errors import Code, VerificationFailed
from tests.vectors.state.shared import SHARED

_FOLDER = SHARED / "vectors" / "rpc-v0_38" / "incoming"

pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason=f"no public vectors at {_FOLDER}")


def _result(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text())["result"]


@pytest.mark.requires("light.byte-rules")
@pytest.mark.parametrize("name", ["block_at_height_1", "block_at_height_10", "block_by_hash"])
def test_header_hash_is_the_nodes(name: str) -> None:
    block = _result(name)
    header = parse_header(block["block"]["header"])
    assert header_hash(header).hex().upper() == block["block_id"]["hash"]


@pytest.mark.requires("light.byte-rules")
def test_the_genesis_validator_signed_height_10() -> None:
    root = TrustRoot.from_genesis(_result("genesis")["genesis"])
    signed_header = answers.read_commit(_result("commit_at_height_10"))
    assert root.validators is not None
    block = LightBlock(signed_header, root.validators)
    assert trust_root(block, root.chain_id, None).height == 10
    with pytest.raises(VerificationFailed) as refused:
        trust_root(block, "other", None)
    assert refused.value.code is Code.HEADER_CHAIN_MISMATCH


@pytest.mark.requires("light.render-round-trip")
def test_rendering_gives_what_the_node_wrote() -> None:
    recorded = _result("commit_at_height_10")["signed_header"]
    signed_header = answers.read_commit(_result("commit_at_height_10"))
    assert signed_header_json(signed_header) == recorded
    assert header_json(signed_header.header) == recorded["header"]


@pytest.mark.requires("rpc.typed-answers")
def test_recorded_answers_are_read() -> None:
    assert answers.read_status(_result("status")).chain_id == "dockerchain"
    assert answers.read_query(_result("abci_query_with_existing_key")).value == b"value"
    assert answers.read_broadcast(_result("broadcast_tx_sync")).code == 0
    assert answers.read_results(_result("block_results_at_height_10"), 10) == ()


@pytest.mark.requires("submit.inclusion-proven")
def test_recorded_inclusion_proofs_verify() -> None:
    found = _result("tx_search_with_prove")["txs"]
    for tx in found:
        answer = answers.read_tx(tx)
        verify_transaction(answer.tx, answer.proof, bytes.fromhex(tx["proof"]["root_hash"]))
    assert found
