"""Every block in a real node's recorded answers: each hash and each signature is worked out anew.

The blocks are those of blocks by height, hash and search, of block metas and of new-block events. Most are of
one chain, whose genesis is recorded too; a few are of others, whose validators are not known.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.light.encoding import commit_hash, header_hash, vote_sign_bytes
from consensus.light.keys import verify
from consensus.light.parse import parse_commit, parse_header
from consensus.light.types import BlockIdFlag, Commit, Header
from consensus.trust_store import TrustRoot
from ledger.types import JsonObject, sha256
from state.merkle import merkle_root
from tests.vectors.state.shared import SHARED

_FOLDER = SHARED / "vectors" / "rpc-v0_38" / "incoming"
_ELSEWHERE = {"block_by_hash": 1, "block_search_evidence": 3}
"""Recorded from other chains: so many of their votes are of validators that no file names."""
_OCCURRENCES = {"header": 64, "commit": 53, "data": 54, "vote": 51}
"""How many of each the recorded files hold, so that none is passed over."""

pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason=f"no public vectors at {_FOLDER}")

Block = tuple[JsonObject, JsonObject | None]
"""A JSON object with a header in it, and the block id that stands beside it."""


def files() -> list[Path]:
    """Give the recorded answers."""
    return sorted(_FOLDER.glob("*.json")) if _FOLDER.is_dir() else []


def blocks(value: Any, block_id: JsonObject | None = None) -> Iterator[Block]:
    """Give every block and block meta, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from blocks(item)
    elif isinstance(value, dict):
        beside = value.get("block_id") or block_id
        if "last_commit_hash" in (value.get("header") or {}):
            yield value, beside
        for name, item in value.items():
            yield from blocks(item, beside if name == "block" else None)


def read(path: Path) -> Iterator[tuple[Header, Block]]:
    """Give the blocks of one answer with their headers."""
    for block, block_id in blocks(json.loads(path.read_text(encoding="utf-8"))):
        yield parse_header(block["header"]), (block, block_id)


def last_commit_of(block: JsonObject) -> Commit | None:
    """Give the commit of the block before, where the block has one with votes."""
    recorded = block.get("last_commit")
    commit = parse_commit(recorded) if recorded else None
    return commit if commit is not None and commit.signatures else None


@pytest.mark.requires("light.byte-rules")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_every_hash_is_the_nodes(path: Path) -> None:
    for header, (block, block_id) in read(path):
        if block_id is not None:
            assert header_hash(header).hex().upper() == block_id["hash"].upper()
        commit = last_commit_of(block)
        if commit is not None:
            assert commit_hash(commit) == header.last_commit_hash
            assert commit.block_id == header.last_block_id
        if isinstance(block.get("data"), dict):
            txs = [base64.b64decode(tx) for tx in block["data"]["txs"] or []]
            assert merkle_root([sha256(tx) for tx in txs]) == header.data_hash


@pytest.mark.requires("light.byte-rules", "light.signatures")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_every_vote_of_the_genesis_validators_verifies(path: Path) -> None:
    genesis = json.loads((_FOLDER / "genesis.json").read_text())["result"]["genesis"]
    known = TrustRoot.from_genesis(genesis).validators
    assert known is not None
    validators = dict(zip(known.addresses, known.validators, strict=True))
    strangers = 0
    for header, (block, _) in read(path):
        commit = last_commit_of(block)
        sign_bytes = None if commit is None else vote_sign_bytes(header.chain_id, commit)
        for vote in () if commit is None else commit.signatures:
            assert vote.flag is BlockIdFlag.COMMIT
            validator = validators.get(vote.validator_address)
            if validator is None:
                strangers += 1
                continue
            assert sign_bytes is not None
            key_type, key, message = validator.key_type, validator.public_key, sign_bytes(vote)
            assert verify(key_type, key, message, vote.signature)
            assert not verify(key_type, key, message[:-1], vote.signature)
    assert strangers == _ELSEWHERE.get(path.stem, 0)


@pytest.mark.requires("light.byte-rules")
def test_nothing_recorded_is_passed_over() -> None:
    found: Counter[str] = Counter()
    for path in files():
        for _, (block, block_id) in read(path):
            commit = last_commit_of(block)
            found["header"] += block_id is not None
            found["commit"] += commit is not None
            found["data"] += isinstance(block.get("data"), dict)
            found["vote"] += len(commit.signatures) if commit is not None else 0
    found["vote"] -= sum(_ELSEWHERE.values())
    assert found == _OCCURRENCES
