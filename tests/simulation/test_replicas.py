"""Four replicas, one random history: the same bytes everywhere, whatever each of them suffers on the way.

A failure prints the seed; ``CONCLAVE_SIMULATION_SEED=N pytest tests/simulation`` tells that story again.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from ledger.errors import Code
from ledger.pb import abci_pb2 as pb
from tests.simulation.blocks import BlockSource
from tests.support.application import Chain, memory_application
from tests.support.memory_state import MemoryStore

REPLICAS = 4
HEIGHTS = 20
SEEDS = (
    [int(os.environ["CONCLAVE_SIMULATION_SEED"])] if "CONCLAVE_SIMULATION_SEED" in os.environ else [6, 8, 23]
)


class Replica:
    """A validator's application over a store that outlives it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.chain = Chain(memory_application(self.store))
        self.chain.start()

    def crash(self) -> None:
        """Lose everything that is not committed, and come back as CometBFT brings it back."""
        height = self.store.committed.height
        self.chain = Chain(memory_application(self.store))
        if not height:
            self.chain.start()
        self.chain.height = height


def run(seed: int, replica: Replica, fate: BlockSource, txs: list[bytes]) -> pb.ResponseFinalizeBlock:
    """Bring one decided block to one replica, with what may happen before it."""
    chain = replica.chain
    if fate.chance(50):
        for tx in fate.shuffled(txs):
            chain.check(tx)
    if fate.chance(30):
        prepared = chain.prepare(fate.shuffled(txs))
        assert chain.process(prepared), f"seed {seed}: an honest proposal was rejected"
    if fate.chance(30):
        chain.finalize(fate.shuffled(txs)[: len(txs) // 2])
    if fate.chance(20):
        chain.finalize(txs)
        replica.crash()
        chain = replica.chain
    response = chain.finalize(txs)
    chain.commit()
    if fate.chance(10):
        replica.crash()
    return response


@pytest.mark.requires("abci.determinism")
@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_agree_through_crashes_rounds_and_garbage(seed: int) -> None:
    source = BlockSource(seed)
    replicas = [Replica() for _ in range(REPLICAS)]
    fates = [BlockSource(seed * 1000 + number) for number in range(REPLICAS)]
    seen: Counter[int] = Counter()
    for height in range(1, HEIGHTS + 1):
        txs = source.block(height)
        responses = [run(seed, replica, fate, txs) for replica, fate in zip(replicas, fates, strict=True)]
        assert len(responses[0].tx_results) == len(txs), f"seed {seed}, height {height}"
        for response in responses[1:]:
            assert response == responses[0], f"seed {seed}, height {height}"
        seen.update(result.code for result in responses[0].tx_results)
    roots = {replica.chain.info() for replica in replicas}
    assert len(roots) == 1, f"seed {seed}"
    assert len({tuple(sorted(replica.store.content.items())) for replica in replicas}) == 1, f"seed {seed}"
    assert seen[Code.OK] >= 10, f"seed {seed}: too little happened: {seen}"
    assert len(seen) >= 10, f"seed {seed}: too few kinds of refusal: {seen}"


@pytest.mark.requires("abci.determinism")
def test_a_seed_gives_the_same_blocks() -> None:
    one, two, other = BlockSource(7), BlockSource(7), BlockSource(8)
    blocks = [one.block(height) for height in range(1, 20)]
    assert blocks == [two.block(height) for height in range(1, 20)]
    assert blocks != [other.block(height) for height in range(1, 20)]
