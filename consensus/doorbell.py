"""Hearing of a new block at once, without asking again and again.

Owns one connection to one node after another, subscribed to new blocks, and the thread that listens. Promises
that what a node sends is neither kept nor believed nor even read: that something came is all that counts, and
whoever is rung asks and verifies as ever. So a node that lies, floods or keeps silent can make its listener
ask too often or too late, no more: ``listening`` is false when nothing came for ``QUIET_S``, and the listener
then asks by itself. Memory is bounded by one buffer; no exception leaves the thread.

Source: RFC 6455 §4.1, 5.2, 5.5.3 (a pong may come unasked); CometBFT rpc/jsonrpc/server/ws_handler.go.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from runtime.retry import Backoff

QUIET_S = 12.0
"""Two heartbeats of an idle chain, with room: who is silent for so long has nothing to tell, or does not."""
PONG_S = 8.0
"""CometBFT leaves a client that was not heard of for half a minute."""
CONNECT_S = 3.0
EVENT_BYTES_MIN = 512
"""A header with its JSON around it is longer, a refusal or a ping is shorter."""
ANSWER_BYTES_MAX = 8 * 1024
_CHUNK_BYTES = 64 * 1024
_SUBSCRIBE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "subscribe",
    "params": {"query": "tm.event='NewBlockHeader'"},
}
_TEXT, _PONG, _LAST, _MASKED, _LONG = 0x1, 0xA, 0x80, 0x80, 126
_BACKOFF = Backoff(base_s=1.0, ceiling_s=30.0)


class Doorbell:
    """Rings when a node tells of a new block.

    Args:
        endpoints: ``http://host:port``, listened to one at a time, the next when one fails.
        ring: called from the listening thread.
        monotonic_s: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        ring: Callable[[], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints, self._ring, self._monotonic_s = tuple(endpoints), ring, monotonic_s
        self._heard_s: float | None = None
        self._stopping = threading.Event()
        # A daemon: a silent socket must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, at the next thing heard or ``PONG_S`` later."""
        self._stopping.set()

    def listening(self) -> bool:
        """Tell whether a new block would be heard of, as far as one knows."""
        return self._heard_s is not None and self._monotonic_s() - self._heard_s < QUIET_S

    def _run(self) -> None:
        failures = 0
        for endpoint in itertools.cycle(self._endpoints):
            began_s = self._monotonic_s()
            try:
                self._listen(endpoint)
            except (OSError, ValueError):
                # Whatever it is: whoever waits for the bell asks by itself meanwhile.
                self._heard_s = None
            well = self._monotonic_s() - began_s > _BACKOFF.ceiling_s
            failures = 1 if well else failures + 1
            if self._stopping.wait(_BACKOFF.delay_s(failures)):
                return

    def _listen(self, endpoint: str) -> None:
        """Listen to one node until it ends; OSError or ValueError tell that it did."""
        with _subscribed(endpoint) as opened:
            opened.settimeout(PONG_S)
            quiet_from_s = ponged_s = self._monotonic_s()
            while not self._stopping.is_set():
                now_s = self._monotonic_s()
                if now_s - quiet_from_s > QUIET_S:
                    raise TimeoutError("silent")
                if now_s - ponged_s >= PONG_S:
                    opened.sendall(_frame(_PONG, b""))
                    ponged_s = now_s
                try:
                    chunk = opened.recv(_CHUNK_BYTES)
                except TimeoutError:
                    continue
                if not chunk:
                    raise ConnectionResetError("closed")
                if len(chunk) >= EVENT_BYTES_MIN:
                    self._heard_s = quiet_from_s = self._monotonic_s()
                    self._ring()


def _subscribed(endpoint: str) -> socket.socket:
    """Open a WebSocket and ask for new blocks."""
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or 80
    opened = socket.create_connection((host, port), timeout=CONNECT_S)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /websocket HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        opened.sendall(request.encode())
        _await_upgrade(opened)
        opened.sendall(_frame(_TEXT, json.dumps(_SUBSCRIBE).encode()))
    except BaseException:
        opened.close()
        raise
    return opened


def _await_upgrade(opened: socket.socket) -> None:
    answer, deadline_s = b"", time.monotonic() + CONNECT_S
    while b"\r\n\r\n" not in answer:
        chunk = opened.recv(1024)
        answer += chunk
        if not chunk or len(answer) > ANSWER_BYTES_MAX or time.monotonic() > deadline_s:
            raise ConnectionError("no answer to an upgrade")
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError("no upgrade")


def _frame(kind: int, content: bytes) -> bytes:
    """Make a frame as a client sends it: masked, of less than 64 KiB (RFC 6455 §5.2, 5.3)."""
    size = len(content)
    length = bytes([_MASKED | size]) if size < _LONG else bytes([_MASKED | _LONG]) + size.to_bytes(2, "big")
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))
    return bytes([_LAST | kind]) + length + mask + masked
