"""Namespaces of a node's own, as whoever starts them sees them: one process that can be told things.

Promises that leaving ends everything in there, and that it is gone, too, when the test's process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ledger.types import JsonObject
from tests.support.real_node.first import MESSAGE_BYTES_MAX

ROOT = Path(__file__).resolve().parents[3]
ANSWER_S = 180.0
END_S = 60.0
_CHUNK_BYTES = 64 * 1024


class RoomError(Exception):
    """The namespaces could not be made, or what was asked in there went wrong; the text says what."""


class Room:
    """Its own pid, mount and network namespaces; safe to use from several threads."""

    def __init__(self, path: str, address: str, log: Path) -> None:
        """Make the namespaces; programs in there are found on ``path``.

        Raises:
            RoomError: this process may not, or the kernel cannot.
        """
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        first = [sys.executable, "-m", "tests.support.real_node.first", str(theirs.fileno()), address]
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *first]
        # Everything in there inherits one end of this pipe: it ends when the last of them has.
        self._living, living = os.pipe()
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                argv, cwd=ROOT, pass_fds=[theirs.fileno(), living], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, env={**os.environ, "PATH": path},
            )  # fmt: skip
        os.close(living)
        self._control = ours
        ours.settimeout(ANSWER_S)
        if not ours.recv(MESSAGE_BYTES_MAX):
            self.close()
            raise RoomError(log.read_text(errors="replace").strip()[-400:])

    def close(self) -> None:
        """End everything in there at once, and wait until it has."""
        self._process.kill()
        self._control.close()
        self._process.wait(END_S)
        ended = select.select([self._living], [], [], END_S)[0]
        os.close(self._living)
        assert ended, "processes outlived their namespace"

    def start(self, name: str, *argv: str, log: Path) -> None:
        """Start a program that goes on."""
        self._ask("start", name=name, argv=argv, log=str(log))

    def run(self, *argv: str, log: Path) -> None:
        """Run a program to its end, which must be a good one."""
        status = self._ask("run", argv=argv, log=str(log))[0]["status"]
        if status:
            said = log.read_text(errors="replace").strip()[-400:]
            raise RoomError(f"{' '.join(argv)} ended with {status}: {said}")

    def kill(self, *names: str) -> None:
        """Kill programs at once."""
        self._ask("kill", names=names)

    def living(self) -> list[str]:
        """Give the programs that go on."""
        return list(self._ask("living")[0]["names"])

    def listen(self, host: str, port: int) -> socket.socket:
        """Give a socket that listens in there, and is accepted from here."""
        return self._ask("listen", host=host, port=port)[1][0]

    def connect(self, host: str, port: int) -> socket.socket:
        """Give a socket that was connected in there."""
        connected = self._ask("connect", host=host, port=port)[1][0]
        connected.settimeout(ANSWER_S)
        return connected

    def _ask(self, do: str, **request: Any) -> tuple[JsonObject, list[socket.socket]]:
        with self._lock:
            self._control.send(json.dumps({"do": do, **request}).encode())
            message, descriptors, _flags, _address = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 1)
        answer = json.loads(message or b'{"error": "the first process is gone"}')
        if "error" in answer:
            raise RoomError(f"{do} {request}: {answer['error']}")
        return answer, [socket.socket(fileno=each) for each in descriptors]


class Relay:
    """Carries connections that are accepted on one socket to a port of 127.0.0.1 out here."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self._listening, self._port = listening, port
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more; what is connected ends with either end."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(END_S)

    def _accept(self) -> None:
        while True:
            try:
                inner, _address = self._listening.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._port), END_S)
            except OSError:
                inner.close()
                continue
            outer.settimeout(None)
            threading.Thread(target=_join, args=(inner, outer), daemon=True).start()


def _join(inner: socket.socket, outer: socket.socket) -> None:
    """Carry both ways until either end closes."""
    with inner, outer:
        back = threading.Thread(target=_carry, args=(outer, inner), daemon=True)
        back.start()
        _carry(inner, outer)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    # The other direction ends by this.
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
