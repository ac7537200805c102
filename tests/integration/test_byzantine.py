"""One of four real validators proposes garbage, forgeries, duplicates, too much: rounds are lost, no more."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.spec import Timing
from consensus.node.supervise import stop_node
from ledger.bodies import release_body
from ledger.errors import Code
from tests.integration.nodes import WAIT_S, Node, cometbft, free_base, until
from tests.support import byzantine
from tests.support.subjects import BOB, genesis_document, release, seal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SIZE = 4
CHEAT = SIZE - 1
PATIENT = Timing(propose=5000, vote=200, commit=50, heartbeat=1000)
"""A round is lost for what was proposed, and not because a busy machine was slow to propose it."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Four validators, the last one Byzantine."""
    root = tmp_path_factory.mktemp("byz")
    localnet = Localnet(root, byzantine.CHAIN_ID, SIZE, free_base(2 * SIZE), timing=PATIENT)
    nodes: list[Node] = []
    try:
        document = genesis_document()
        document["parameters"] |= {"openProposalsMax": 256, "envelopesPerWindowMax": 100_000}
        for number, planned in enumerate(write_localnet(localnet, time.time_ns(), document)):
            module = "tests.support.byzantine" if number == CHEAT else "abci_app"
            nodes.append(Node(planned.spec, launch(Launch(planned.spec.home, cometbft(), module))))
        yield nodes
    finally:
        for node in nodes:
            stop_node(node.spec.home)
            node.supervisor.wait(WAIT_S)


def tricks(nodes: list[Node]) -> list[tuple[str, int]]:
    """Give the tricks played so far, with their heights."""
    log = nodes[CHEAT].spec.home / byzantine.LOG
    lines = log.read_text().splitlines() if log.exists() else []
    return [(name, int(height)) for name, _, height in (line.partition(",") for line in lines)]


def block(node: Node, height: int) -> Any:
    """Give a block."""
    return node.rpc(f"block?height={height}")["block"]


def codes(node: Node, height: int) -> list[int]:
    """Give the codes of a block's results."""
    return [result["code"] for result in node.rpc(f"block_results?height={height}")["txs_results"] or []]


def judged(nodes: list[Node], last: int) -> dict[int, str]:
    """Give the tricks up to ``last`` that can be judged, by height.

    A cheat that is to propose again at one height, in a later round, plays the next trick. And a trick that
    is tolerated may be too slow all the same: another's block is decided then.
    """
    played = [(name, height) for name, height in tricks(nodes) if height <= last]
    once = Counter(height for _, height in played)
    alone = {height: name for name, height in played if once[height] == 1}
    cheat = json.loads(nodes[CHEAT].spec.paths.validator_key.read_text())["address"]
    return {
        height: name
        for height, name in alone.items()
        if name in byzantine.REJECTED or block(nodes[0], height)["header"]["proposer_address"] == cheat
    }


@pytest.mark.requires("abci.byzantine-proposer")
def test_a_byzantine_proposer_costs_rounds_only(net: list[Node]) -> None:
    until("the first blocks", lambda: all(node.height() >= 2 for node in net), net[0])
    members = {(i, name): node.member(name) for i, node in enumerate(net) for name in ("app", "cometbft")}
    sent = 0

    def all_played() -> bool:
        nonlocal sent
        sent += 1
        tx = seal(BOB, release_body(release()), sent, not_after=10_000, chain_id=byzantine.CHAIN_ID)
        net[0].post("broadcast_tx_sync", tx=base64.b64encode(tx).decode())
        played = {name for name, _ in tricks(net)}
        # The next block shows how many rounds one cost.
        newest = net[0].height() - 1
        return played == set(byzantine.TRICKS) == set(judged(net, newest).values())

    until("every trick played", all_played, net[0], 4 * WAIT_S)
    last = net[0].height() - 1
    until("the heights after", lambda: all(node.height() > last + 2 for node in net), net[0])

    hashes = {node.rpc(f"block?height={last + 2}")["block"]["header"]["app_hash"] for node in net}
    assert len(hashes) == 1
    now = {(i, name): node.member(name) for i, node in enumerate(net) for name in ("app", "cometbft")}
    assert now == members, "a process died"
    cheat_address = json.loads(net[CHEAT].spec.paths.validator_key.read_text())["address"]
    found = judged(net, last)
    for height, name in found.items():
        proposer = block(net[0], height)["header"]["proposer_address"]
        if name in byzantine.REJECTED:
            assert proposer != cheat_address, f"{name} at {height} was decided"
            assert block(net[0], height + 1)["last_commit"]["round"] >= 1, f"{name} at {height} cost no round"
            assert set(codes(net[0], height)) <= {0}
    refused = {name: codes(net[0], height) for height, name in found.items() if name in byzantine.TOLERATED}
    assert refused["duplicates"] == [Code.RELEASE_UNKNOWN, Code.NONCE_REPLAYED, Code.NONCE_REPLAYED]
    assert refused["expired"] == [Code.ENVELOPE_EXPIRED]
    assert refused["strangers"] == [Code.SIGNER_UNKNOWN]
    assert refused["old"]
    assert 0 not in refused["old"]
    assert all("proposed block refused" in node.log("app") for node in net[:CHEAT])
