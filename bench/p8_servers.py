"""The two servers of P8 as a process: ``python -m bench.p8_servers ours|bare stdio|http FOLDER``.

Owns what is served: one tool, ``get_releases``, that gives the same content on either side without reading
anything. ``ours`` is the product's server, desk, gate, guard and audit around it, over a ledger in memory;
``bare`` is the ``mcp`` package's own low-level server and transport with nothing around. What differs from
the product: the guard's clock runs faster, so that no budget ends the measuring.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from ledger.types import JsonObject
from mcp_server import listener, pipes, web
from mcp_server import server as product
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.auth.metadata import Origin
from mcp_server.catalogue import BY_NAME
from mcp_server.chain import Chain, Principal
from mcp_server.gate import Gate
from mcp_server.guarding import Guarded
from mcp_server.listening import LOOPBACK, Listening
from mcp_server.pruning import dump
from mcp_server.source import Source
from mcp_server.standing import Standings
from mcp_server.turn import Turn
from tests.support.ledger import ROBOT
from tests.support.mcp import Speaking, source_of
from tests.support.mcp_process import with_robot

TOOL = "get_releases"
_STEP_NS = 150_000_000
"""By so much the guard's clock goes on when it is read, twice a call: a bucket of calls is never empty."""
_count = itertools.count(1)


def content() -> JsonObject:
    """Give what a call gives: some 500 bytes, one number of it another each time, so that it is no loop."""
    shared: JsonObject = {
        "namespace": "guestbook",
        "health": "current",
        "sync": "synced",
        "rollout": "complete",
    }
    entries = [
        {"release": "guestbook", "cluster": name, "revision": next(_count), "appliedRevision": 3, **shared}
        for name in ("east", "west", "north")
    ]
    return {"items": entries, "readAt": {"height": 4711, "ageSeconds": 2}}


def fast_clock() -> Callable[[], int]:
    """Give a clock that goes on with each look at it."""
    begun, looks = time.time_ns(), itertools.count()
    return lambda: begun + next(looks) * _STEP_NS


class _Idle(product.Handlers):
    """The product's handlers, that read nothing."""

    def _answering(self, tool: str, given: object, caller: Principal | None = None) -> Any:
        del tool, given, caller
        return lambda: (content(), {})


def chained(source: Source, around: Callable[[Chain], Chain]) -> tuple[Chain, Standings]:
    """Give the chain of the product, and what it knows of callers."""
    standings = Standings(source)
    return around(Guarded(standings, fast_clock())), standings


def ours(transport: str, folder: Path) -> None:
    """Serve as the product does."""
    product.Handlers = _Idle  # type: ignore[misc]
    source, signer = source_of(Speaking(with_robot())), own_signer(folder)
    with audited(Auditing(folder, signer, signer.did, "bench")) as around:
        assert around is not None
        chain, standings = chained(source, around)
        if transport == "stdio":
            pipes.run(product.build(source, chain, local=Principal(ROBOT.did, ROBOT.key_id)))
            return
        where, turn = Listening(LOOPBACK, 0), Turn()
        bound = listener.listen(where)
        origin = Origin(where.origin(bound.getsockname()[1]))
        gate = Gate(origin, standings, turn, time.time_ns)
        told(origin.resource)
        listener.run(web.application(product.build(source, chain, turn=turn), gate), bound)


async def _list(ctx: object, params: object) -> types.ListToolsResult:
    del ctx, params
    tool = BY_NAME[TOOL]
    return types.ListToolsResult(tools=[types.Tool(name=TOOL, input_schema=tool.input_schema)])


async def _call(ctx: object, params: object) -> types.CallToolResult:
    del ctx, params
    found = content()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=dump(found))], structured_content=found
    )


def bare(transport: str) -> None:
    """Serve the same content with the package alone."""
    server: Server[Any] = Server("bare", version="1", on_list_tools=_list, on_call_tool=_call)
    if transport == "stdio":
        anyio.run(_bare_streams, server)
        return
    # As ours: with the protocol named asyncio sends an answer's last packet at once, else 40 ms later.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind((LOOPBACK, 0))
    bound.listen()
    told(f"http://{LOOPBACK}:{bound.getsockname()[1]}/mcp")
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[bound])


async def _bare_streams(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def told(url: str) -> None:
    """Say where it is served."""
    sys.stderr.write(json.dumps({"url": url}) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(sys.argv[2])
    else:
        ours(sys.argv[2], Path(sys.argv[3]))
