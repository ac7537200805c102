"""Recorded chains for measuring light clients: real keys and signatures, no CometBFT.

Owns the making of light blocks, deterministic for the same arguments, and their file: one JSON object a line,
in the spelling of CometBFT's RPC, so that every light client can read it. All validators have the same power
and all of them vote, so that more than two thirds of the signatures have to be verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nacl.signing import SigningKey

from consensus.light.encoding import header_hash, validators_hash, vote_sign_bytes
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import (
    BLOCK_PROTOCOL,
    EMPTY_BLOCK_ID,
    SECOND_NS,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    KeyType,
    LightBlock,
    PartSetHeader,
    SignedHeader,
    Validator,
    ValidatorSet,
)
from ledger.types import sha256

CHAIN_ID = "recorded"
START_NS = 1_800_000_000 * SECOND_NS
POWER = 10
CHANGES_EVERY = 10
"""Heights after which one validator is replaced."""
_PARTS = PartSetHeader(1, sha256(b"parts"))


@dataclass(frozen=True, slots=True)
class Group:
    """The validators of some heights, and their private keys by address."""

    validators: ValidatorSet
    keys: dict[bytes, SigningKey]


@lru_cache(maxsize=4)
def _group(first: int, count: int) -> Group:
    keys = [SigningKey(sha256(b"recorded %d" % number)) for number in range(first, first + count)]
    validators = [Validator(KeyType.ED25519, bytes(key.verify_key), POWER) for key in keys]
    by_address = {validator.address: key for validator, key in zip(validators, keys, strict=True)}
    return Group(ValidatorSet.of(tuple(validators)), by_address)


def group(height: int, count: int) -> Group:
    """Give the ``count`` validators of a height; one is replaced every ``CHANGES_EVERY`` heights."""
    return _group(height // CHANGES_EVERY, count)


def blocks(count: int, heights: Iterable[int]) -> Iterator[LightBlock]:
    """Give the light blocks of rising ``heights`` by ``count`` validators; links to others are made up."""
    previous: Commit | None = None
    for height in heights:
        signing = group(height, count)
        validators, following = signing.validators, group(height + 1, count).validators
        header = Header(
            version_block=BLOCK_PROTOCOL,
            version_app=1,
            chain_id=CHAIN_ID,
            height=height,
            time_ns=START_NS + height * SECOND_NS,
            last_block_id=previous.block_id if previous else EMPTY_BLOCK_ID,
            last_commit_hash=sha256(b"commit %d" % height),
            data_hash=sha256(b"data"),
            validators_hash=validators_hash(validators),
            next_validators_hash=validators_hash(following),
            consensus_hash=sha256(b"parameters"),
            app_hash=sha256(b"state %d" % height),
            last_results_hash=sha256(b"results"),
            evidence_hash=sha256(b""),
            proposer_address=validators.addresses[0],
        )
        previous = _commit(header, signing)
        yield LightBlock(SignedHeader(header, previous), validators, following)


def _commit(header: Header, signing: Group) -> Commit:
    block_id = BlockId(header_hash(header), _PARTS)
    unsigned = Commit(header.height, 0, block_id, ())
    to_sign = vote_sign_bytes(CHAIN_ID, unsigned)
    sigs = []
    for index, address in enumerate(signing.validators.addresses):
        time_ns = header.time_ns + 1_000_003 * (index + 1)
        message = to_sign(CommitSig(BlockIdFlag.COMMIT, address, time_ns, b""))
        signature = signing.keys[address].sign(message).signature
        sigs.append(CommitSig(BlockIdFlag.COMMIT, address, time_ns, signature))
    return Commit(header.height, 0, block_id, tuple(sigs))


def write(path: Path, chain: Iterable[LightBlock]) -> None:
    """Write a chain."""
    with path.open("w") as file:
        for block in chain:
            assert block.next_validators is not None
            value = {
                "signed_header": signed_header_json(block.signed_header),
                "validators": validators_json(block.validators),
                "next_validators": validators_json(block.next_validators),
            }
            file.write(json.dumps(value) + "\n")


def read(path: Path) -> list[LightBlock]:
    """Read a chain, each block parsed by itself as from a node."""
    with path.open() as file:
        return [parse_light_block(json.loads(line)) for line in file]
