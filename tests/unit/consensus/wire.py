"""A loopback server that answers each connection with the bytes a test chose."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]
PATIENCE_S = 60.0
"""A guard against hanging, for a machine that is busy: nothing here takes as long."""


def http(body: bytes, *, length: int | None = None, status: str = "200 OK") -> bytes:
    """Give an HTTP answer; ``length`` lies about its size."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


def answering(*answers: bytes, close: bool = True) -> Behaviour:
    """Read one request for each answer and write it."""

    def behave(opened: socket.socket) -> None:
        for answer in answers:
            _read_request(opened)
            opened.sendall(answer)
        if not close:
            opened.recv(1)

    return behave


def _read_request(opened: socket.socket) -> None:
    content = b""
    while b"\r\n\r\n" not in content:
        chunk = opened.recv(65536)
        if not chunk:
            return
        content += chunk
    head, _, body = content.partition(b"\r\n\r\n")
    wanted = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < wanted:
        body += opened.recv(65536)


@contextlib.contextmanager
def serve(*behaviours: Behaviour) -> Iterator[str]:
    """Serve connections in order, one behaviour each; give the endpoint."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)

    def run() -> None:
        for behave in behaviours:
            with contextlib.suppress(OSError):
                opened, _ = listener.accept()
                with opened:
                    opened.settimeout(PATIENCE_S)
                    with contextlib.suppress(OSError):
                        behave(opened)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes who still waits for a connection
        thread.join(timeout=5)
        listener.close()
