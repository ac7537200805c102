"""The frame decoder: any split, any bytes, linear work, a limit."""

from __future__ import annotations

import time

import pytest

from abci_app.abci import uvarint
from abci_app.framing import FrameDecoder, frame
from ledger.errors import Code, Refused

MESSAGES = [b"", b"a", b"x" * 127, b"y" * 128, b"z" * 20_000, b"", b"end"]


@pytest.mark.requires("transport.any-split")
def test_byte_by_byte_gives_the_same_messages() -> None:
    decoder = FrameDecoder(1 << 20)
    got = []
    for octet in b"".join(map(frame, MESSAGES)):
        decoder.feed(bytes((octet,)))
        while (message := decoder.take()) is not None:
            got.append(message)
    assert got == MESSAGES
    assert decoder.buffered == 0


@pytest.mark.requires("transport.size-cap")
def test_a_message_over_the_limit_is_refused_before_it_arrives() -> None:
    decoder = FrameDecoder(100)
    decoder.feed(uvarint(101))
    with pytest.raises(Refused) as refusal:
        decoder.take()
    assert refusal.value.code == Code.LIMIT_EXCEEDED
    exact = FrameDecoder(100)
    exact.feed(frame(b"x" * 100))
    assert exact.take() == b"x" * 100


@pytest.mark.requires("transport.size-cap")
def test_a_length_without_end_is_refused() -> None:
    decoder = FrameDecoder(100)
    decoder.feed(b"\x80" * 9)
    assert decoder.take() is None
    decoder.feed(b"\x80")
    with pytest.raises(Refused) as refusal:
        decoder.take()
    assert refusal.value.code == Code.ABCI_FRAME_INVALID


@pytest.mark.requires("transport.any-split")
def test_work_is_linear_in_the_bytes() -> None:
    # A quadratic buffer would copy 16 MiB for each of 16,384 chunks: minutes, not a second.
    message = bytes(16 << 20)
    stream = frame(message)
    decoder = FrameDecoder(len(message))
    began = time.process_time()
    for start in range(0, len(stream), 1024):
        assert decoder.take() is None
        decoder.feed(stream[start : start + 1024])
    assert decoder.take() == message
    assert time.process_time() - began < 2.0
