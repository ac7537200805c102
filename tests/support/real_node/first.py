"""The first process of a node's own pid, mount and network namespaces.

Owns what a machine's start does: mounts, links, the reaping of orphans. Whoever started it tells it over
one socket what to start and to kill, and is given sockets that live in its network. Promises that when this
socket closes, for whatever reason, it ends, and with it every process, mount and link in here: that is what
the kernel does when the first process of a pid namespace ends.

Run as ``python -m tests.support.real_node.first SOCKET_FD BRIDGE_ADDRESS``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from ledger.types import JsonObject

MESSAGE_BYTES_MAX = 64 * 1024
REAP_S = 0.1
CONNECT_S = 30.0
OWN_FOLDERS = ("/run", "/var/lib", "/var/log")
"""Where runtime, network plugins and kubelet write, whatever they are told: here they write into memory."""
BRIDGE = "cni0"


class First:
    """Answers one request after the other, and reaps in between."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pids: dict[str, int] = {}

    def serve(self) -> None:
        """Answer until the other end closes."""
        while True:
            self._reap()
            if not select.select([self._control], [], [], REAP_S)[0]:
                continue
            message = self._control.recv(MESSAGE_BYTES_MAX)
            if not message:
                return
            request = json.loads(message)
            given: list[socket.socket] = []
            try:
                answer = getattr(self, "do_" + request.pop("do"))(given, **request)
            except Exception as error:  # noqa: BLE001 - the other end tells the test
                answer = {"error": f"{type(error).__name__}: {error}"}
            body = json.dumps(answer).encode()
            socket.send_fds(self._control, [body], [each.fileno() for each in given])
            for each in given:
                each.close()

    def do_start(self, _: list[socket.socket], name: str, argv: list[str], log: str) -> JsonObject:
        """Start a program that goes on."""
        self._pids[name] = self._spawn(argv, log)
        return {}

    def do_run(self, _: list[socket.socket], argv: list[str], log: str) -> JsonObject:
        """Run a program to its end."""
        _pid, status = os.waitpid(self._spawn(argv, log), 0)
        return {"status": os.waitstatus_to_exitcode(status)}

    def do_kill(self, _: list[socket.socket], names: list[str]) -> JsonObject:
        """Kill programs at once, and wait until they are gone."""
        pids = [self._pids.pop(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        return {}

    def do_living(self, _: list[socket.socket]) -> JsonObject:
        """Tell which programs go on."""
        return {"names": sorted(self._pids)}

    def do_listen(self, given: list[socket.socket], host: str, port: int) -> JsonObject:
        """Give a socket that listens in here."""
        given.append(socket.create_server((host, port)))
        return {}

    def do_connect(self, given: list[socket.socket], host: str, port: int) -> JsonObject:
        """Give a socket that is connected from in here."""
        given.append(socket.create_connection((host, port), CONNECT_S))
        return {}

    def _spawn(self, argv: list[str], log: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        return os.posix_spawnp(argv[0], argv, os.environ, file_actions=files, setsid=True)

    def _reap(self) -> None:
        while self._children():
            pid, _status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._pids = {name: living for name, living in self._pids.items() if living != pid}

    @staticmethod
    def _children() -> bool:
        try:
            return bool(Path("/proc/1/task/1/children").read_text().split())
        except OSError:
            return False


def _settle(address: str) -> None:
    for folder in OWN_FOLDERS:
        _do("mount", "-t", "tmpfs", "tmpfs", folder)
    _do("ip", "link", "set", "lo", "up")
    # Before the kubelet: it wants an address of its own that is not the loopback's.
    _do("ip", "link", "add", BRIDGE, "type", "bridge")
    _do("ip", "address", "add", f"{address}/24", "dev", BRIDGE)
    _do("ip", "link", "set", BRIDGE, "up")


def _do(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}")


def main(descriptor: str, address: str) -> None:
    """Settle, say so, and serve."""
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    _settle(address)
    control.send(json.dumps({"ready": os.getpid()}).encode())
    First(control).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
