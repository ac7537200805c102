"""The ABCI socket server: four connections of one CometBFT node, one application.

Owns sockets, order, fairness and the end of the process. Promises: answers in request order per connection;
application calls one at a time in one order over all connections; a Flush writes what is pending; bounded
buffers in both directions; no connection can starve another (slices of bounded length); an application
failure or an unknown request is answered with ResponseException, then every connection is closed and
``run`` gives a non-zero status; a stop lets the running call finish and its answer leave. It never listens
on anything but a unix socket or loopback, and never looks into a transaction.

Source: CometBFT v0.38 abci/client/socket_client.go and abci/server/socket_server.go.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from pathlib import Path

from abci_app.abci import Application, Dispatcher, exception
from abci_app.failure import status_of
from abci_app.framing import FrameDecoder, frame
from abci_app.listen import ListenAddress, UnixAddress, bind
from ledger.errors import ConclaveError
from ledger.limits import ABCI_MESSAGE_BYTES_MAX
from runtime.log import event
from runtime.status import EXIT_OK

CONNECTIONS_MAX = 16
"""A node dials four; the rest is room for a restarting node whose old ones are not closed yet."""
SLICE_REQUESTS_MAX = 128
SLICE_NS_MAX = 2_000_000
"""One connection's turn: whichever bound comes first. A single call may of course take longer."""
WRITE_BYTES_MAX = 64 * 1024
"""Pending answers are written at this size even without a Flush."""
WRITE_HIGH_WATER_BYTES = 1024 * 1024
CLOSE_TIMEOUT_S = 2.0
"""How long a last answer may take to leave before the connection is cut."""

_STOPS = (signal.SIGTERM, signal.SIGINT)
_LOG = logging.getLogger("abci")


class Server:
    """Serves ``application`` until it fails or a stop is asked."""

    def __init__(self, application: Application, message_bytes_max: int = ABCI_MESSAGE_BYTES_MAX) -> None:
        self.dispatcher = Dispatcher(application)
        self.message_bytes_max = message_bytes_max
        self.connections: set[Connection] = set()
        self._waiting: deque[Connection] = deque()
        self._turn_scheduled = False
        self._status: asyncio.Future[int] | None = None

    async def run(self, address: ListenAddress) -> int:
        """Listen on ``address`` until SIGTERM, SIGINT or a failure; give the exit status.

        Raises:
            EnvironmentFault: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        self._status = loop.create_future()
        # Before anybody can see that it listens: whoever sees it may ask it to stop at once.
        for number in _STOPS:
            loop.add_signal_handler(number, self.stop)
        try:
            status = await self._listen(address, self._status)
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)
        event(_LOG, "stopped", status=status)
        return status

    async def _listen(self, address: ListenAddress, ended: asyncio.Future[int]) -> int:
        listener = bind(address)
        inode = _inode(address)
        server = await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=listener)
        event(_LOG, "listening", address=str(address))
        try:
            return await ended
        finally:
            server.close()
            _remove_own(address, inode)
            await self._close_all()

    def stop(self, status: int = EXIT_OK) -> None:
        """Ask the server to end; the running call has ended, since calls run on this loop."""
        if self._status is not None and not self._status.done():
            self._status.set_result(status)

    @property
    def stopping(self) -> bool:
        """Whether the end has begun: no request is taken any more."""
        return self._status is None or self._status.done()

    def schedule(self, connection: Connection) -> None:
        """Give ``connection`` a turn after those that wait already."""
        self._waiting.append(connection)
        if not self._turn_scheduled:
            self._turn_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        for _ in range(len(self._waiting)):
            self._waiting.popleft().take_turn()

    async def _close_all(self) -> None:
        connections = list(self.connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([c.closed for c in connections], timeout=CLOSE_TIMEOUT_S)
        for connection in list(self.connections):
            connection.abort()
        # Aborted transports report their end on the next pass of the loop.
        await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One connection: a decoder, pending answers, and whether it waits for a turn.

    Reading is paused while a whole request waits, and while the peer does not read its answers: what is
    buffered never exceeds one message and one read.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = FrameDecoder(server.message_bytes_max)
        self._answers: list[bytes] = []
        self._answers_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._queued = False
        self._write_paused = False
        self._read_paused = False
        self._closing = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        if len(self._server.connections) >= CONNECTIONS_MAX or self._server.stopping:
            event(_LOG, "connection refused", level=logging.WARNING, open=len(self._server.connections))
            self.closed.set_result(None)
            transport.abort()
            return
        self._server.connections.add(self)
        event(_LOG, "connected", open=len(self._server.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not answered: nobody waits for it any more."""
        self._closing = True
        self._server.connections.discard(self)
        if not self.closed.done():
            self.closed.set_result(None)
            event(_LOG, "disconnected", open=len(self._server.connections), cause=exc)

    def data_received(self, data: bytes) -> None:
        """Buffer; answer at once if nobody waits for a turn."""
        self._decoder.feed(data)
        if not self._queued:
            self.take_turn()

    def pause_writing(self) -> None:
        """The peer does not read: stop answering."""
        self._write_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again: go on with a fresh turn."""
        self._write_paused = False
        if not self._queued:
            self._queue()

    def take_turn(self) -> None:
        """Answer whole requests for at most one slice, then queue again if some are left."""
        self._queued = False
        if self._closing or self._write_paused or self._server.stopping:
            return
        try:
            more = self._answer_slice()
        except ConclaveError as refusal:
            self._refuse(refusal)
            return
        self._write()
        if more and not self._closing:
            self._pause_reading()
            if not self._write_paused and not self._queued:
                self._queue()
        elif self._read_paused and not self._write_paused and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()

    def _answer_slice(self) -> bool:
        """Answer until the slice or the whole requests end; True if there may be more."""
        deadline = time.monotonic_ns() + SLICE_NS_MAX
        for _ in range(SLICE_REQUESTS_MAX):
            message = self._decoder.take()
            if message is None:
                return False
            if not self._answer(message) or self._write_paused or time.monotonic_ns() > deadline:
                return True
        return True

    def _answer(self, message: bytes) -> bool:
        """Answer one request; False if that ended the server."""
        request = self._server.dispatcher.parse(message)
        try:
            name, response = self._server.dispatcher.call(request)
        except Exception as error:  # noqa: BLE001  the replicated machine failed: say why, end, never go on
            self._answers.append(frame(exception(f"{type(error).__name__}: {error}"[:2000])))
            self._write()
            self._server.stop(status_of(error))
            return False
        framed = frame(response)
        self._answers.append(framed)
        self._answers_bytes += len(framed)
        if name == "flush" or self._answers_bytes >= WRITE_BYTES_MAX:
            self._write()
        return True

    def _refuse(self, refusal: ConclaveError) -> None:
        """Answer a broken byte stream with an exception and close this connection only."""
        event(_LOG, "connection closed", level=logging.ERROR, **refusal.to_json())
        self._answers.append(frame(exception(str(refusal))))
        self._write()
        self.close()

    def _write(self) -> None:
        if self._answers and self._transport is not None:
            self._transport.write(b"".join(self._answers))
            self._answers.clear()
            self._answers_bytes = 0

    def _queue(self) -> None:
        self._queued = True
        self._server.schedule(self)

    def _pause_reading(self) -> None:
        if not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def close(self) -> None:
        """Close once the pending answers have left."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection, whatever is pending."""
        if self._transport is not None:
            self._transport.abort()


def _inode(address: ListenAddress) -> int | None:
    return Path(address.path).lstat().st_ino if isinstance(address, UnixAddress) else None


def _remove_own(address: ListenAddress, inode: int | None) -> None:
    """Remove the socket file if it is still the one we made."""
    try:
        if isinstance(address, UnixAddress) and _inode(address) == inode:
            Path(address.path).unlink()
    except OSError:
        pass
