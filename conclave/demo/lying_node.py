"""A node that lies: a loopback proxy in front of a real RPC endpoint that alters one thing in its answers.

Owns the lies of the demonstration and of the red-team tests. Promises to pass everything else on unchanged.
It never listens beyond loopback.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from ledger.limits import RPC_ANSWER_BYTES_MAX

Lie = Callable[[str, dict[str, Any]], None]
"""Takes the RPC method and its ``result``, and alters the result in place."""

_FORWARD_TIMEOUT_S = 10


def _flip(encoded: str) -> str:
    """Flip one bit in the middle of base64 text, keeping its length."""
    raw = bytearray(base64.b64decode(encoded))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


def _flip_hex(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _header(method: str, result: dict[str, Any]) -> None:
    if method == "commit":
        header = result["signed_header"]["header"]
        header["data_hash"] = _flip_hex(header["data_hash"] or "0" * 64)


def _app_hash(method: str, result: dict[str, Any]) -> None:
    if method == "commit":
        header = result["signed_header"]["header"]
        header["app_hash"] = _flip_hex(header["app_hash"])


def _validators(method: str, result: dict[str, Any]) -> None:
    if method == "validators":
        first = result["validators"][0]
        first["voting_power"] = str(int(first["voting_power"]) + 100)


def _proof(method: str, result: dict[str, Any]) -> None:
    if method != "abci_query":
        return
    operations = ((result.get("response") or {}).get("proofOps") or {}).get("ops") or []
    for operation in operations:
        operation["data"] = _flip(operation["data"])


def _value(method: str, result: dict[str, Any]) -> None:
    response = result.get("response") or {}
    if method == "abci_query" and response.get("value"):
        response["value"] = _flip(response["value"])


def _withheld(method: str, result: dict[str, Any]) -> None:
    """Claim that what is there is not, with the proof of something else."""
    response = result.get("response") or {}
    if method == "abci_query" and response.get("value"):
        response["value"] = None


def _signatures(method: str, result: dict[str, Any]) -> None:
    if method == "commit":
        signatures = result["signed_header"]["commit"]["signatures"]
        for signature in signatures[: len(signatures) // 2]:
            signature.update(
                block_id_flag=1, validator_address="", timestamp="0001-01-01T00:00:00Z", signature=None
            )


LIES: dict[str, Lie] = {
    "header altered": _header,
    "app hash altered": _app_hash,
    "validator set altered": _validators,
    "signatures dropped": _signatures,
    "proof altered": _proof,
    "value altered": _value,
    "value withheld": _withheld,
}
"""Lies about headers come first: once a header is believed, lying about it again has no effect."""


class LyingNode:
    """Serves ``upstream`` with one lie, from entering the context to leaving it."""

    def __init__(self, upstream: str, lie: Lie) -> None:
        self._upstream = upstream.rstrip("/")
        self._lie = lie
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The endpoint to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: bytes | None) -> bytes:
        """Ask the real node and lie about its answer."""
        request = urllib.request.Request(  # noqa: S310 - upstream is our own loopback http URL
            self._upstream + path, data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_FORWARD_TIMEOUT_S) as reply:  # noqa: S310
            document = json.loads(reply.read(RPC_ANSWER_BYTES_MAX))
        asked = json.loads(body) if body else {"method": urlsplit(path).path.strip("/")}
        # Several questions may come in one request, with their answers in any order.
        methods = {one.get("id"): one["method"] for one in (asked if isinstance(asked, list) else [asked])}
        for one in document if isinstance(document, list) else [document]:
            if isinstance(one.get("result"), dict):
                self._lie(methods[one["id"] if body else None], one["result"])
        return json.dumps(document).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _reply(self, body: bytes | None) -> None:
                try:
                    content, status = node.answer(self.path, body), 200
                except OSError as error:
                    content, status = str(error).encode(), 502
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), RPC_ANSWER_BYTES_MAX)
                self._reply(self.rfile.read(length))

            def log_message(self, *_: object) -> None:
                """Stay silent: the story tells what happens."""

        return Handler
