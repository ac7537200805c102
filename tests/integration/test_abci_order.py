"""A live CometBFT's calls, noted by a monitor: the ABCI 2.0 grammar holds, also across kill -9 and replay."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import NodeSpec
from consensus.node.supervise import stop_node
from ledger.bodies import release_body
from tests.integration.nodes import FAST, WAIT_S, Node, cometbft, free_base, until
from tests.support.abci_monitor import RECORD, Grammar, read_record
from tests.support.subjects import ALICE, genesis_document, release, seal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHAIN_ID = "order-test"


def start(spec: NodeSpec) -> Node:
    return Node(spec, launch(Launch(spec.home, cometbft(), "tests.support.monitored")))


def stop(node: Node) -> None:
    stop_node(node.spec.home)
    node.supervisor.wait(WAIT_S)


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[NodeSpec]:
    (planned,) = write_localnet(
        Localnet(tmp_path, CHAIN_ID, 1, free_base(2), timing=FAST), time.time_ns(), genesis_document()
    )
    yield planned.spec
    stop_node(planned.spec.home)


def send(node: Node, nonce: int) -> None:
    """Have a proposal committed."""
    node.commit(seal(ALICE, release_body(release()), nonce, not_after=10_000, chain_id=CHAIN_ID))


@pytest.mark.requires("abci.order-live")
def test_the_calls_of_a_live_node_keep_the_grammar(spec: NodeSpec) -> None:
    node = start(spec)
    until("the first block", lambda: node.height() >= 1, node)
    for nonce in range(1, 4):
        send(node, nonce)
    for number, victim in enumerate(("app", "cometbft")):
        node.kill(victim)
        send(node, 10 + number)
    stop(node)
    judged = Grammar.judge(read_record(spec.home))
    assert judged.violations == []
    assert judged.seen["start"] == 3
    assert judged.seen["init_chain"] == 1
    for name in ("prepare_proposal", "process_proposal", "finalize_block", "commit", "check_tx"):
        assert judged.seen[name] >= 5, judged.seen
    assert judged.seen["extend_vote"] == judged.seen["verify_vote_extension"] == 0

    # An application that lost its state is brought back by InitChain and every block anew.
    (spec.home / RECORD).unlink()
    shutil.rmtree(spec.paths.application)
    again = start(spec)
    until("new blocks", lambda: again.height() >= judged.seen["commit"] + 2, again)
    stop(again)
    replayed = Grammar.judge(read_record(spec.home))
    assert replayed.violations == []
    assert replayed.seen["init_chain"] == 1
    assert replayed.seen["replayed"] >= 5
