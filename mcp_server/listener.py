"""The socket and its transport security, and serving on it.

Owns listening, TLS, and the time a connection has before it asks for something. Promises that what does not
listen on loopback speaks TLS 1.3 alone, and that a handshake or a head that does not come is cut off.
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
from mcp_server.listening import Listening

HEAD_SECONDS_MAX = 5.0
"""For a TLS handshake, and for the head of each request."""
HEAD_BYTES_MAX = 16 * KIB
CONNECTIONS_MAX = 128


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


class _Server(uvicorn.Server):
    """Listens itself, as uvicorn leaves a TLS handshake a minute."""

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
        return Impatient(self.config, self.server_state, self.lifespan.state)


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


def server_of(app: ASGIApp, tls: ssl.SSLContext | None = None) -> uvicorn.Server:
    """Give what serves an application; ``should_exit`` ends it."""
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
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    return _Server(config)


def run(app: ASGIApp, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
    """Serve on a listening socket until SIGTERM or Ctrl-C."""
    server_of(app, tls).run(sockets=[bound])
