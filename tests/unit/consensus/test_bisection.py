"""Walks: how few blocks are asked for, what breaks one off, what witnesses can say."""

from __future__ import annotations

import pytest

from consensus.light.bisection import bisect, drive
from consensus.light.types import LightBlock, Options, Trusted
from consensus.light.verifier import restored
from consensus.light.witness import cross_check
from ledger.errors import Code, EnvironmentFault, VerificationFailed
from tests.support.chain import Chain, signers

OPTIONS = Options()
NAMES = "abcdefghijklmnopqrst"


def _rotating(length: int) -> Chain:
    """A chain whose set of four loses its oldest member and gains a new one each height."""
    chain = Chain(signers(*NAMES[:4]))
    for height in range(1, length + 1):
        chain.append(following=signers(*(f"v{i}" for i in range(height, height + 4))))
    return chain


def _walk(chain: Chain, target: int, asked: list[int], requests_max: int = 100) -> Trusted:
    def fetch(height: int) -> LightBlock:
        asked.append(height)
        return chain.blocks[height]

    walk = bisect(chain.trusted(1), target, OPTIONS, chain.now_ns, trace=[], requests_max=requests_max)
    return drive(walk, fetch)


@pytest.mark.requires("light.bisection")
def test_an_unchanged_set_needs_one_block() -> None:
    chain = Chain(signers(*"abcd"))
    chain.extend(60)
    asked: list[int] = []
    assert _walk(chain, 60, asked) == chain.trusted(60)
    assert asked == [60]


@pytest.mark.requires("light.bisection")
def test_a_changing_set_is_followed() -> None:
    chain = _rotating(40)
    asked: list[int] = []
    assert _walk(chain, 40, asked) == chain.trusted(40)
    assert len(asked) == len(set(asked)) < 40


@pytest.mark.requires("light.bisection-bounded")
def test_requests_are_bounded() -> None:
    chain = _rotating(40)
    with pytest.raises(VerificationFailed) as refused:
        _walk(chain, 40, [], requests_max=5)
    assert refused.value.code is Code.BISECTION_EXHAUSTED


@pytest.mark.requires("light.bisection")
def test_a_lie_on_the_way_ends_the_walk_and_what_was_verified_stays() -> None:
    chain = _rotating(40)
    trace: list[Trusted] = []
    lie = chain.forge(40, absent=chain.members[40][:2])
    walk = bisect(chain.trusted(1), 40, OPTIONS, chain.now_ns, trace=trace)
    with pytest.raises(VerificationFailed) as refused:
        drive(walk, lambda height: lie if height == 40 else chain.blocks[height])
    assert refused.value.code is Code.COMMIT_UNDER_TWO_THIRDS
    assert trace
    assert all(trusted == chain.trusted(trusted.height) for trusted in trace)


@pytest.mark.requires("light.bisection")
def test_another_height_than_asked_is_refused() -> None:
    chain = Chain(signers(*"abcd"))
    chain.extend(9)
    walk = bisect(chain.trusted(1), 9, OPTIONS, chain.now_ns, trace=[])
    with pytest.raises(VerificationFailed) as refused:
        drive(walk, lambda height: chain.blocks[height - 1])
    assert refused.value.code is Code.COMMIT_MISMATCH


@pytest.mark.requires("light.bisection")
def test_a_walk_goes_forwards_only() -> None:
    chain = Chain(signers(*"abcd"))
    chain.extend(3)
    with pytest.raises(VerificationFailed) as refused:
        drive(bisect(chain.trusted(3), 3, OPTIONS, chain.now_ns, trace=[]), lambda h: chain.blocks[h])
    assert refused.value.code is Code.HEADER_NOT_NEWER


def _check(chain: Chain, *others: dict[int, LightBlock]) -> None:
    def serve(blocks: dict[int, LightBlock]) -> object:
        def fetch(height: int) -> LightBlock:
            if height not in blocks:
                raise EnvironmentFault(Code.RPC_REFUSED)
            return blocks[height]

        return fetch

    witnesses = [serve(blocks) for blocks in others]
    cross_check(chain.trusted(5), chain.trusted(1), OPTIONS, chain.now_ns, witnesses)  # type: ignore[arg-type]


@pytest.mark.requires("light.witnesses")
def test_witnesses() -> None:
    chain = Chain(signers(*"abcd"))
    chain.extend(5)
    proven = {5: chain.forge(5, app_hash=b"\x01" * 32)}
    nonsense = {5: chain.forge(5, app_hash=b"\x01" * 32, absent=chain.members[5][:3])}
    _check(chain)
    _check(chain, chain.blocks, nonsense, {})
    for others, code in (
        ((chain.blocks, proven), Code.HEADERS_DIVERGED),
        ((nonsense,), Code.NO_WITNESS_AGREES),
        (({},), Code.NO_WITNESS_AGREES),
    ):
        with pytest.raises(VerificationFailed) as refused:
            _check(chain, *others)
        assert refused.value.code is code


@pytest.mark.requires("light.bisection")
def test_a_walk_without_the_next_sets_cannot_skip() -> None:
    chain = _rotating(10)
    bare = restored(chain.trusted(1).header, None)
    with pytest.raises(VerificationFailed) as refused:
        drive(bisect(bare, 10, OPTIONS, chain.now_ns, trace=[]), lambda h: chain.blocks[h])
    assert refused.value.code is Code.NEXT_VALIDATORS_MISMATCH
