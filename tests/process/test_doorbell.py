"""Hearing of new blocks: from nodes that tell, refuse, flood, keep silent and go away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from consensus import doorbell
from consensus.doorbell import EVENT_BYTES_MIN, Doorbell
from runtime.retry import Backoff
from tests.unit.consensus.wire import Behaviour, serve

WAIT_S = 60.0
ATTEMPTS_MAX = 100
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
EVENT = b"\x81" + b"x" * EVENT_BYTES_MIN


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "PONG_S", 0.1)
    monkeypatch.setattr(doorbell, "QUIET_S", 600.0)
    monkeypatch.setattr(doorbell, "CONNECT_S", WAIT_S)
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
def _listening(
    *nodes: Sequence[Behaviour], monotonic_s: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Doorbell, list[float]]]:
    """Listen to nodes that do something else on each connection; the listener has ended afterwards."""
    rings: list[float] = []
    with ExitStack() as stack:
        endpoints = [stack.enter_context(serve(*behaviours)) for behaviours in nodes]
        found = Doorbell(endpoints, lambda: rings.append(time.monotonic()), monotonic_s)
        found.start()
        # The nodes go away before it is waited for: it may be connecting to one.
        ended = stack.pop_all()
        try:
            yield found, rings
        finally:
            found.stop()
            ended.close()
            found._thread.join(WAIT_S)
            assert not found._thread.is_alive()


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.requires("bridge.doorbell")
def test_a_block_rings_and_a_ping_or_a_refusal_does_not() -> None:
    held = threading.Event()
    behaviour = _telling(b"\x89\x00", b"\x81" + b"x" * 120, EVENT, then=lambda _: held.wait(WAIT_S))
    with _listening([behaviour]) as (found, rings):
        _until(lambda: bool(rings))
        assert found.listening()
        held.set()
        # Whatever the node sent was heard before it went away.
        _until(lambda: not found.listening())
        assert len(rings) == 1


@pytest.mark.requires("bridge.doorbell")
def test_the_next_node_is_listened_to_where_one_refuses_goes_away_or_keeps_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorbell, "QUIET_S", 0.5)

    def refuse(opened: socket.socket) -> None:
        opened.recv(65536)
        opened.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    def hold(opened: socket.socket) -> None:
        while opened.recv(65536):
            pass

    # Each as often as it takes: on a busy machine one that tells may be taken for a silent one.
    nodes = [refuse], [_telling(then=hold)], [_telling(EVENT, EVENT)]
    with _listening(*(behaviours * ATTEMPTS_MAX for behaviours in nodes)) as (_, rings):
        _until(lambda: len(rings) >= 2)


@pytest.mark.requires("bridge.doorbell")
def test_who_hears_nothing_says_so() -> None:
    now_s, held = [0.0], threading.Event()
    behaviour = _telling(EVENT, then=lambda _: held.wait(WAIT_S))
    with _listening([behaviour], monotonic_s=lambda: now_s[0]) as (found, rings):
        _until(lambda: bool(rings))
        assert found.listening()
        now_s[0] = doorbell.QUIET_S
        assert not found.listening()
        held.set()


@pytest.mark.requires("bridge.doorbell")
def test_the_node_hears_a_pong_before_it_gives_its_client_up() -> None:
    heard: list[bytes] = []
    with _listening([_telling(EVENT, then=lambda opened: heard.append(opened.recv(64)))]):
        _until(lambda: bool(heard))
    assert heard[0][:2] == b"\x8a\x80"


@pytest.mark.requires("bridge.doorbell")
def test_an_answer_without_end_is_cut_off() -> None:
    sent: list[int] = []
    cut_off = threading.Event()

    def flood(opened: socket.socket) -> None:
        opened.recv(65536)
        try:
            while len(sent) < 1000:
                sent.append(opened.send(b"x" * 65536))
        except OSError:
            cut_off.set()

    with _listening([flood]) as (found, rings):
        assert cut_off.wait(WAIT_S)
        assert not found.listening()
    assert rings == []
    assert len(sent) < 1000
