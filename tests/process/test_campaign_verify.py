"""The verification campaign in small: it knows a hole when it sees one, and the page has all its reasons."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from consensus.light import signatures
from consensus.light.verdict import Ok
from consensus.light.verifier import verify as judge
from ledger.errors import VerificationFailed
from tests.campaign import state_proofs, verify
from tests.campaign.mutants import CLASSES
from tests.campaign.verify import HOLE, REFUSED, campaign, effect, light_cases, mutants, outcome, tasks
from tests.support.chain import Chain

COUNT = 6000
PAGE = Path(__file__).parents[2] / "docs" / "spec" / "verification.md"


@pytest.mark.requires("light.mutants")
def test_no_altered_block_or_proof_is_believed() -> None:
    seen = campaign(COUNT, 4)
    assert seen.total() == COUNT
    assert all(seen[kind, REFUSED] > COUNT // 50 for kind in CLASSES)
    listed = (
        PAGE.read_text(encoding="utf-8").partition("## Mutations without effect")[2].partition("\n## ")[0]
    )
    reasons = {reason for _, reason in seen} - {REFUSED}
    assert reasons
    assert all(f"| {reason} |" in listed for reason in reasons), reasons


@pytest.mark.requires("light.mutants")
def test_every_field_of_every_level_is_altered() -> None:
    named = {place[-1] for task in tasks() for place in [task.place] if place}
    block = light_cases()[0].block
    for record in (block.header, block.signed_header.commit, block.signed_header.commit.signatures[0]):
        assert {field.name for field in dataclasses.fields(record)} <= named
    assert {"public_key", "power", "key_type", "voting_power", "root", "value", "proof", "prefix"} <= named
    assert {task.level for task in tasks()} == set(verify.LEVELS)


@pytest.mark.requires("light.mutants")
def test_the_cases_are_accepted_as_they_are() -> None:
    for case in light_cases():
        assert isinstance(judge(case.block, case.ground, case.options, case.now_ns), Ok), case.name
    for proof in state_proofs.state_cases():
        assert state_proofs.judged(proof, proof.claim) != REFUSED


@pytest.mark.requires("light.mutants")
def test_a_seed_makes_the_same_mutants() -> None:
    def some(seed: int) -> list[Any]:
        return [(task.place, task.kind, made) for task, made in itertools.islice(mutants(seed), 300)]

    assert some(1) == some(1)
    assert some(1) != some(2)


@pytest.mark.requires("light.mutants")
def test_a_client_that_skips_signatures_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "verify", lambda *_: True)
    with pytest.raises(AssertionError, match=r"records|json"):
        campaign(COUNT, 4)


@pytest.mark.requires("light.mutants")
def test_an_exception_of_another_tree_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(verify, "verify", broken)
    with pytest.raises(ZeroDivisionError):
        campaign(COUNT, 4)


@pytest.mark.requires("light.mutants")
def test_a_block_that_says_something_else_is_a_hole() -> None:
    case = light_cases()[0]
    chain = Chain(())
    chain.blocks[2] = case.other
    assert effect(case, case.other, chain.trusted(2)) == HOLE


@pytest.mark.requires("light.mutants")
def test_what_no_record_can_say_is_refused() -> None:
    task = tasks()[0]
    assert outcome(task, None) == REFUSED
    with pytest.raises(VerificationFailed):
        verify._value_of(b"{")
