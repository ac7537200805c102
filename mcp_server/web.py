"""The server over streamable HTTP, on this machine alone.

Owns the socket and what a request must be before the protocol sees it: its Host and Origin, its size, its
time. Promises that a client that sends slowly, much or nonsense gets an answer or a clean close in bounded
time and memory, and that the next one is served. Holds no session. Binds to loopback only: nobody's
identity is checked here yet.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import anyio
import h11
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.limits import KIB
from mcp_server import framing
from mcp_server.pruning import dump

PATH = "/mcp"
HOST = "127.0.0.1"
HEAD_SECONDS_MAX = 5.0
BODY_SECONDS_MAX = 10.0
REQUEST_SECONDS_MAX = 90.0
"""Longer than a call waits and runs; a client that does not read its answer is cut off."""
HEAD_BYTES_MAX = 16 * KIB
CONNECTIONS_MAX = 128
_SECURITY = TransportSecuritySettings(
    allowed_hosts=["127.0.0.1:*", "localhost:*", "[::1]:*"],
    allowed_origins=["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"],
)
_CLOSE = {"connection": "close"}


class Impatient(H11Protocol):
    """HTTP/1.1 that waits a bounded time for the head of each request."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or stop with the head's end."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Front:
    """Lets through what is a message from here, in time; ``check`` says what a message is."""

    def __init__(self, app: ASGIApp, check: Callable[[bytes], object] = framing.check) -> None:
        self._app, self._security, self._check = app, TransportSecurityMiddleware(_SECURITY), check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        refused = await self._refused(request)
        if refused is None:
            try:
                with anyio.fail_after(BODY_SECONDS_MAX):
                    body = await _body(request)
                self._check(body)
            except TimeoutError:
                refused = _told(408, EnvironmentFault(Code.TIMEOUT, got="no end", expected="the whole body"))
            except Refused as error:
                refused = _told(413 if error.code is Code.BODY_TOO_LARGE else 400, error)
            except ClientDisconnect:
                return
        if refused is not None:
            await refused(scope, receive, send)
            return
        with anyio.move_on_after(REQUEST_SECONDS_MAX):
            await self._app(scope, _again(body, receive), send)

    async def _refused(self, request: Request) -> Response | None:
        refused = await self._security.validate_request(request, is_post=request.method == "POST")
        if refused is not None:
            return Response(refused.body, refused.status_code, _CLOSE)
        if request.url.path != PATH:
            return Response(status_code=404, headers=_CLOSE)
        if request.method != "POST":
            return Response(status_code=405, headers={"allow": "POST", **_CLOSE})
        return None


async def _body(request: Request) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > framing.MESSAGE_BYTES_MAX:
        raise framing.too_large()
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > framing.MESSAGE_BYTES_MAX:
            raise framing.too_large()
    return bytes(found)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _told(status: int, error: ConclaveError) -> Response:
    content = dump(framing.refusal(error))
    return Response(content, status, _CLOSE, media_type="application/json")


def application(server: Server[Any]) -> ASGIApp:
    """Give the ASGI application."""
    return Front(
        server.streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            max_request_body_size=framing.MESSAGE_BYTES_MAX,
            transport_security=_SECURITY,
        )
    )


def listen(port: int) -> socket.socket:
    """Listen on ``port`` of loopback; 0 for any.

    Raises:
        EnvironmentFault: PORT_TAKEN.
    """
    # The protocol is named: only then does asyncio send an answer's last packet at once (TCP_NODELAY).
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        # From here on a client waits instead of being turned away.
        bound.listen(CONNECTIONS_MAX)
    except OSError:
        bound.close()
        raise EnvironmentFault(
            Code.PORT_TAKEN, got=port, expected="a free port", todo="choose another with --http PORT"
        ) from None
    return bound


def run(server: Server[Any], bound: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        application(server),
        http=Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    uvicorn.Server(config).run(sockets=[bound])
