"""The frame decoder over any bytes and any split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abci_app.framing import FrameDecoder, frame
from ledger.errors import Refused


def _split(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


@pytest.mark.requires("transport.any-split")
@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_gives_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    decoder = FrameDecoder(300)
    got = []
    for chunk in _split(b"".join(map(frame, messages)), cuts):
        decoder.feed(chunk)
        while (message := decoder.take()) is not None:
            got.append(message)
    assert got == messages


@pytest.mark.requires("transport.any-bytes")
@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_bytes_give_messages_or_a_refusal(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(50)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            while (message := decoder.take()) is not None:
                assert len(message) <= 50
    except Refused:
        return
    assert decoder.buffered <= 50 + 10 + 64
