"""One lie at a time: each is told by its code, and nothing but the truth passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from consensus.light.types import (
    BlockIdFlag,
    Commit,
    CommitSig,
    LightBlock,
    Options,
    SignedHeader,
    Trusted,
    TrustLevel,
    _TrustSeal,
)
from consensus.light.verdict import Invalid, NotEnoughTrust, Ok, Verdict
from consensus.light.verifier import linked_back, restored, trust_root, verify
from ledger.errors import Code, Refused, VerificationFailed
from tests.support.chain import CHAIN_ID, Chain, Signer, set_of, sign, signers
from tests.support.seals import reachers, reaches

MEMBERS = signers("a", "b", "c", "d")
STRANGERS = signers("w", "x", "y", "z")
OPTIONS = Options()


def _chain(length: int = 8) -> Chain:
    chain = Chain(MEMBERS)
    chain.extend(length)
    return chain


def _judge(chain: Chain, block: LightBlock, *, ground: int = 1, now_ns: int | None = None) -> Verdict:
    return verify(block, chain.trusted(ground), OPTIONS, chain.now_ns if now_ns is None else now_ns)


def _code(verdict: Verdict) -> Code:
    assert isinstance(verdict, Invalid), verdict
    return verdict.error.code


def _with_signatures(block: LightBlock, signatures: tuple[CommitSig, ...]) -> LightBlock:
    commit = dataclasses.replace(block.signed_header.commit, signatures=signatures)
    return dataclasses.replace(block, signed_header=SignedHeader(block.header, commit))


@pytest.mark.requires("light.adjacent")
def test_the_next_block_verifies() -> None:
    chain = _chain()
    verdict = _judge(chain, chain.blocks[2])
    assert verdict == Ok(chain.trusted(2))


@pytest.mark.requires("light.skipping")
def test_a_later_block_verifies() -> None:
    chain = _chain()
    assert _judge(chain, chain.blocks[8]) == Ok(chain.trusted(8))


@pytest.mark.requires("light.one-lie")
@pytest.mark.parametrize("height", [2, 6])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"chain_id": "other"}, Code.HEADER_CHAIN_MISMATCH),
        ({"version_block": 10}, Code.HEADER_VERSION_UNSUPPORTED),
        ({"time_ns": Chain(MEMBERS).time_ns(1)}, Code.HEADER_TIME_NOT_NEWER),
        ({"time_ns": Chain(MEMBERS).time_ns(100)}, Code.HEADER_FROM_FUTURE),
        ({"validators_hash": b"\x01" * 32}, Code.VALIDATORS_HASH_MISMATCH),
        ({"next_validators_hash": b"\x01" * 32}, Code.NEXT_VALIDATORS_MISMATCH),
    ],
)
def test_a_header_that_lies(height: int, fields: dict[str, Any], code: Code) -> None:
    chain = _chain()
    assert _code(_judge(chain, chain.forge(height, **fields))) is code


@pytest.mark.requires("light.one-lie")
@pytest.mark.parametrize("field", ["app_hash", "data_hash", "last_results_hash", "consensus_hash"])
def test_a_header_changed_after_signing(field: str) -> None:
    chain = _chain()
    block = chain.blocks[5]
    change: dict[str, Any] = {field: b"\x07" * 32}
    header = dataclasses.replace(block.header, **change)
    lie = dataclasses.replace(block, signed_header=SignedHeader(header, block.signed_header.commit))
    assert _code(_judge(chain, lie)) is Code.COMMIT_MISMATCH


@pytest.mark.requires("light.one-lie")
def test_heights_that_are_not_newer() -> None:
    chain = _chain()
    assert _code(_judge(chain, chain.blocks[3], ground=3)) is Code.HEADER_NOT_NEWER
    assert _code(_judge(chain, chain.blocks[2], ground=3)) is Code.HEADER_NOT_NEWER


@pytest.mark.requires("light.expiry")
def test_an_expired_ground_carries_nothing() -> None:
    chain = _chain()
    end = chain.time_ns(1) + OPTIONS.trusting_period_ns
    assert _code(_judge(chain, chain.blocks[2], now_ns=end)) is Code.TRUST_EXPIRED
    assert isinstance(_judge(chain, chain.blocks[2], now_ns=end - 1), Ok)


@pytest.mark.requires("light.one-lie")
def test_the_clock_drift_is_exclusive() -> None:
    chain = _chain()
    edge = chain.time_ns(2) - OPTIONS.clock_drift_ns
    assert _code(_judge(chain, chain.blocks[2], now_ns=edge)) is Code.HEADER_FROM_FUTURE
    assert isinstance(_judge(chain, chain.blocks[2], now_ns=edge + 1), Ok)


@pytest.mark.requires("light.two-thirds")
def test_two_thirds_are_not_more_than_two_thirds() -> None:
    chain = Chain(signers("a", "b", "c"))
    chain.extend(3)
    members = chain.members[2]
    assert isinstance(_judge(chain, chain.forge(2)), Ok)
    assert _code(_judge(chain, chain.forge(2, absent=members[:1]))) is Code.COMMIT_UNDER_TWO_THIRDS


@pytest.mark.requires("light.two-thirds")
@pytest.mark.parametrize("flag", [BlockIdFlag.NIL, BlockIdFlag.ABSENT])
def test_votes_for_nothing_do_not_count(flag: BlockIdFlag) -> None:
    chain = _chain()
    chosen: dict[str, Any] = {"nil" if flag is BlockIdFlag.NIL else "absent": MEMBERS[:2]}
    commit = sign(CHAIN_ID, chain.blocks[2].header, MEMBERS, **chosen)
    block = dataclasses.replace(chain.blocks[2], signed_header=SignedHeader(chain.blocks[2].header, commit))
    assert _code(_judge(chain, block)) is Code.COMMIT_UNDER_TWO_THIRDS


@pytest.mark.requires("light.signatures")
@pytest.mark.parametrize("height", [2, 6])
def test_a_wrong_signature(height: int) -> None:
    chain = _chain()
    sigs = chain.blocks[height].signed_header.commit.signatures
    broken = dataclasses.replace(sigs[0], signature=sigs[1].signature)
    lie = _with_signatures(chain.blocks[height], (broken, *sigs[1:]))
    assert _code(_judge(chain, lie)) is Code.COMMIT_SIGNATURE_INVALID


@pytest.mark.requires("light.signatures")
def test_a_signers_own_time_is_signed() -> None:
    chain = _chain()
    sigs = chain.blocks[2].signed_header.commit.signatures
    moved = dataclasses.replace(sigs[0], timestamp_ns=sigs[0].timestamp_ns + 1)
    lie = _with_signatures(chain.blocks[2], (moved, *sigs[1:]))
    assert _code(_judge(chain, lie)) is Code.COMMIT_SIGNATURE_INVALID


@pytest.mark.requires("light.signatures")
def test_signatures_for_another_chain_do_not_count() -> None:
    chain = _chain()
    header = chain.blocks[2].header
    commit = sign("other", header, MEMBERS)
    lie = dataclasses.replace(chain.blocks[2], signed_header=SignedHeader(header, commit))
    assert _code(_judge(chain, lie)) is Code.COMMIT_SIGNATURE_INVALID


@pytest.mark.requires("light.address-by-index")
def test_a_vote_under_anothers_address() -> None:
    """CSA-2026-001: a vote stands at its validator's index, under its validator's address."""
    chain = _chain()
    sigs = chain.blocks[2].signed_header.commit.signatures
    lie = _with_signatures(chain.blocks[2], (sigs[1], sigs[0], *sigs[2:]))
    assert _code(_judge(chain, lie)) is Code.COMMIT_ADDRESS_MISMATCH


@pytest.mark.requires("light.one-lie")
def test_a_commit_of_another_size() -> None:
    chain = _chain()
    lie = _with_signatures(chain.blocks[2], chain.blocks[2].signed_header.commit.signatures[:3])
    assert _code(_judge(chain, lie)) is Code.COMMIT_MISMATCH


@pytest.mark.requires("light.one-lie")
def test_a_commit_of_another_height_or_none() -> None:
    chain = _chain()
    other = SignedHeader(chain.blocks[2].header, chain.blocks[3].signed_header.commit)
    assert (
        _code(_judge(chain, dataclasses.replace(chain.blocks[2], signed_header=other)))
        is Code.COMMIT_MISMATCH
    )
    assert _code(_judge(chain, _with_signatures(chain.blocks[2], ()))) is Code.HEADER_MALFORMED


@pytest.mark.requires("light.one-lie")
def test_a_commit_that_states_another_height() -> None:
    chain = _chain()
    commit = dataclasses.replace(chain.blocks[2].signed_header.commit, height=3)
    lie = dataclasses.replace(chain.blocks[2], signed_header=SignedHeader(chain.blocks[2].header, commit))
    assert _code(_judge(chain, lie)) is Code.COMMIT_MISMATCH


@pytest.mark.requires("light.one-lie")
def test_one_validator_voting_twice_when_skipping() -> None:
    # The set has grown, so that the doubled vote is met while a third of the old set is still being counted.
    old = signers("a", "b", "c", "d", "e", "f", "g")
    chain = Chain(old)
    chain.extend(4)
    sigs = chain.blocks[4].signed_header.commit.signatures
    lie = _with_signatures(chain.blocks[4], (sigs[0], sigs[0], *sigs[2:]))
    assert _code(_judge(chain, lie)) is Code.VALIDATOR_DUPLICATE


@pytest.mark.requires("light.adjacent")
def test_the_next_set_must_be_the_announced_one() -> None:
    chain = _chain()
    strange = Chain(STRANGERS)
    strange.extend(2)
    block = strange.blocks[2]
    header = dataclasses.replace(block.header, last_block_id=chain.blocks[2].header.last_block_id)
    lie = LightBlock(
        SignedHeader(header, sign(CHAIN_ID, header, STRANGERS)), block.validators, block.next_validators
    )
    assert _code(_judge(chain, lie)) is Code.NEXT_VALIDATORS_MISMATCH


@pytest.mark.requires("light.skipping")
def test_a_set_of_strangers_is_not_a_lie_but_not_trusted() -> None:
    chain = Chain(MEMBERS)
    chain.append()
    chain.append(following=STRANGERS)
    chain.extend(3)
    verdict = _judge(chain, chain.blocks[5])
    assert isinstance(verdict, NotEnoughTrust)
    assert (verdict.tally.signed, verdict.tally.total) == (0, 40)


@pytest.mark.requires("light.skipping")
@pytest.mark.parametrize(("kept", "trusted"), [(1, False), (2, True)])
def test_more_than_a_third_of_the_trusted_set_must_have_signed(kept: int, trusted: bool) -> None:
    members = signers("a", "b", "c")
    chain = Chain(members)
    chain.append()
    chain.append(following=(*members[:kept], *STRANGERS))
    chain.extend(2)
    assert isinstance(_judge(chain, chain.blocks[4]), Ok if trusted else NotEnoughTrust)


@pytest.mark.requires("light.skipping")
def test_a_higher_trust_level_asks_for_more() -> None:
    chain = Chain(MEMBERS)
    chain.append()
    chain.append(following=(*MEMBERS[:3], STRANGERS[0]))
    chain.extend(2)
    for level, kind in (
        (TrustLevel(2, 3), Ok),
        (TrustLevel(3, 4), NotEnoughTrust),
        (TrustLevel(1, 1), NotEnoughTrust),
    ):
        options = dataclasses.replace(OPTIONS, trust_level=level)
        assert isinstance(verify(chain.blocks[4], chain.trusted(1), options, chain.now_ns), kind)


@pytest.mark.requires("light.skipping")
@pytest.mark.parametrize(("numerator", "denominator"), [(1, 4), (4, 3), (0, 1), (1, 0), (-1, -1)])
def test_a_trust_level_outside_the_sound_range(numerator: int, denominator: int) -> None:
    with pytest.raises(Refused) as refused:
        TrustLevel(numerator, denominator)
    assert refused.value.code is Code.FIELD_INVALID


@pytest.mark.requires("light.skipping")
def test_skipping_needs_the_trusted_next_set() -> None:
    chain = _chain()
    bare = restored(chain.trusted(1).header, None)
    assert _code(verify(chain.blocks[5], bare, OPTIONS, chain.now_ns)) is Code.NEXT_VALIDATORS_MISMATCH
    assert isinstance(verify(chain.blocks[2], bare, OPTIONS, chain.now_ns), Ok)


@pytest.mark.requires("light.trusted-sealed")
def test_what_is_restored_is_checked_against_its_header() -> None:
    chain = _chain()
    assert restored(chain.blocks[3].header, set_of(MEMBERS)) == chain.trusted(3)
    with pytest.raises(VerificationFailed) as refused:
        restored(chain.blocks[3].header, set_of(STRANGERS))
    assert refused.value.code is Code.NEXT_VALIDATORS_MISMATCH


@pytest.mark.requires("light.trusted-sealed")
def test_nobody_else_makes_a_trusted_block() -> None:
    trusted = _chain().trusted(3)
    for seal in (None, object(), _TrustSeal(), trusted):
        with pytest.raises(TypeError):
            Trusted(trusted.header, trusted.hash, trusted.next_validators, seal)
    change: Any = {"hash": b"\x01" * 32}
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(trusted, **change)
    assert not hasattr(trusted, "seal")


@pytest.mark.requires("light.trusted-sealed")
def test_the_seal_is_named_in_two_modules() -> None:
    assert reachers("consensus.light.types", {"_TRUST", "_TrustSeal"}) == {"consensus/light/verifier.py"}


@pytest.mark.requires("light.trusted-sealed", "reader.one-door")
@pytest.mark.parametrize(
    "code",
    [
        "from consensus.verified import _SEAL",
        "from consensus.verified import _SEAL as key",
        "from consensus.verified import *",
        "from .verified import *",
        "from consensus import verified\nverified._SEAL",
        "import consensus.verified as door\ngetattr(door, '_SEAL')",
        "vars(door)['_SEAL']",
    ],
)
def test_each_way_to_a_seal_is_seen(code: str) -> None:
    assert reaches(code, "consensus.verified", {"_SEAL"})
    assert not reaches("from consensus.verified import Verified\n# _SEAL", "consensus.verified", {"_SEAL"})


@pytest.mark.requires("light.two-thirds")
def test_power_counts_not_heads() -> None:
    heavy: tuple[Signer, ...] = (*signers("h", power=100), *signers("l", "m", "n", power=1))
    chain = Chain(heavy)
    chain.extend(3)
    assert isinstance(_judge(chain, chain.forge(2, absent=heavy[1:])), Ok)
    assert _code(_judge(chain, chain.forge(2, absent=heavy[:1]))) is Code.COMMIT_UNDER_TWO_THIRDS


@pytest.mark.requires("light.trust-root")
def test_a_root_of_trust_is_what_was_named() -> None:
    chain = _chain()
    trusted = chain.trusted(4)
    assert trust_root(chain.blocks[4], CHAIN_ID, trusted.hash) == trusted
    for block, chain_id, digest, code in (
        (chain.blocks[4], CHAIN_ID, b"\x01" * 32, Code.TRUST_ROOT_MISMATCH),
        (chain.blocks[4], "other", trusted.hash, Code.HEADER_CHAIN_MISMATCH),
        (chain.forge(4, absent=MEMBERS[:2]), CHAIN_ID, None, Code.COMMIT_UNDER_TWO_THIRDS),
        (
            dataclasses.replace(chain.blocks[4], validators=set_of(STRANGERS)),
            CHAIN_ID,
            None,
            Code.VALIDATORS_HASH_MISMATCH,
        ),
    ):
        with pytest.raises(VerificationFailed) as refused:
            trust_root(block, chain_id, digest)
        assert refused.value.code is code


@pytest.mark.requires("light.backwards")
def test_an_older_header_is_believed_by_its_link_only() -> None:
    chain = _chain()
    older = linked_back(chain.blocks[4].header, chain.trusted(5))
    assert (older.hash, older.next_validators) == (chain.trusted(4).hash, None)
    forged = chain.forge(4, app_hash=b"\x01" * 32).header
    for header in (forged, chain.blocks[3].header):
        with pytest.raises(VerificationFailed) as refused:
            linked_back(header, chain.trusted(5))
        assert refused.value.code is Code.COMMIT_MISMATCH


@pytest.mark.requires("light.one-lie")
def test_a_trusted_block_is_what_was_verified() -> None:
    chain = _chain()
    verdict = _judge(chain, chain.blocks[3])
    assert isinstance(verdict, Ok)
    trusted: Trusted = verdict.trusted
    assert trusted.header == chain.blocks[3].header
    assert isinstance(chain.blocks[3].signed_header.commit, Commit)
