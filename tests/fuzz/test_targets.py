"""The fuzz targets hold on their seeds and on damaged seeds, so that a fuzzing run starts from truth."""

from __future__ import annotations

import random

import pytest

from ledger import canonical
from state import proof
from tests.fuzz import targets
from tests.fuzz.targets import TARGETS

DAMAGED = 40


@pytest.mark.requires("house.fuzz")
@pytest.mark.parametrize("name", TARGETS)
def test_targets_hold_on_seeds_and_damaged_seeds(name: str) -> None:
    target, seeds = TARGETS[name]
    chance = random.Random(name)  # noqa: S311 - reproducible, not secret
    target(b"")
    for seed in seeds:
        target(seed)
        for _ in range(DAMAGED // len(seeds)):
            changed = bytearray(seed)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(changed))
                changed[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
                changed = changed or bytearray(b"x")
            target(bytes(changed))


@pytest.mark.requires("house.fuzz")
def test_a_target_notices_what_it_is_there_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "load", lambda content: 1)
    with pytest.raises(AssertionError):
        targets.canonicaliser(b"1.0")
    monkeypatch.setattr(proof, "verify_membership", lambda *_: None)
    with pytest.raises(AssertionError):
        targets.state_proofs(TARGETS["proof"][1][0])


@pytest.mark.requires("house.fuzz")
def test_the_light_seeds_are_blocks_that_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "header_hash", lambda header: b"another")
    for seed in TARGETS["light"][1]:
        with pytest.raises(AssertionError):
            targets.light_blocks(seed)
