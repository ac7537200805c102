"""Snapshots of any content come back whole; any other bytes are refused by code."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationFailed
from state.limits import SNAPSHOT_CHUNK_BYTES
from state.snapshot import Snapshot, chunks_of, describe, pairs_of, verified_tree
from state.tree import Tree

CONTENT = st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=20), max_size=12)
HEIGHTS = st.integers(1, 2**63 - 1)


def _described(height: int, chunks: list[bytes]) -> Snapshot:
    return describe(height, b"".join(hashlib.sha256(chunk).digest() for chunk in chunks))


@pytest.mark.requires("state.snapshot-bytes")
@given(HEIGHTS, CONTENT)
def test_any_content_comes_back(height: int, content: dict[bytes, bytes]) -> None:
    chunks = list(chunks_of(height, sorted(content.items())))
    snapshot = _described(height, chunks)
    assert dict(pairs_of(snapshot, chunks)) == content
    assert verified_tree(snapshot, Tree.build(content.items()).root, chunks) == Tree.build(content.items())


@pytest.mark.requires("state.snapshot-bytes")
@given(st.lists(st.integers(1, SNAPSHOT_CHUNK_BYTES // 2), min_size=1, max_size=8))
def test_records_may_span_chunks(sizes: list[int]) -> None:
    pairs = [(b"%02d" % number, b"x" * size) for number, size in enumerate(sizes)]
    chunks = list(chunks_of(1, pairs))
    assert all(len(chunk) == SNAPSHOT_CHUNK_BYTES for chunk in chunks[:-1])
    assert list(pairs_of(_described(1, chunks), chunks)) == pairs


@pytest.mark.requires("state.snapshot-checked")
@given(HEIGHTS, CONTENT, st.binary(max_size=60), st.integers(0, 400), st.integers(0, 40))
def test_any_bytes_whose_hashes_match_give_records_or_a_refusal(
    height: int, content: dict[bytes, bytes], junk: bytes, at: int, length: int
) -> None:
    honest = b"".join(chunks_of(height, sorted(content.items())))
    stream = honest[:at] + junk + honest[at + length :]
    try:
        found = list(pairs_of(_described(height, [stream]), [stream]))
    except VerificationFailed:
        return
    assert b"".join(chunks_of(height, found)) == stream


@pytest.mark.requires("state.snapshot-checked")
@given(HEIGHTS, st.binary(max_size=80))
def test_any_metadata_gives_a_description_or_a_refusal(height: int, metadata: bytes) -> None:
    try:
        snapshot = describe(height, metadata)
    except VerificationFailed:
        return
    assert snapshot.metadata == metadata
