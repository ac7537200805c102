"""The server over standard input and output: one message a line.

Owns the two streams. Promises that standard output carries protocol alone, that a line is bounded before it
is kept, that a line that is no message is answered and the next one served, and that errors are told in our
words and counted. Ends with its input, once what was asked is answered.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO, cast

import anyio
import anyio.to_thread
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from ledger.errors import Refused
from mcp_server import framing
from mcp_server.pruning import dump
from mcp_server.rewording import Count, nobody, reworded

_LAST_SECONDS_MAX = 5.0
"""For what is still being answered when the input ends."""
_LINE_BYTES_MAX = framing.MESSAGE_BYTES_MAX + 1


class Output:
    """Writes whole lines, one at a time, away from whatever else prints."""

    def __init__(self, stream: BinaryIO, count: Count = nobody) -> None:
        self._stream, self._turn, self.count = stream, anyio.Lock(), count
        self._lines, self._written = 0, anyio.Event()

    async def write(self, text: str) -> None:
        """Write text that ends a line."""
        told = reworded(text.removesuffix("\n"), self.count) + "\n"
        async with self._turn:
            await anyio.to_thread.run_sync(self._write, told.encode("utf-8", "replace"))
            self._lines += 1
            self._written.set()
            self._written = anyio.Event()

    async def reach(self, lines: int) -> None:
        """Wait until so many lines were written, or for the last seconds."""
        with anyio.move_on_after(_LAST_SECONDS_MAX):
            while self._lines < lines:
                await self._written.wait()

    async def flush(self) -> None:
        """Nothing is held back."""

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
        self._stream.flush()


class Input:
    """Gives lines that are messages; answers those that are none."""

    def __init__(self, stream: BinaryIO, output: Output) -> None:
        self._stream, self._output = stream, output

    async def __aiter__(self) -> AsyncIterator[str]:
        asked = 0
        while line := await anyio.to_thread.run_sync(self._line, abandon_on_cancel=True):
            if not line.strip():
                continue
            try:
                asked += "id" in framing.check(line.strip())
            except Refused as refused:
                asked += 1
                self._output.count(refused.code)
                await self._output.write(dump(framing.refusal(refused)) + "\n")
                continue
            yield line.decode()
        # This server says nothing but answers: each line is one.
        await self._output.reach(asked)

    def _line(self) -> bytes:
        """Give a line; of one that is too long so much that it is refused, and drop the rest."""
        line = self._stream.readline(_LINE_BYTES_MAX)
        rest = line
        while len(rest) == _LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = self._stream.readline(_LINE_BYTES_MAX)
        return line


def wire(count: Count = nobody) -> Output:
    """Give standard output for the protocol alone: what anybody prints from now on goes to standard error.

    ``count`` is told of each error that is no outcome of a call.
    """
    copy = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Output(copy, count)


async def serve(server: Server[Any], count: Count = nobody) -> None:
    """Serve until standard input ends."""
    output = wire(count)
    streams = stdio_server(cast("Any", Input(sys.stdin.buffer, output)), cast("Any", output))
    try:
        async with streams as (read, write):
            await server.run(read, write, server.create_initialization_options())
    except* (BrokenPipeError, ConnectionResetError):
        pass  # whoever asked is gone


def run(server: Server[Any], count: Count = nobody) -> None:
    """Serve until standard input ends, SIGTERM or Ctrl-C; ``count`` as of ``wire``."""
    work(lambda: serve(server, count))


def work(on_streams: Callable[[], Awaitable[None]]) -> None:
    """Work on the streams until standard input ends, SIGTERM or Ctrl-C."""
    # A thread that waits for a line cannot be called back: the signal ends the process, as SIGTERM does; what
    # a sudden end could spoil (the audit) closes itself there.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    anyio.run(on_streams)
