"""Four to seven replicas, one random history a seed: the same bytes everywhere, whatever each suffers.

A failure names its seed and height; ``make campaign-simulation SEED=N BLOCKS=M`` tells that story again.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ledger.errors import Code
from tests.simulation.network import network
from tests.simulation.traffic import Traffic
from tests.simulation.world import World

SEEDS = range(1, 11)
BLOCKS = 200
"""A seed; 2,000 over all."""


@pytest.mark.requires("abci.determinism", "simulation.invariants")
@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_agree_and_every_invariant_holds(seed: int) -> None:
    with network(seed) as simulated:
        for _ in range(BLOCKS):
            simulated.block()
        simulated.settle()
        audit = simulated.audit
    assert audit.codes[Code.OK] >= BLOCKS // 2, f"too little happened: {audit.codes}"
    assert len(audit.codes) >= 8, f"too few kinds of refusal: {audit.codes}"
    assert audit.recount.finals >= BLOCKS // 20
    assert simulated.crashes >= 5
    assert simulated.lost_rounds >= 10


@pytest.mark.requires("simulation.invariants")
def test_the_seeds_differ_in_size_and_rules() -> None:
    worlds: Counter[tuple[str, int]] = Counter()
    for seed in range(1, 40):
        world = World.of(random.Random(seed))  # noqa: S311 - reproducible, not secret
        worlds.update((("replicas", world.replicas), ("humans", world.humans)))
    assert {size for size in range(4, 8) if worlds["replicas", size]} == {4, 5, 6, 7}
    assert worlds["humans", 2]
    assert worlds["humans", 3]


@pytest.mark.requires("simulation.replays")
def test_a_seed_tells_one_story() -> None:
    def story(seed: int) -> list[str]:
        with network(seed) as simulated:
            return [simulated.block() for _ in range(30)]

    one = story(77)
    assert one == story(77)
    assert one != story(78)
    assert len(set(one)) > 15


@pytest.mark.requires("simulation.replays")
def test_a_failure_names_its_seed_and_height() -> None:
    def live() -> None:
        with network(5) as simulated:
            for _ in range(6):
                simulated.block()
            raise AssertionError("found")

    with pytest.raises(AssertionError) as caught:
        live()
    assert caught.value.__notes__ == ["seed 5, height 7; again: make campaign-simulation SEED=5 BLOCKS=7"]


@pytest.mark.requires("simulation.replays")
def test_traffic_is_a_function_of_its_seed() -> None:
    one, two, other = Traffic.of(7), Traffic.of(7), Traffic.of(8)
    blocks = [one.block(height) for height in range(1, 20)]
    assert blocks == [two.block(height) for height in range(1, 20)]
    assert blocks != [other.block(height) for height in range(1, 20)]


@pytest.mark.requires("simulation.replays")
def test_enough_replicas_for_the_faults() -> None:
    assert [World(n, 2, 2, 9).faulty for n in (4, 5, 6, 7)] == [1, 1, 1, 2]
