"""Hearing of new blocks: from nodes that tell, refuse, flood, keep silent and go away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from consensus import doorbell
from consensus.doorbell import EVENT_BYTES_MIN, Doorbell
from runtime.retry import Backoff
from tests.unit.consensus.wire import Behaviour, serve

WAIT_S = 10.0
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
EVENT = b"\x81" + b"x" * EVENT_BYTES_MIN


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "PONG_S", 0.1)
    monkeypatch.setattr(doorbell, "_BACKOFF", Backoff(base_s=0.01, ceiling_s=0.05))


def _telling(*chunks: bytes, then: Callable[[socket.socket], object] = lambda opened: None) -> Behaviour:
    def behave(opened: socket.socket) -> None:
        asked = opened.recv(65536)
        assert b"GET /websocket" in asked
        opened.sendall(UPGRADED)
        # The subscription, masked.
        frame = opened.recv(65536)
        assert frame[:1] == b"\x81"
        assert frame[1] & 0x80
        for chunk in chunks:
            opened.sendall(chunk)
            time.sleep(0.02)
        then(opened)

    return behave


@contextmanager
def _listening(*endpoints: str) -> Iterator[tuple[Doorbell, list[float]]]:
    rings: list[float] = []
    found = Doorbell(endpoints, lambda: rings.append(time.monotonic()))
    found.start()
    try:
        yield found, rings
    finally:
        found.stop()


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.requires("bridge.doorbell")
def test_a_block_rings_and_a_ping_or_a_refusal_does_not() -> None:
    held = threading.Event()
    behaviour = _telling(b"\x89\x00", b"\x81" + b"x" * 120, EVENT, then=lambda _: held.wait(WAIT_S))
    with serve(behaviour) as endpoint, _listening(endpoint) as (found, rings):
        _until(found.listening)
        assert len(rings) == 1
        held.set()


@pytest.mark.requires("bridge.doorbell")
def test_the_next_node_is_listened_to_where_one_refuses_goes_away_or_keeps_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorbell, "QUIET_S", 0.5)
    held = threading.Event()

    def refuse(opened: socket.socket) -> None:
        opened.recv(65536)
        opened.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    silent = _telling(then=lambda _: held.wait(WAIT_S))
    with serve(silent) as quiet, serve(refuse) as refusing, serve(_telling(EVENT, EVENT)) as telling:
        with _listening(refusing, quiet, telling) as (_, rings):
            _until(lambda: len(rings) == 2)
        held.set()


@pytest.mark.requires("bridge.doorbell")
def test_who_hears_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "QUIET_S", 0.3)
    with serve(_telling(EVENT)) as endpoint, _listening(endpoint) as (found, rings):
        _until(lambda: len(rings) == 1)
        _until(lambda: not found.listening())


@pytest.mark.requires("bridge.doorbell")
def test_the_node_hears_a_pong_before_it_gives_its_client_up() -> None:
    heard: list[bytes] = []

    def listen(opened: socket.socket) -> None:
        heard.append(opened.recv(64))

    with serve(_telling(EVENT, then=listen)) as endpoint, _listening(endpoint):
        _until(lambda: bool(heard))
    assert heard[0][:2] == b"\x8a\x80"


@pytest.mark.requires("bridge.doorbell")
def test_an_answer_without_end_is_cut_off() -> None:
    sent: list[int] = []

    def flood(opened: socket.socket) -> None:
        opened.recv(65536)
        while len(sent) < 1000:
            sent.append(opened.send(b"x" * 65536))

    with serve(flood) as endpoint, _listening(endpoint) as (found, rings):
        _until(lambda: bool(sent))
        time.sleep(0.2)
        assert not found.listening()
    assert rings == []
    assert len(sent) < 1000
