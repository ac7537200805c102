"""P8: what our chain adds to a bare ``mcp`` tool, beside that tool, in one run.

Owns the client, which is the same for both sides and no part of what is measured (proofs of keys are made
before the clock starts), and the ratios. The sides take turns in blocks. Prints one line a case,
``P8 ratio=… ours=… peer=… unit=… case=…``, medians and 99th percentiles; a ratio above 1 means that ours
takes more, of calls/s that ours does more. First what stands around a call in one process, where the peer is
the same nothing on a worker thread, as a bare tool that blocks is run; then end to end; then sizes. The
ledger is in memory: a node's answers are not in these figures.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from bench import guard
from bench.p8_servers import TOOL, chained, content
from bench.usage import cpu_s, memory
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.auth.holder import Holder
from mcp_server.auth.metadata import Origin
from mcp_server.catalogue import READ_TOOLS, TOOLS, Tool
from mcp_server.chain import Call, Unguarded
from mcp_server.desk import Desk, Done
from mcp_server.gate import Gate, Heads
from mcp_server.pruning import dump
from mcp_server.server import listed_tool
from mcp_server.standing import Standings
from mcp_server.turn import Turn
from tests.support.ledger import ROBOT
from tests.support.mcp import Speaking, a_story, ask, source_of
from tests.support.mcp_process import with_robot

AT_ONCE = 20
BLOCKS = 8
WARM = 30
BYTES_PER_TOKEN = 4
_LATEST = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _LATEST,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_HEADS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": _LATEST,
    "mcp-method": "tools/call",
    "mcp-name": TOOL,
}


def body(number: int) -> bytes:
    """Give a call; each has other arguments."""
    params = {"name": TOOL, "arguments": {"release": f"r-{number}", "limit": 10}, "_meta": _META}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


def checked(answer: bytes) -> None:
    """Stop where an answer is none: a refusal is quick."""
    assert b'"revision"' in answer, answer[:400]
    assert b'"isError":true' not in answer, answer[:400]


class Streams:
    """A client over standard streams."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._into, self._from = process.stdin, process.stdout
        self._number = 0

    def timed(self, count: int) -> list[int]:
        """Give the nanoseconds of calls, one after another."""
        found = []
        for _ in range(count):
            line = self._next()
            begun = time.perf_counter_ns()
            self._into.write(line)
            self._into.flush()
            answer = self._from.readline()
            found.append(time.perf_counter_ns() - begun)
            checked(answer)
        return found

    def rate(self, count: int) -> float:
        """Give calls a second, with ``AT_ONCE`` on their way."""
        begun = time.perf_counter()
        for place in range(count + AT_ONCE):
            if place >= AT_ONCE:
                checked(self._from.readline())
            if place < count:
                self._into.write(self._next())
                self._into.flush()
        return count / (time.perf_counter() - begun)

    def _next(self) -> bytes:
        self._number += 1
        return body(self._number) + b"\n"


class Web:
    """A client over HTTP, with a token and proofs where the server asks for them."""

    def __init__(self, url: str, *, is_known: bool) -> None:
        self._url, self._place = url, urlsplit(url)
        self._number = 0
        self._holder = Holder(ROBOT.did, ROBOT, Origin(url.removesuffix("/mcp")), time.time_ns)
        self._kept = self._connect()
        self._token = self._asked() if is_known else None

    def timed(self, count: int) -> list[int]:
        """Give the nanoseconds of calls, one after another over one connection."""
        # A new one: while the other side had its turn the server may have closed the last.
        self._kept.close()
        self._kept.connect()
        found = []
        for _ in range(count):
            content, heads = self._next()
            begun = time.perf_counter_ns()
            answer = _posted(self._kept, content, heads)
            found.append(time.perf_counter_ns() - begun)
            checked(answer)
        return found

    def rate(self, count: int) -> float:
        """Give calls a second over ``AT_ONCE`` connections."""
        waiting: queue.SimpleQueue[tuple[bytes, dict[str, str]]] = queue.SimpleQueue()
        for _ in range(count):
            waiting.put(self._next())
        done: list[bytes] = []
        threads = [threading.Thread(target=self._drain, args=(waiting, done)) for _ in range(AT_ONCE)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        taken = time.perf_counter() - begun
        assert len(done) == count, len(done)
        for answer in done:
            checked(answer)
        return count / taken

    def _drain(self, waiting: queue.SimpleQueue[tuple[bytes, dict[str, str]]], done: list[bytes]) -> None:
        connection = self._connect()
        while True:
            try:
                content, heads = waiting.get_nowait()
            except queue.Empty:
                connection.close()
                return
            done.append(_posted(connection, content, heads))

    def _connect(self) -> http.client.HTTPConnection:
        assert self._place.hostname is not None
        return http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=60)

    def _next(self) -> tuple[bytes, dict[str, str]]:
        self._number += 1
        if self._token is None:
            return body(self._number), _HEADS
        proof = self._holder.proof("POST", self._url, self._token)
        return body(self._number), {**_HEADS, "authorization": f"DPoP {self._token}", "dpop": proof}

    def _asked(self) -> str:
        url = self._holder.origin.token_endpoint
        heads = {
            "content-type": "application/x-www-form-urlencoded",
            "dpop": self._holder.proof("POST", url),
        }
        connection = self._connect()
        connection.request("POST", urlsplit(url).path, self._holder.form(), heads)
        token: str = json.loads(connection.getresponse().read())["access_token"]
        return token


def _posted(connection: http.client.HTTPConnection, content: bytes, heads: dict[str, str]) -> bytes:
    connection.request("POST", "/mcp", content, heads)
    return connection.getresponse().read()


@contextmanager
def served(side: str, transport: str) -> Iterator[tuple[Streams | Web, int]]:
    """Start a server; give a client of it and its process id."""
    # The server ends by a signal: what it wrote is taken away from here.
    folder = tempfile.TemporaryDirectory(prefix="conclave-p8-", dir=Path.cwd())
    words = [sys.executable, "-m", "bench.p8_servers", side, transport, folder.name]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe if transport == "http" else None)
    try:
        if transport == "stdio":
            yield Streams(process), process.pid
        else:
            assert process.stderr is not None
            url = json.loads(process.stderr.readline())["url"]
            yield Web(url, is_known=side == "ours"), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=60)
        folder.cleanup()


def end_to_end(transport: str, calls: int) -> None:
    """Measure both sides, a block each in turn."""
    with ExitStack() as stack:
        sides = {name: stack.enter_context(served(name, transport)) for name in ("ours", "bare")}
        times: dict[str, list[int]] = {name: [] for name in sides}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        worked = dict.fromkeys(sides, 0.0)
        for client, _ in sides.values():
            client.timed(WARM)
        for _ in range(BLOCKS):
            for name, (client, pid) in sides.items():
                before = cpu_s(pid)
                times[name] += client.timed(calls // BLOCKS)
                worked[name] += cpu_s(pid) - before
        for _ in range(BLOCKS // 2):
            for name, (client, _) in sides.items():
                rates[name].append(client.rate(calls // BLOCKS))
        two_lines(transport, times["ours"], times["bare"])
        one, other = (worked[name] * 1e3 / len(times[name]) for name in ("ours", "bare"))
        show(one, other, "ms", f"{transport}-processor-a-call", f" added={one - other:.3f}")
        show(statistics.median(rates["ours"]), statistics.median(rates["bare"]), "calls/s",
             f"{transport}-at-once-{AT_ONCE}")  # fmt: skip
        (pss, _), (peers, _) = memory([sides["ours"][1]]), memory([sides["bare"][1]])
        show(pss[0], peers[0], "MB", f"{transport}-pss")


def show(ours: float, peer: float, unit: str, case: str, more: str = "") -> None:
    """Print one line."""
    ratio = ours / peer if peer else float("nan")
    print(f"P8 ratio={ratio:.2f} ours={ours:.3f} peer={peer:.3f} unit={unit} case={case}{more}", flush=True)


def two_lines(case: str, ours: list[int], peer: list[int]) -> None:
    """Print the percentiles of both sides, and what ours adds."""
    for name, share in (("p50", 50), ("p99", 99)):
        one, other = (sorted(found)[len(found) * share // 100] / 1e6 for found in (ours, peer))
        show(one, other, "ms", f"{case}-{name}", f" added={one - other:.3f}")


async def around_nothing(calls: int, folder: Path) -> None:
    """Measure each part of the chain around no work, in this process."""
    source, signer = source_of(Speaking(with_robot())), own_signer(folder)
    number = iter(range(10**6))

    def call() -> Call:
        given = {"release": f"r-{next(number)}", "limit": 10}
        return Call("tool", TOOL, given, ROBOT.did, ROBOT.key_id)

    async def nothing() -> None:
        await anyio.to_thread.run_sync(content)

    with audited(Auditing(folder, signer, signer.did, "bench")) as around:
        assert around is not None
        desks = {
            "desk": Desk(Unguarded()),
            "desk-guard": Desk(chained(source, lambda inner: inner)[0]),
            "desk-guard-audit": Desk(chained(source, around)[0]),
        }
        cases: dict[str, list[int]] = {name: [] for name in (*desks, "gate")}
        peer: list[int] = []
        origin = Origin("http://127.0.0.1:1")
        gate = Gate(origin, Standings(source), Turn(), time.time_ns)
        holder = Holder(ROBOT.did, ROBOT, origin, time.time_ns)
        made = await gate.token(Heads((), [holder.proof("POST", origin.token_endpoint)]), holder.form())
        token = made["access_token"]
        for _ in range(calls):
            for name, desk in desks.items():
                asked = call()
                begun = time.perf_counter_ns()
                found = await desk.serve(asked, lambda: Done(content(), {}, ("release/r", "cluster/east")))
                cases[name].append(time.perf_counter_ns() - begun)
                assert not found.is_error, found.content
            heads = Heads([f"DPoP {token}"], [holder.proof("POST", origin.resource, token)])
            begun = time.perf_counter_ns()
            await gate.admit(heads, "POST")
            cases["gate"].append(time.perf_counter_ns() - begun)
            begun = time.perf_counter_ns()
            await nothing()
            peer.append(time.perf_counter_ns() - begun)
    for name, found_ns in cases.items():
        two_lines(f"around-nothing-{name}", found_ns[WARM:], peer[WARM:])


def guard_alone() -> None:
    """Measure the guard by itself; the peer is ``json.dumps`` and one search (``bench.guard``)."""
    for name, (tool, given) in guard.cases().items():
        judged, peer = guard.judging(tool, given), partial(guard.peer, given)
        ours, other = guard.timed(judged), guard.timed(peer)
        size = len(json.dumps(given))
        for share, place in (("p50", 0), ("p99", 1)):
            show(ours[place], other[place], "us", f"guard-{name}-{share}", f" bytes={size}")


def listed_tokens(tools: Sequence[Tool]) -> float:
    """Give the tokens of ``tools/list``, at ``BYTES_PER_TOKEN``."""
    listed = [listed_tool(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    return len(dump({"tools": listed})) / BYTES_PER_TOKEN


def sizes() -> None:
    """Print what the tools cost a model, and an answer beside the records it was read from."""
    tokens, reading = (listed_tokens(tools) for tools in (TOOLS, READ_TOOLS))
    show(tokens, reading, "tokens", "tools-list-all-beside-reading")
    source = source_of(Speaking(a_story()))
    asks: dict[str, tuple[str, dict[str, object]]] = {
        "releases": ("get_releases", {"release": "guestbook"}),
        "release": ("get_object", {"kind": "Release", "name": "guestbook"}),
        "releases-two-fields": ("get_releases", {"release": "guestbook", "fields": ["revision", "health"]}),
    }
    for name, (tool, given) in asks.items():
        found = ask(source, tool, **given)
        view = source.view(found.content["readAt"]["height"])
        keys = found.meta["conclave.internal/read"]["proof"]["keys"]
        raw = sum(len(view.get(key.encode()).value or b"") for key in keys)
        show(len(dump(found.content)), raw, "bytes", f"answer-{name}-beside-records", f" records={len(keys)}")


def main() -> int:
    """Measure and print; give the exit status."""
    parser = argparse.ArgumentParser(description="P8")
    parser.add_argument("--calls", type=int, default=1200)
    parser.add_argument("--only", choices=("chain", "stdio", "http", "guard", "sizes"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conclave-p8-", dir=Path.cwd()) as folder:
        parts: dict[str, Callable[[], object]] = {
            "chain": lambda: anyio.run(around_nothing, asked.calls, Path(folder)),
            "stdio": lambda: end_to_end("stdio", asked.calls),
            "http": lambda: end_to_end("http", asked.calls),
            "guard": guard_alone,
            "sizes": sizes,
        }
        for name, part in parts.items():
            if asked.only in (None, name):
                part()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    sys.stderr.write(f"load average {load}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
