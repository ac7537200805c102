"""A ledger in memory served as CometBFT's JSON-RPC on a loopback socket, by a node that may lie.

Owns the JSON of the honest answers and the hook that alters one of them. It listens on loopback only.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from consensus.light.render import signed_header_json, validators_json
from consensus.light.timestamp import format_time
from consensus.light.types import LightBlock
from ledger.errors import ConclaveError
from ledger.types import JsonObject
from tests.support.chain import Chain, Signer, set_of, signers
from tests.support.ledger import Ledger, Node

Lie = Callable[[str, JsonObject, Any], Any]
"""Takes method, parameters and a fresh honest result; gives what is answered instead."""

VALIDATORS = signers("v1", "v2", "v3", "v4")
CHANGE_HEIGHT = 6
"""The header of this height names another next validator set."""


class ChangingChain(Chain):
    """A chain whose validator set changes once: the header of ``CHANGE_HEIGHT`` announces it."""

    def append(self, *, following: Sequence[Signer] | None = None, **fields: Any) -> LightBlock:
        """Make the next block."""
        if self.height + 1 == CHANGE_HEIGHT:
            following = (*VALIDATORS, *signers("v5"))
        return super().append(following=following, **fields)


def a_ledger() -> Ledger:
    """Give six blocks: a release proposed, approved twice, and the announcement of a fifth validator."""
    ledger = Ledger(ChangingChain(VALIDATORS))
    ledger.commit()
    ledger.release()
    while ledger.height < CHANGE_HEIGHT:
        ledger.commit()
    return ledger


def answer_of(node: Node, method: str, params: JsonObject) -> Any:
    """Give the honest ``result`` of a call.

    Raises:
        ConclaveError: what the node refuses.
    """
    chain = node.ledger.chain
    if method == "status":
        status = node.status()
        return {
            "node_info": {"network": status.chain_id},
            "sync_info": {
                "latest_block_height": str(status.height),
                "latest_block_time": format_time(status.time_ns),
                "catching_up": False,
            },
        }
    if method == "commit":
        return {"signed_header": signed_header_json(node.signed_header(int(params["height"])))}
    if method == "validators":
        members = validators_json(set_of(chain.members[int(params["height"])]))
        return {
            "block_height": params["height"],
            "validators": members,
            "count": str(len(members)),
            "total": str(len(members)),
        }
    assert method == "abci_query"
    return {"response": query_json(node, bytes.fromhex(params["data"]), int(params["height"]))}


def query_json(node: Node, key: bytes, height: int) -> JsonObject:
    """Give the honest answer to a query for ``key``."""
    answer = node.abci_query("/state", key, height)
    assert answer.proof is not None
    op = {"type": "ics23:smt", "key": _text(key), "data": _text(answer.proof)}
    return {
        "code": 0,
        "log": "",
        "key": _text(key),
        "value": _text(answer.value) or None,
        "height": str(height),
        "proofOps": {"ops": [op]},
    }


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


METHODS = frozenset({"status", "commit", "validators", "abci_query"})


class _Served(ThreadingHTTPServer):
    """Whoever asks may hang up in the middle of an answer; any other error is shown."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), BrokenPipeError | ConnectionResetError):
            super().handle_error(request, client_address)


class LyingLedger:
    """Serves a ledger from entering the context to leaving it.

    ``lie`` alters answers, ``rewrite`` the parameters they are made for; both may be set and taken back.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.node = Node(ledger)
        self.lie: Lie
        self.rewrite: Callable[[str, JsonObject], JsonObject]
        self.be_honest()
        self._server = _Served(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def be_honest(self) -> None:
        """Lie no more."""
        self.lie = lambda _method, _params, result: result
        self.rewrite = lambda _method, params: params

    def answer(self, request: bytes) -> bytes:
        """Give the body of the answer to a request."""
        called = json.loads(request)
        if isinstance(called, list):
            return b"[" + b",".join(map(self._answer, called)) + b"]"
        return self._answer(called)

    def _answer(self, called: JsonObject) -> bytes:
        method, params, number = called["method"], called["params"], called["id"]
        if method not in METHODS:
            unknown = {"code": -32601, "message": "Method not found"}
            return json.dumps({"jsonrpc": "2.0", "id": number, "error": unknown}).encode()
        try:
            honest = answer_of(self.node, method, self.rewrite(method, params))
            result = self.lie(method, params, honest)
        except (ConclaveError, KeyError) as error:
            refusal = {"code": -32603, "message": "Internal error", "data": str(error)}
            return json.dumps({"jsonrpc": "2.0", "id": number, "error": refusal}).encode()
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


def _handler(node: LyingLedger) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = node.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
