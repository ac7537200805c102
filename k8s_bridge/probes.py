"""Liveness, readiness and metrics on a loopback port.

Owns the server and the newest account of the loop. Promises to listen on the loopback address alone, to
answer GET of three paths and nothing else, from what the loop last said, without waiting for it, and to bound
what one client may take. Decides nothing: the judgements are ``telemetry``'s.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from k8s_bridge.telemetry import CONTENT_TYPE, Moment, exposition, is_alive, why_not_ready
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from runtime.clock import NS_PER_S

HOST = "127.0.0.1"
CLIENT_TIMEOUT_S = 2.0
"""One client at a time; who is silent for so long is hung up on."""
_POLL_S = 0.2


class Probes:
    """What one bridge answers to probes.

    Args:
        wall_ns: the clock that headers are compared with.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, wall_ns: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall_ns, self._monotonic = wall_ns, monotonic
        # Replaced whole, so that a reader needs no lock.
        self._told: tuple[JsonObject | None, float] = (None, monotonic())
        self._server: HTTPServer | None = None

    def tell(self, account: JsonObject) -> None:
        """Take the loop's account after a turn."""
        self._told = (account, self._monotonic())

    def moment(self) -> Moment:
        """Give what a probe finds now."""
        account, at_s = self._told
        time_ns = account.get("headerTimeNs") if account else None
        age_s = (self._wall_ns() - time_ns) / NS_PER_S if isinstance(time_ns, int) and time_ns else None
        return Moment(account, self._monotonic() - at_s, age_s)

    def answer(self, path: str) -> tuple[int, str, str]:
        """Give status, content type and body for a path."""
        moment = self.moment()
        if path == "/metrics":
            return 200, CONTENT_TYPE, exposition(moment)
        if path == "/healthz":
            alive = is_alive(moment)
            return _json(200 if alive else 503, {"live": alive, "turnAgeSeconds": int(moment.turn_age_s)})
        if path == "/readyz":
            reasons = why_not_ready(moment)
            return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})
        return _json(404, {"paths": ["/healthz", "/readyz", "/metrics"]})

    def start(self, port: int) -> int:
        """Listen; gives the port (a free one for 0).

        Raises:
            EnvironmentFault: PORT_TAKEN.
        """
        try:
            server = HTTPServer((HOST, port), _handler(self.answer))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise EnvironmentFault(
                Code.PORT_TAKEN,
                got=f"{HOST}:{port}: {error.strerror}",
                expected="a free port" if taken else "a port that may be used",
                todo="name another with --metrics-port",
                port=port,
            ) from None
        self._server = server
        threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="probes", daemon=True).start()
        return int(server.server_address[1])

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _json(status: int, content: JsonObject) -> tuple[int, str, str]:
    return status, "application/json", json.dumps(content) + "\n"


def _handler(answer: Callable[[str], tuple[int, str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT_S
        server_version = "conclave-bridge"
        sys_version = ""

        def do_GET(self) -> None:
            status, kind, text = answer(self.path.partition("?")[0])
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: a scrape every few seconds is no event."""

    return Handler
