"""Evidence of attacks: where two chains part, who is named, the bytes a full node takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from consensus.light.attack import (
    AttackKind,
    accuse,
    evidence_bytes,
    evidence_hash,
    evidence_json,
    kind_of,
    with_sound_votes,
)
from consensus.light.divergence import Fetch, Judging, examine, walk
from consensus.light.encoding import header_hash
from consensus.light.parse import parse_signed_header
from consensus.light.types import BlockIdFlag, LightBlock, Options, Validator
from ledger.errors import Code, EnvironmentFault, VerificationFailed
from ledger.pb import comet_pb2 as pb
from ledger.types import sha256
from tests.support.attacks import (
    FORGERIES,
    GROUND,
    INVENTED,
    MEMBERS,
    TARGET,
    decided,
    liars,
    lunatic_far,
    misled_by,
)
from tests.support.chain import Chain, Signer, set_of, signers

OPTIONS = Options()
TOTAL_POWER = set_of(MEMBERS).total_power
STATE_FIELDS = ("validators_hash", "next_validators_hash", "consensus_hash", "app_hash", "last_results_hash")
FREE_FIELDS = ("data_hash", "evidence_hash", "last_commit_hash")


def fork(attack: str, share: str = "over 1/3") -> tuple[Chain, LightBlock]:
    """Give the chain and the second block of an attack."""
    chain = decided(misled_by(attack)).chain
    (block,) = FORGERIES[attack](chain, liars(share)).values()
    return chain, block


def addresses(chosen: tuple[Signer, ...] | tuple[Validator, ...]) -> list[bytes]:
    """Give addresses, in order."""
    return [one.address for one in chosen]


@pytest.mark.requires("attack.names")
@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        ("lunatic, skipping", AttackKind.LUNATIC),
        ("equivocation", AttackKind.EQUIVOCATION),
        ("amnesia", AttackKind.AMNESIA),
        ("ahead of the chain", AttackKind.LUNATIC),
    ],
)
def test_the_kind_and_the_names(attack: str, kind: AttackKind) -> None:
    chain, block = fork(attack)
    evidence = accuse(block, chain.blocks[TARGET], chain.blocks[GROUND])
    assert (evidence.kind, kind_of(block.signed_header, chain.blocks[TARGET].signed_header)) == (kind, kind)
    guilty = () if kind is AttackKind.AMNESIA else liars("over 1/3")
    assert addresses(evidence.byzantine) == addresses(guilty)
    lunatic = kind is AttackKind.LUNATIC
    common = chain.blocks[GROUND if lunatic else TARGET]
    assert (evidence.common_height, evidence.time_ns) == (common.height, common.header.time_ns)
    assert evidence.total_power == common.validators.total_power


@pytest.mark.requires("attack.names")
def test_each_field_that_follows_from_the_state_makes_it_lunatic() -> None:
    chain = decided().chain
    block = chain.blocks[TARGET]
    cases = dict.fromkeys(STATE_FIELDS, "lunatic") | dict.fromkeys(FREE_FIELDS, "equivocation")
    for name, kind in cases.items():
        changed: dict[str, Any] = {name: INVENTED}
        assert kind_of(chain.forge(TARGET, **changed).signed_header, block.signed_header) == kind


@pytest.mark.requires("attack.names")
def test_names_are_by_power_and_those_of_the_common_height_only() -> None:
    weak, strong, stranger = signers("weak", power=3), signers("strong", power=9), signers("stranger")
    chain = Chain([*weak, *strong, *signers("h", power=1)])
    chain.append()
    chain.append()
    forged = chain.forge(2, members=[*weak, *strong, *stranger], app_hash=INVENTED)
    evidence = accuse(forged, chain.blocks[2], chain.blocks[1])
    assert addresses(evidence.byzantine) == addresses((*strong, *weak))
    assert [v.power for v in evidence.byzantine] == [9, 3]


@pytest.mark.requires("attack.names")
def test_a_forged_vote_names_nobody_and_stays_out_of_the_evidence() -> None:
    chain = decided().chain
    forged = chain.forge(TARGET, app_hash=INVENTED)
    commit = forged.signed_header.commit
    votes = list(commit.signatures)
    framed = (0, 4)
    votes[0] = dataclasses.replace(votes[0], signature=bytes(64))
    votes[4] = dataclasses.replace(votes[4], validator_address=votes[5].validator_address)
    votes[8] = dataclasses.replace(votes[8], flag=BlockIdFlag.NIL)
    bad = dataclasses.replace(
        forged,
        signed_header=dataclasses.replace(
            forged.signed_header, commit=dataclasses.replace(commit, signatures=tuple(votes))
        ),
    )
    flags = [vote.flag for vote in with_sound_votes(bad).signed_header.commit.signatures]
    assert [i for i, flag in enumerate(flags) if flag is BlockIdFlag.ABSENT] == list(framed)
    named = addresses(accuse(bad, chain.blocks[TARGET], chain.blocks[GROUND]).byzantine)
    assert named == [a for i, a in enumerate(forged.validators.addresses) if i not in (*framed, 8)]
    assert with_sound_votes(forged) == forged


def serve(chain: Chain, *forged: LightBlock) -> Fetch:
    """Give a peer that shows a chain with other blocks in it."""
    blocks = {**chain.blocks, **{block.height: block for block in forged}}

    def fetch(height: int) -> LightBlock:
        if height not in blocks:
            raise EnvironmentFault(Code.RPC_REFUSED)
        return blocks[height]

    return fetch


@pytest.mark.requires("attack.common-height")
def test_the_last_common_block_is_found_from_either_side() -> None:
    chain = _rotating(16)
    parted = chain.forge(15, app_hash=INVENTED)
    also = chain.forge(16, app_hash=INVENTED)
    primary, witness = serve(chain, parted, also), serve(chain)
    judging = Judging(OPTIONS, chain.now_ns)
    walked = walk(chain.trusted(1), 16, OPTIONS, chain.now_ns, primary)
    heights = [block.height for block in walked.shown]
    assert len(heights) > 2, "the walk must pass common blocks"
    found = examine(chain.trusted(1), walked.shown, chain.blocks[16], witness, judging)
    first = min(height for height in heights if height >= 15)
    before = max(height for height in heights if height < 15)
    assert (found.common.height, found.ground.height) == (before, before)
    assert (found.conflicting.height, found.trace[-1]) == (first, chain.blocks[first])
    back = examine(found.ground, found.trace, found.conflicting, primary, judging)
    assert back.common == found.common
    assert back.conflicting.height >= back.ground.height + 1
    assert found.evidence().common_height == before


def _rotating(height: int) -> Chain:
    names = [f"v{n}" for n in range(40)]
    chain = Chain(signers(*names[:4]))
    while chain.height < height:
        start = chain.height // 2
        chain.append(following=signers(*names[start : start + 4]))
    return chain


@pytest.mark.requires("attack.common-height")
def test_what_does_not_contradict_is_no_evidence() -> None:
    chain = decided().chain
    judging = Judging(OPTIONS, chain.now_ns)
    walked = walk(chain.trusted(GROUND), TARGET, OPTIONS, chain.now_ns, chain.blocks.__getitem__)
    cases = [
        (chain.blocks[TARGET], Code.HEADER_MALFORMED),
        (chain.blocks[TARGET - 1], Code.HEADER_MALFORMED),
        (lunatic_far(chain, liars("under 1/3"))[TARGET], Code.NEXT_VALIDATORS_MISMATCH),
    ]
    for claimed, code in cases:
        with pytest.raises(VerificationFailed) as refused:
            examine(chain.trusted(GROUND), walked.shown, claimed, serve(chain), judging)
        assert refused.value.code is code


@pytest.mark.requires("attack.common-height")
def test_a_source_that_shows_another_ground_gives_no_evidence() -> None:
    chain, block = fork("lunatic, skipping")
    walked = walk(chain.trusted(GROUND), TARGET, OPTIONS, chain.now_ns, serve(chain, block))
    other = serve(chain, chain.forge(GROUND, data_hash=INVENTED))
    with pytest.raises(VerificationFailed) as refused:
        examine(
            chain.trusted(GROUND),
            walked.shown,
            chain.blocks[TARGET],
            other,
            Judging(OPTIONS, chain.now_ns),
        )
    assert refused.value.code is Code.COMMIT_MISMATCH


@pytest.mark.requires("attack.bytes")
def test_the_json_reads_back_and_says_null_for_nobody() -> None:
    chain, block = fork("lunatic, skipping")
    evidence = accuse(block, chain.blocks[TARGET], chain.blocks[GROUND])
    value = evidence_json(evidence)["value"]
    assert (
        parse_signed_header(value["ConflictingBlock"]["signed_header"]) == evidence.conflicting.signed_header
    )
    assert value["ConflictingBlock"]["validator_set"]["proposer"]["address"] in {
        v["address"] for v in value["ConflictingBlock"]["validator_set"]["validators"]
    }
    assert (value["CommonHeight"], value["TotalVotingPower"]) == ("2", str(TOTAL_POWER))
    chain, block = fork("amnesia")
    nobody = accuse(block, chain.blocks[TARGET], chain.blocks[GROUND])
    assert evidence_json(nobody)["value"]["ByzantineValidators"] is None


@pytest.mark.requires("attack.bytes")
def test_the_protobuf_reads_as_cometbfts_message() -> None:
    chain, block = fork("equivocation")
    evidence = accuse(block, chain.blocks[TARGET], chain.blocks[GROUND])
    fields = _fields(evidence_bytes(evidence))
    assert [number for number, _ in fields] == [1, 2, *[3] * len(evidence.byzantine), 4, 5]
    signed, members = (value for _, value in _fields(fields[0][1]))
    header, commit = (value for _, value in _fields(signed))
    assert [number for number, _ in _fields(header)] == list(range(1, 15))
    votes = [pb.CommitSig.FromString(value) for number, value in _fields(commit) if number == 4]
    assert [v.signature for v in votes] == [
        s.signature for s in evidence.conflicting.signed_header.commit.signatures
    ]
    assert [number for number, _ in _fields(members)] == [1] * len(MEMBERS) + [2]
    assert (fields[1][1], fields[-2][1]) == (TARGET, TOTAL_POWER)


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """Read a protobuf message's fields without a schema: varints as numbers, the rest as bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        size = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, size))
            continue
        assert tag & 7 == 2
        found.append((tag >> 3, message[at : at + size]))
        at += size
    return found


@pytest.mark.requires("attack.bytes")
def test_the_hash_copies_31_bytes_and_a_signed_varint() -> None:
    chain, block = fork("lunatic, skipping")
    evidence = accuse(block, chain.blocks[TARGET], chain.blocks[GROUND])
    assert evidence.common_height == 2
    assert evidence_hash(evidence) == sha256(header_hash(block.header)[:31] + b"\x00" + b"\x04")
