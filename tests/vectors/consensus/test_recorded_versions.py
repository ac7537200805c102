"""Heights recorded from real nodes of CometBFT 0.34 to 0.40 (see README.md): every hash, every signature."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from consensus import answers
from consensus.light.bisection import bisect, drive
from consensus.light.encoding import commit_hash, header_hash, validators_hash, vote_sign_bytes
from consensus.light.keys import KeyType, verify
from consensus.light.parse import parse_validators
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import BlockIdFlag, LightBlock, Options
from consensus.light.verdict import Ok
from consensus.light.verifier import trust_root
from consensus.light.verifier import verify as judge

_FILES = sorted((Path(__file__).parent / "recorded").glob("*.json"))
_LINES = {"v0.34", "v0.37", "v0.38", "v0.39", "v0.40"}

pytestmark = pytest.mark.requires("light.recorded-versions")


@functools.cache
def _raw(path: Path) -> list[Any]:
    found: list[Any] = json.loads(path.read_text())["blocks"]
    return found


@functools.cache
def _blocks(path: Path) -> dict[int, LightBlock]:
    blocks = [
        LightBlock(
            answers.read_commit(raw["commit"]),
            parse_validators(raw["validators"]["validators"]),
            parse_validators(raw["next_validators"]["validators"]),
        )
        for raw in _raw(path)
    ]
    return {block.height: block for block in blocks}


def _id(path: Path) -> str:
    return path.stem


def test_every_line_is_there_with_both_key_types_and_votes_that_are_missing() -> None:
    assert {path.stem.rpartition(".")[0] for path in _FILES} == _LINES
    for path in _FILES:
        newest = _blocks(path)[max(_blocks(path))]
        assert {validator.key_type for validator in newest.validators.validators} == set(KeyType)
        flags = {sig.flag for sig in newest.signed_header.commit.signatures}
        assert flags == {BlockIdFlag.COMMIT, BlockIdFlag.ABSENT}
        assert len({block.header.validators_hash for block in _blocks(path).values()}) > 1


@pytest.mark.parametrize("path", _FILES, ids=_id)
def test_every_hash(path: Path) -> None:
    blocks = _blocks(path)
    for height, block in blocks.items():
        header, commit = block.header, block.signed_header.commit
        assert header_hash(header) == commit.block_id.hash
        assert validators_hash(block.validators) == header.validators_hash
        assert block.next_validators
        assert validators_hash(block.next_validators) == header.next_validators_hash
        if height + 1 in blocks:
            after = blocks[height + 1].header
            assert after.last_block_id == commit.block_id
            assert commit_hash(commit) == after.last_commit_hash


@pytest.mark.parametrize("path", _FILES, ids=_id)
def test_every_signature(path: Path) -> None:
    seen = set()
    for block in _blocks(path).values():
        commit = block.signed_header.commit
        sign_bytes = vote_sign_bytes("recorded", commit)
        for validator, address, sig in zip(
            block.validators.validators, block.validators.addresses, commit.signatures, strict=True
        ):
            if sig.flag is BlockIdFlag.ABSENT:
                continue
            assert sig.validator_address == address
            assert verify(validator.key_type, validator.public_key, sign_bytes(sig), sig.signature)
            seen.add(validator.key_type)
    assert seen == set(KeyType)


@pytest.mark.parametrize("path", _FILES, ids=_id)
def test_every_step_and_one_leap(path: Path) -> None:
    blocks = _blocks(path)
    now_ns = blocks[max(blocks)].header.time_ns + 1
    first = trust_root(blocks[1], "recorded", header_hash(blocks[1].header))
    trusted = first
    for height in range(2, max(blocks) + 1):
        verdict = judge(blocks[height], trusted, Options(), now_ns)
        assert isinstance(verdict, Ok), verdict
        trusted = verdict.trusted
    walk = bisect(first, max(blocks), Options(), now_ns, trace=[])
    assert drive(walk, blocks.__getitem__) == trusted


@pytest.mark.parametrize("path", _FILES, ids=_id)
def test_rendering_gives_what_the_node_wrote(path: Path) -> None:
    for raw, block in zip(_raw(path), _blocks(path).values(), strict=True):
        assert signed_header_json(block.signed_header) == raw["commit"]["signed_header"]
        written = [dict(v) | {"proposer_priority": "0"} for v in raw["validators"]["validators"]]
        assert validators_json(block.validators) == written
