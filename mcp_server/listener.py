"""The socket and its transport security, and serving on it.

Owns listening, TLS, and the time a connection has before it asks for something. Promises that what does not
listen on loopback speaks TLS 1.3 alone, that a handshake or a head that does not come is cut off, and that
what is no HTTP, or finds no place, is told so with a code.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
import stat

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import KIB
from mcp_server import rewording
from mcp_server.listening import Listening
from mcp_server.places import CONNECTIONS_MAX, Places, peer_of
from mcp_server.pruning import dump
from mcp_server.rewording import Count, nobody

HEAD_SECONDS_MAX = 5.0
"""For a TLS handshake, and for the head of each request."""
FIRST_BYTE_SECONDS_MAX = 2.0
HEAD_BYTES_MAX = 16 * KIB
_BEFORE_ASKING = (h11.IDLE, h11.SEND_BODY)


class Impatient(H11Protocol):
    """HTTP/1.1 that waits a bounded time for the head of each request.

    ``places`` and ``count`` are the server's: who may connect, and who counts what is refused here.
    """

    places = Places()
    count: Count = staticmethod(nobody)
    peer = ""
    _late: asyncio.TimerHandle | None = None
    _is_silent = True

    @property
    def owes(self) -> bool:
        """Whether the peer has yet to send a request, or the rest of one."""
        return self.conn.their_state in _BEFORE_ASKING

    def give_way(self) -> None:
        """End at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait, where there is a place."""
        super().connection_made(transport)
        self.peer = peer_of(self.client[0] if self.client else "")
        if not self.places.enter(self):
            full = Refused(
                Code.LIMIT_EXCEEDED, got="one more", expected="fewer connections", todo="try again later"
            )
            self._refuse(503, full)
            return
        self._watch(FIRST_BYTE_SECONDS_MAX)

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or stop with the head's end."""
        if self.transport.is_closing():
            return
        if self._is_silent:
            self._is_silent = False
            self._unwatch()
        super().data_received(data)
        self._watch(HEAD_SECONDS_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self.places.leave(self)
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say that it is no HTTP, in our words."""
        del msg
        self._refuse(400, rewording.of_status(400))

    def _refuse(self, status: int, error: Refused) -> None:
        self.count(error.code)
        body = dump(rewording.refusal(error)).encode()
        reason = {400: "Bad Request", 503: "Service Unavailable"}[status]
        heads = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
        self.transport.write(f"HTTP/1.1 {status} {reason}\r\n{heads}\r\n\r\n".encode() + body)
        self.transport.close()

    def _watch(self, seconds: float) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(seconds, self.transport.close)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    """Listens itself, as uvicorn leaves a TLS handshake a minute; has places for those who connect."""

    def __init__(self, config: uvicorn.Config, count: Count) -> None:
        super().__init__(config)
        self._places, self._count = Places(), count

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        seconds = HEAD_SECONDS_MAX if self.config.ssl else None
        for bound in sockets or ():
            self.servers.append(
                await loop.create_server(
                    self._protocol,
                    sock=bound,
                    ssl=self.config.ssl,
                    backlog=CONNECTIONS_MAX,
                    ssl_handshake_timeout=seconds,
                    ssl_shutdown_timeout=seconds,
                )
            )

    def _protocol(self) -> asyncio.Protocol:
        made = Impatient(self.config, self.server_state, self.lifespan.state)
        made.places, made.count = self._places, self._count
        return made


def listen(where: Listening) -> socket.socket:
    """Listen; port 0 for any.

    Raises:
        EnvironmentFault: PORT_TAKEN.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(where.host).version == 6 else socket.AF_INET
    # The protocol is named: only then does asyncio send an answer's last packet at once (TCP_NODELAY).
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((where.host, where.port))
        # From here on a client waits instead of being turned away.
        bound.listen(CONNECTIONS_MAX)
    except OSError as error:
        bound.close()
        raise EnvironmentFault(
            Code.PORT_TAKEN,
            got=f"port {where.port} of {where.host}: {error.strerror}",
            expected="an address of this machine and a free port",
            todo="choose another with --http PORT or --listen HOST:PORT",
        ) from None
    return bound


def tls_of(where: Listening) -> ssl.SSLContext | None:
    """Give the TLS context of the certificate and key that were named; None without them.

    Raises:
        Refused: KEY_FILE_INVALID for a key file that others may read.
        EnvironmentFault: KEY_FILE_INVALID for files that are not there or no certificate with its key.
    """
    if where.certificate is None or where.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    try:
        if stat.S_IMODE(where.key.stat().st_mode) & 0o007:
            raise Refused(
                Code.KEY_FILE_INVALID,
                got="others can read the private key",
                expected="a key file for its owner and group alone",
                todo="chmod o= on it; if others could read it, get a new certificate",
                file=str(where.key),
            )
        # A passphrase is never asked for: nobody may sit there.
        passphrase = os.environ.get("CONCLAVE_PASSPHRASE", "")
        context.load_cert_chain(where.certificate, where.key, lambda: passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise EnvironmentFault(
            Code.KEY_FILE_INVALID,
            got=f"{where.certificate}, {where.key}: {type(error).__name__}",
            expected="a certificate chain and its private key, in PEM",
            todo="check both files and CONCLAVE_PASSPHRASE",
            file=str(where.certificate),
        ) from None
    return context


def server_of(app: ASGIApp, tls: ssl.SSLContext | None = None, count: Count = nobody) -> uvicorn.Server:
    """Give what serves an application; ``should_exit`` ends it; ``count`` hears what is refused before."""
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    return _Server(config, count)


def run(app: ASGIApp, bound: socket.socket, tls: ssl.SSLContext | None = None, count: Count = nobody) -> None:
    """Serve on a listening socket until SIGTERM or Ctrl-C; ``count`` as of ``server_of``."""
    server_of(app, tls, count).run(sockets=[bound])
