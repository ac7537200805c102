"""Our byte rules against protobuf's own encoder, where it can say the same thing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from consensus.light import encoding
from consensus.light.types import (
    EMPTY_BLOCK_ID,
    GO_ZERO_TIME_NS,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    PartSetHeader,
)
from ledger.pb import comet_pb2 as pb
from tests.support.chain import CHAIN_ID, Chain, signers

BLOCK_ID = BlockId(b"\x01" * 32, PartSetHeader(3, b"\x02" * 32))


def _commit(round_: int = 0) -> Commit:
    return Commit(7, round_, BLOCK_ID, ())


def _expected(sig: CommitSig, round_: int, block_id: pb.CanonicalBlockID | None) -> bytes:
    seconds, nanos = divmod(sig.timestamp_ns, 10**9)
    vote = pb.CanonicalVote(
        type=2,
        height=7,
        round=round_,
        block_id=block_id,
        timestamp=Timestamp(seconds=seconds, nanos=nanos),
        chain_id=CHAIN_ID,
    ).SerializeToString()
    return encoding.uvarint(len(vote)) + vote


@pytest.mark.requires("light.byte-rules")
@pytest.mark.parametrize("time_ns", [1, 10**9, 1_800_000_000_123_456_789, -1, GO_ZERO_TIME_NS])
@pytest.mark.parametrize("round_", [0, 3])
def test_vote_sign_bytes(time_ns: int, round_: int) -> None:
    sig = CommitSig(BlockIdFlag.COMMIT, b"a" * 20, time_ns, b"")
    canonical = pb.CanonicalBlockID(
        hash=BLOCK_ID.hash, part_set_header=pb.PartSetHeader(total=3, hash=BLOCK_ID.parts.hash)
    )
    to_sign = encoding.vote_sign_bytes(CHAIN_ID, _commit(round_))
    assert to_sign(sig) == _expected(sig, round_, canonical)


@pytest.mark.requires("light.byte-rules")
def test_a_nil_vote_names_no_block() -> None:
    sig = CommitSig(BlockIdFlag.NIL, b"a" * 20, 5, b"")
    assert encoding.vote_sign_bytes(CHAIN_ID, _commit())(sig) == _expected(sig, 0, None)


@pytest.mark.requires("light.byte-rules")
def test_the_empty_block_id_is_not_empty_bytes() -> None:
    assert encoding.block_id_bytes(EMPTY_BLOCK_ID) == b"\x12\x00"


@pytest.mark.requires("light.byte-rules")
def test_an_absent_vote_carries_gos_zero_time() -> None:
    assert encoding.timestamp_bytes(GO_ZERO_TIME_NS) == bytes.fromhex("088092b8c398feffffff01")


@pytest.mark.requires("light.byte-rules")
def test_every_header_field_changes_the_hash() -> None:
    chain = Chain(signers("a"))
    header = chain.append().header
    seen = {encoding.header_hash(header)}
    for field in dataclasses.fields(header):
        value = getattr(header, field.name)
        if isinstance(value, int):
            changed: Any = value + 1
        elif isinstance(value, bytes):
            changed = value + b"\x01"
        else:
            changed = "other" if isinstance(value, str) else BLOCK_ID
        seen.add(encoding.header_hash(dataclasses.replace(header, **{field.name: changed})))
    assert len(seen) == 1 + len(dataclasses.fields(header))
