"""One bounded HTTP exchange with an untrusted server.

Owns the connection: connect and read timeouts, one deadline over the whole exchange however slowly bytes
drip (a nearer one where ``consensus.time_left`` says so), and a cap on the body that trusts no
``Content-Length``. Promises that every failure is an ``EnvironmentFault`` with the endpoint in its facts.
Never interprets a body, follows a redirect or uses a proxy.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from consensus.time_left import at_most
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import RPC_ANSWER_BYTES_MAX

_CHUNK_BYTES = 256 * 1024
_SECONDS_MIN = 0.001
"""A socket that is given no time at all waits for ever."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much.

    Attributes:
        connect_seconds: to open a connection.
        exchange_seconds: from then to the last byte of the answer.
        answer_bytes_max: the largest body taken.
    """

    connect_seconds: float = 3.0
    exchange_seconds: float = 30.0
    answer_bytes_max: int = RPC_ANSWER_BYTES_MAX


class Connection:
    """A connection to one endpoint, kept open between exchanges. Safe to use from several threads.

    Args:
        endpoint: ``http://host:port``.
        limits: how long and how much.

    Raises:
        Refused: USAGE for any other form of endpoint.
    """

    def __init__(self, endpoint: str, limits: Limits) -> None:
        self.endpoint, self._limits = endpoint, limits
        self._host, self._port = _host_and_port(endpoint)
        self._idle: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def post(self, body: bytes) -> bytes:
        """Send ``body`` as JSON to ``/`` and give the answer's body, whatever its status.

        Raises:
            EnvironmentFault: RPC_UNREACHABLE, RPC_ANSWER_TOO_LARGE.
        """
        connect_seconds = at_most(self._limits.connect_seconds)
        if connect_seconds <= 0:
            raise self._late()
        try:
            kept = self._take()
            if kept is not None:
                # The server may have closed it meanwhile; our requests are idempotent, so try once afresh.
                with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
                    return self._exchange(kept, body)
            fresh = http.client.HTTPConnection(self._host, self._port, timeout=connect_seconds)
            fresh.connect()
            return self._exchange(fresh, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(type(error).__name__, str(error)) from None

    def close(self) -> None:
        """Close the kept connection."""
        kept = self._take()
        if kept is not None:
            kept.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            kept, self._idle = self._idle, None
        return kept

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> bytes:
        opened: socket.socket = connection.sock
        exchange_seconds = max(_SECONDS_MIN, at_most(self._limits.exchange_seconds))
        # Sending is bounded as a whole by this; receiving by ``_Until``.
        opened.settimeout(exchange_seconds)
        deadline_s = time.monotonic() + exchange_seconds
        answer: http.client.HTTPResponse | None = None
        try:
            made: Any = functools.partial(_Answer, deadline_s=deadline_s)
            connection.response_class = made
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            connection.request("POST", "/", body=body, headers=headers)
            answer = connection.getresponse()
            content = self._read(answer)
        except (OSError, http.client.HTTPException, EnvironmentFault):
            connection.close()
            if answer is not None:
                # It holds the socket too: unclosed, the server could go on sending.
                answer.close()
            if time.monotonic() >= deadline_s:
                raise self._late() from None
            raise
        self._keep(connection, answer)
        return content

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        content = bytearray()
        while chunk := answer.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > self._limits.answer_bytes_max:
                raise EnvironmentFault(
                    Code.RPC_ANSWER_TOO_LARGE,
                    got=f"more than {self._limits.answer_bytes_max} bytes",
                    expected=f"at most {self._limits.answer_bytes_max}",
                    endpoint=self.endpoint,
                )
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        answer.close()
        return bytes(content)

    def _keep(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        surplus: http.client.HTTPConnection | None = connection
        if not answer.will_close:
            with self._lock:
                surplus, self._idle = self._idle, connection
        if surplus is not None:
            surplus.close()

    def _late(self) -> EnvironmentFault:
        return self._unreachable("no complete answer", "in the time it had")

    def _unreachable(self, kind: str, detail: str) -> EnvironmentFault:
        return EnvironmentFault(
            Code.RPC_UNREACHABLE,
            got=f"{kind}: {detail}" if detail else kind,
            expected="an answer of a CometBFT node",
            todo="check that the node runs and the endpoint is its RPC address",
            endpoint=self.endpoint,
        )


class _Answer(http.client.HTTPResponse):
    """An answer that is read until a moment and no longer."""

    def __init__(self, sock: socket.socket, *, deadline_s: float, **options: Any) -> None:
        super().__init__(sock, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Until(sock, deadline_s))


class _Until(io.RawIOBase):
    """What a socket receives until a moment, however slowly its bytes come."""

    def __init__(self, opened: socket.socket, deadline_s: float) -> None:
        self._opened, self._deadline_s = opened, deadline_s
        self._received = opened.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there; TimeoutError from the moment on."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._opened.settimeout(left_s)
        return self._received.readinto(buffer)

    def close(self) -> None:
        """Let the socket go."""
        self._received.close()
        super().close()


def _host_and_port(endpoint: str) -> tuple[str, int]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path not in ("", "/"):
        raise Refused(Code.USAGE, got=endpoint, expected="an RPC endpoint of the form http://host:port")
    return parts.hostname, port
