"""The fixtures profile as a process, ``python -m tests.conformance.mcp.serve``; says where on standard error.

Owns the joining: the fixtures behind our own socket, front, gate, guard and audit, over a ledger in memory,
and before it a proxy on loopback that gets tokens and proves the key, for the suite can do neither. What
differs from the product is said here: sessions and streams, which the older revision's suite asks for, and
answers of clients, which it sends.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from ledger.types import JsonObject
from mcp_server import framing, listener, web
from mcp_server.audit.around import Auditing, audited, own_signer
from mcp_server.auth.client import TokenAuth
from mcp_server.auth.holder import Holder
from mcp_server.auth.metadata import Origin
from mcp_server.gate import Gate
from mcp_server.guarding import Guarded
from mcp_server.listening import LOOPBACK, Listening
from mcp_server.policies import BUDGET
from mcp_server.standing import Standings
from mcp_server.turn import Turn
from tests.conformance.mcp import profile
from tests.support.ledger import ROBOT, Ledger
from tests.support.mcp import Speaking, a_story, source_of

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_TEXT_BYTES_MAX = 4096
_FREELY: JsonObject = {
    "windowCalls": 30,
    "windowSeconds": 1,
    "sameWarnCalls": 29,
    "sameRefuseCalls": 30,
    "noProgressWarnCalls": 29,
    "noProgressRefuseCalls": 30,
    "pingPongWarnCycles": 29,
    "pingPongRefuseCycles": 30,
}
"""The suite asks the same again and again: that is its task."""


def a_ledger() -> Ledger:
    """Give a ledger on which the robot may call every fixture and nothing else."""
    tools = {tool.name: tuple(tool.properties) for tool in profile.TOOLS} | profile.AS_TOOLS
    spec = {
        "agent": ROBOT.did,
        "tools": [
            {
                "tool": name,
                "arguments": [
                    {"path": field, "type": "text", "bytesMax": _TEXT_BYTES_MAX} for field in sorted(fields)
                ],
                "budget": BUDGET,
            }
            for name, fields in sorted(tools.items())
        ],
        "budget": BUDGET,
        "openProposalsMax": 0,
        "loop": _FREELY,
    }
    ledger = a_story()
    policy = {"metadata": {"name": ROBOT.name}, "spec": spec}
    ledger.configure({"apiVersion": "conclave.internal/v1", "kind": "AgentPolicy", **policy})
    ledger.commit()
    return ledger


def check(content: bytes) -> JsonObject:
    """Give a message's JSON, also where it answers a question: the product asks none.

    Raises:
        Refused: as ``framing.check``.
    """
    try:
        message = json.loads(content)
    except ValueError:
        message = None
    is_answer = isinstance(message, dict) and "method" not in message and {"result", "error"} & message.keys()
    return message if is_answer else framing.check(content)


def proxy(origin: Origin) -> Starlette:
    """Give what passes requests on with a token and a proof, and streams what comes back."""
    holder = Holder(ROBOT.did, ROBOT, origin, time.time_ns)
    client = httpx2.AsyncClient(auth=TokenAuth(holder, time.monotonic), timeout=60)

    async def forward(request: Request) -> StreamingResponse:
        heads = {name: value for name, value in request.headers.items() if name not in _HOP}
        if heads.get("host") == request.url.netloc and request.url.hostname in ("127.0.0.1", "localhost"):
            heads["host"] = origin.resource.split("/")[2]
        passed = client.build_request(
            request.method, origin.resource, headers=heads, content=await request.body()
        )
        answer = await client.send(passed, stream=True)
        back = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, back, background=BackgroundTask(answer.aclose)
        )

    return Starlette(routes=[Route("/mcp", forward, methods=["GET", "POST", "DELETE"])])


def main() -> None:
    """Serve until the process ends."""
    listening = Listening(LOOPBACK, 0)
    bound, before = listener.listen(listening), listener.listen(listening)
    origin = Origin(listening.origin(bound.getsockname()[1]))
    ledger = a_ledger()
    # A tool that asks back holds its turn until the answer came in by the gate: that has a reader of its own.
    gate = Gate(origin, Standings(source_of(Speaking(ledger))), Turn(), time.time_ns)
    standings = Standings(source_of(Speaking(ledger)))
    folder = Path(tempfile.mkdtemp(prefix="conclave-conformance-"))
    signer = own_signer(folder)
    url = f"http://127.0.0.1:{before.getsockname()[1]}/mcp"
    threading.Thread(target=listener.run, args=(proxy(origin), before), daemon=True).start()
    with audited(Auditing(folder, signer, signer.did, ledger.chain.chain_id)) as around:
        assert around is not None
        server = profile.build(around(Guarded(standings, time.time_ns)), Turn())
        app = web.Front(
            server.streamable_http_app(
                streamable_http_path=web.PATH,
                max_request_body_size=framing.MESSAGE_BYTES_MAX,
                transport_security=web.security_of(origin),
            ),
            check,
            gate,
            web.security_of(origin),
        )
        sys.stderr.write(json.dumps({"url": url, "audit": str(folder)}) + "\n")
        sys.stderr.flush()
        listener.run(app, bound)


if __name__ == "__main__":
    main()
