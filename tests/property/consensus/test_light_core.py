"""The verdict depends on what is shown, not on the order of looking; skipping believes what steps believe."""

from __future__ import annotations

import copy
import dataclasses
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.light import predicates
from consensus.light.bisection import bisect, drive
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.signatures import VerifiedVotes, tally_by_address, tally_by_index
from consensus.light.types import LightBlock, Options, SignedHeader, Trusted, ValidatorSet
from consensus.light.verdict import Invalid, NotEnoughTrust, Ok
from consensus.light.verifier import verify
from ledger.errors import Code, VerificationFailed
from tests.conformance.__main__ import answer_line, suite_named
from tests.support.chain import Chain, Signer, secp_signers, set_of, sign, signers

POOL = (*signers(*"abcdefgh"), *signers("heavy", power=25), *secp_signers("s", "t"))
OPTIONS = Options()
SECONDS_MAX, BYTES_MAX = 2.0, 8 * 2**20

members = st.lists(st.sampled_from(POOL), min_size=1, max_size=6, unique=True)


def _grown(sets: list[list[Signer]]) -> Chain:
    """Make a chain whose sets from height 2 on are these."""
    chain = Chain(sets[0])
    for following in [*sets[1:], sets[-1]]:
        chain.append(following=following)
    return chain


_LIES: dict[str, Callable[[Chain, LightBlock], LightBlock]] = {
    "header": lambda _c, b: _with_header(b, app_hash=b"\x01" * 32),
    "version": lambda _c, b: _with_header(b, version_block=10),
    "chain": lambda _c, b: _with_header(b, chain_id="other"),
    "time": lambda c, b: _with_header(b, time_ns=c.now_ns + OPTIONS.clock_drift_ns),
    "set": lambda _c, b: dataclasses.replace(b, validators=set_of(signers("z"))),
    "next set": lambda _c, b: dataclasses.replace(b, next_validators=set_of(signers("z"))),
    "votes": lambda c, b: _with_commit(b, c, absent=c.members[b.height][1:]),
    "signature": lambda _c, b: _with_wrong_signature(b),
}


def _with_header(block: LightBlock, **fields: Any) -> LightBlock:
    header = dataclasses.replace(block.header, **fields)
    return dataclasses.replace(block, signed_header=SignedHeader(header, block.signed_header.commit))


def _with_commit(block: LightBlock, chain: Chain, **how: Any) -> LightBlock:
    commit = sign(chain.chain_id, block.header, chain.members[block.height], **how)
    return dataclasses.replace(block, signed_header=SignedHeader(block.header, commit))


def _with_wrong_signature(block: LightBlock) -> LightBlock:
    first, *rest = block.signed_header.commit.signatures
    wrong = dataclasses.replace(first, timestamp_ns=first.timestamp_ns + 1)
    commit = dataclasses.replace(block.signed_header.commit, signatures=(wrong, *rest))
    return dataclasses.replace(block, signed_header=SignedHeader(block.header, commit))


def _claims(block: LightBlock, trusted: Trusted, now_ns: int) -> list[Callable[[], object]]:
    """Give every claim on its own, as a function that raises or returns False where it does not hold."""
    header, commit = block.header, block.signed_header.commit
    claims: list[Callable[[], object]] = [
        partial(predicates.is_within_trusting_period, trusted.header, OPTIONS.trusting_period_ns, now_ns),
        partial(predicates.is_supported_version, header),
        partial(predicates.is_of_chain, header, trusted.header.chain_id),
        partial(predicates.is_commit_for_header, block.signed_header),
        partial(predicates.is_newer, header, trusted.header),
        partial(predicates.is_not_from_future, header, OPTIONS.clock_drift_ns, now_ns),
        partial(predicates.are_validators_of, block.validators, header),
        partial(predicates.has_a_vote_for_each, block.validators, commit),
        lambda: _carried(block, trusted),
    ]
    if block.next_validators is not None:
        claims.append(partial(predicates.are_next_validators_of, block.next_validators, header))
    if block.height == trusted.height + 1:
        claims.append(partial(predicates.are_announced_validators, header, trusted.header))
    return claims


def _carried(block: LightBlock, trusted: Trusted) -> bool:
    commit = block.signed_header.commit
    if len(commit.signatures) != len(block.validators.validators):
        return False
    tally, votes = tally_by_index(block.validators, commit)
    VerifiedVotes(trusted.header.chain_id, commit).check(votes)
    if block.height == trusted.height + 1:
        return tally.is_enough()
    assert trusted.next_validators is not None
    trust, others = tally_by_address(trusted.next_validators, commit, OPTIONS.trust_level)
    VerifiedVotes(trusted.header.chain_id, commit).check(others)
    return tally.is_enough() and trust.is_enough()


def _holds(claim: Callable[[], object]) -> bool:
    try:
        return claim() is not False
    except VerificationFailed:
        return False


@pytest.mark.requires("light.order-free")
@settings(max_examples=120, deadline=None)
@given(
    st.lists(members, min_size=3, max_size=5),
    st.sets(st.sampled_from(sorted(_LIES)), max_size=3),
    st.randoms(use_true_random=False),
)
def test_a_block_is_believed_if_every_claim_holds_in_any_order(
    sets: list[list[Signer]], lies: set[str], chance: Any
) -> None:
    chain = _grown(sets)
    block, ground = chain.blocks[chance.randrange(2, chain.height + 1)], chain.trusted(1)
    order = sorted(lies)
    chance.shuffle(order)
    for lie in order:
        block = _LIES[lie](chain, block)
    claims = _claims(block, ground, chain.now_ns)
    chance.shuffle(claims)
    verdict = verify(block, ground, OPTIONS, chain.now_ns)
    assert isinstance(verdict, Ok) == all(map(_holds, claims))
    assert isinstance(verdict, Ok | NotEnoughTrust | Invalid)


@pytest.mark.requires("light.order-free")
@settings(max_examples=50, deadline=None)
@given(members, st.randoms(use_true_random=False))
def test_a_set_shown_in_any_order_gives_the_same_verdict(chosen: list[Signer], chance: Any) -> None:
    chain = _grown([chosen, chosen])
    block = chain.blocks[2]
    shuffled = [signer.validator for signer in chance.sample(chosen, len(chosen))]
    shown = dataclasses.replace(block, validators=ValidatorSet.of(tuple(shuffled)))
    now_ns, ground = chain.now_ns, chain.trusted(1)
    assert verify(shown, ground, OPTIONS, now_ns) == verify(block, ground, OPTIONS, now_ns)


def _stepped(chain: Chain, blocks: dict[int, LightBlock], target: int) -> Trusted | Code:
    trusted = chain.trusted(1)
    for height in range(2, target + 1):
        verdict = verify(blocks[height], trusted, OPTIONS, chain.now_ns)
        if not isinstance(verdict, Ok):
            assert isinstance(verdict, Invalid)
            return verdict.error.code
        trusted = verdict.trusted
    return trusted


def _leapt(chain: Chain, blocks: dict[int, LightBlock], target: int) -> Trusted | Code:
    walk = bisect(chain.trusted(1), target, OPTIONS, chain.now_ns, trace=[])
    try:
        return drive(walk, blocks.__getitem__)
    except VerificationFailed as error:
        return error.code


@pytest.mark.requires("light.bisection-equals-steps")
@settings(max_examples=60, deadline=None)
@given(st.lists(members, min_size=2, max_size=12))
def test_skipping_believes_what_stepping_believes(sets: list[list[Signer]]) -> None:
    chain = _grown(sets)
    for target in range(2, chain.height + 1):
        assert _leapt(chain, chain.blocks, target) == _stepped(chain, chain.blocks, target)
        assert _leapt(chain, chain.blocks, target) == chain.trusted(target)


@pytest.mark.requires("light.bisection-equals-steps")
@settings(max_examples=60, deadline=None)
@given(st.lists(members, min_size=2, max_size=10), st.sampled_from(sorted(_LIES)))
def test_a_lie_at_the_target_is_refused_by_both(sets: list[list[Signer]], lie: str) -> None:
    chain = _grown(sets)
    target = chain.height
    lied = _LIES[lie](chain, chain.blocks[target])
    blocks = {**chain.blocks, target: lied}
    if verify(lied, chain.trusted(target - 1), OPTIONS, chain.now_ns) == Ok(chain.trusted(target)):
        return  # a single heavy validator's vote alone is enough
    assert isinstance(_leapt(chain, blocks, target), Code)
    assert isinstance(_stepped(chain, blocks, target), Code)


_BLOCK = _grown([list(POOL[:4])] * 2).blocks[2]
_VALID: Any = {
    "signed_header": signed_header_json(_BLOCK.signed_header),
    "validators": validators_json(_BLOCK.validators),
}


def _nested() -> Any:
    inner: Any = []
    for _ in range(100_000):
        inner = [inner]
    return inner


_BIG: dict[str, Any] = {
    "nested": _nested(),
    "a million": [{}] * 1_000_000,
    "a million strings": ["00"] * 1_000_000,
    "a wide object": {str(number): None for number in range(50_000)},
    "digits": "9" * 10_000_000,
    "hex": "AB" * 10_000_000,
    "base64": "A" * 20_000_000,
    "a huge integer": 10**6000,
    "a negative one": -(10**6000),
    "not a number": float("nan"),
    "endless": float("inf"),
    "a surrogate": "\ud800",
}
_SPOTS = (
    ("signed_header",),
    ("signed_header", "header"),
    ("signed_header", "header", "version", "block"),
    ("signed_header", "header", "chain_id"),
    ("signed_header", "header", "height"),
    ("signed_header", "header", "time"),
    ("signed_header", "header", "app_hash"),
    ("signed_header", "header", "last_block_id"),
    ("signed_header", "commit", "round"),
    ("signed_header", "commit", "signatures"),
    ("signed_header", "commit", "signatures", 0),
    ("signed_header", "commit", "signatures", 0, "block_id_flag"),
    ("signed_header", "commit", "signatures", 0, "signature"),
    ("validators",),
    ("validators", 0, "pub_key"),
    ("validators", 0, "pub_key", "value"),
    ("validators", 0, "voting_power"),
    ("next_validators",),
)


def _judged(case: Any, *, lax: bool) -> None:
    ground = _grown([list(POOL[:4])] * 2)
    verdict = verify(parse_light_block(case, lax=lax), ground.trusted(1), OPTIONS, ground.now_ns)
    if isinstance(verdict, Invalid):
        raise verdict.error


@pytest.mark.requires("light.bounded-input")
@pytest.mark.parametrize("name", _BIG)
@pytest.mark.parametrize("lax", [False, True])
def test_huge_input_is_refused_at_once(name: str, lax: bool) -> None:
    for spot in _SPOTS:
        case = copy.deepcopy(_VALID)
        inner = case
        for step in spot[:-1]:
            inner = inner[step]
        inner[spot[-1]] = _BIG[name]
        tracemalloc.start()
        began = time.process_time()
        try:
            with pytest.raises(VerificationFailed) as refused:
                _judged(case, lax=lax)
            assert len(str(refused.value)) < 1000
            assert time.process_time() - began < SECONDS_MAX, spot
            assert tracemalloc.get_traced_memory()[1] < BYTES_MAX, spot
        finally:
            tracemalloc.stop()


@pytest.mark.requires("light.bounded-input")
@pytest.mark.parametrize("name", ["light", "bisect", "ics23", "merkle", "jcs", "canonical"])
@pytest.mark.parametrize(
    "line",
    [b"[" * 200_000, b'{"id":1,"steps":' * 5000, b'{"id":1,"now":' + b"9" * 100_000 + b"}", b'{"id":1e999}'],
    ids=["deep list", "deep object", "digits", "endless"],
)
def test_the_door_refuses_a_line_that_is_no_case(name: str, line: bytes) -> None:
    answer = answer_line(suite_named(name), line)
    assert answer["verdict"] == "refused"
    assert "error" not in answer
