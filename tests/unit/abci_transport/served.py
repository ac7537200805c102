"""A server in this process for the tests: real loop, real unix socket, no sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from abci_app.abci import Application
from abci_app.framing import FrameDecoder, frame
from abci_app.listen import UnixAddress
from abci_app.server import Server
from ledger.limits import ABCI_MESSAGE_BYTES_MAX
from ledger.pb import abci_pb2 as pb

FLUSH = pb.Request(flush=pb.RequestFlush())
PATIENCE_S = 60
"""A guard against hanging, for a machine that is busy."""


@dataclass
class Client:
    """What CometBFT's socket client is on the wire."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    decoder: FrameDecoder

    def send(self, *requests: pb.Request) -> None:
        self.writer.write(b"".join(frame(request.SerializeToString()) for request in requests))

    async def receive(self) -> pb.Response | None:
        """Give the next response, None at the end of the stream."""
        while (message := self.decoder.take()) is None:
            chunk = await asyncio.wait_for(self.reader.read(65536), PATIENCE_S)
            if not chunk:
                return None
            self.decoder.feed(chunk)
        return pb.Response.FromString(message)

    async def names(self, count: int) -> list[str | None]:
        """Give the kinds of the next ``count`` responses."""
        responses = [await self.receive() for _ in range(count)]
        return [None if response is None else response.WhichOneof("value") for response in responses]


@dataclass
class Served:
    """A running server, a way to connect, and its exit status once it ended."""

    server: Server
    path: str
    ended: asyncio.Task[int]

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_unix_connection(self.path)
        return Client(reader, writer, FrameDecoder(ABCI_MESSAGE_BYTES_MAX))


@asynccontextmanager
async def served(
    application: Application, path: Path, limit: int = ABCI_MESSAGE_BYTES_MAX
) -> AsyncIterator[Served]:
    server = Server(application, limit)
    task = asyncio.ensure_future(server.run(UnixAddress(str(path))))
    await asyncio.sleep(0)
    running = Served(server, str(path), task)
    try:
        yield running
    finally:
        server.stop()
        await asyncio.wait_for(task, PATIENCE_S)


def run(
    body: Callable[[Served], Awaitable[None]],
    application: Application,
    path: Path,
    limit: int = ABCI_MESSAGE_BYTES_MAX,
) -> int:
    """Run ``body`` against a server; give the server's exit status."""

    async def main() -> int:
        async with served(application, path, limit) as running:
            await body(running)
        return await running.ended

    return asyncio.run(main())
