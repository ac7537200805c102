"""The fuzz campaign in small, and that it notices an answer that is no code."""

from __future__ import annotations

import itertools

import pytest

from abci_app.machine import proposals
from ledger.errors import Code
from tests.campaign.fuzz import BLOCK, Mutator, fuzz

COUNT = 3000


@pytest.mark.requires("campaign.fuzz")
def test_every_transaction_is_answered_with_a_code() -> None:
    codes = fuzz(COUNT, 4)
    assert codes.total() >= COUNT
    assert codes[Code.OK] >= COUNT // 200, codes
    assert len(codes) >= 20, codes


@pytest.mark.requires("campaign.fuzz")
def test_a_seed_sends_the_same() -> None:
    one, two, other = Mutator(1), Mutator(1), Mutator(2)
    blocks = [one.block(height) for height in range(1, 6)]
    assert blocks == [two.block(height) for height in range(1, 6)]
    assert blocks != [other.block(height) for height in range(1, 6)]
    assert {len(block) for block in blocks} == {BLOCK}


@pytest.mark.requires("campaign.judges")
def test_an_exception_in_the_machine_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def now_and_then(state: object, name: str) -> None:
        raise ZeroDivisionError(f"{name} at call {next(calls)}")

    monkeypatch.setattr(proposals, "release_record", now_and_then)
    with pytest.raises(ZeroDivisionError):
        fuzz(1000, 1)


@pytest.mark.requires("campaign.judges")
def test_an_unknown_code_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.campaign.fuzz._CODES", frozenset({int(Code.OK)}))
    with pytest.raises(AssertionError, match="CheckTx of"):
        fuzz(100, 1)
