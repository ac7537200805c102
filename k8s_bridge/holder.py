"""The name a bridge process holds the lease under, and what became of the one before it.

Owns ``bridge.lock`` in a bridge's home. Promises a name that no other process ever has, and to call the
process before it dead only where this machine's kernel says so: it held the lock on the same boot and holds
it no longer. Never decides who may write.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
from pathlib import Path

FILE_NAME = "bridge.lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BYTES_MAX = 4096
_HOST_CHARACTERS_MAX = 64


class Holder:
    """This process.

    Attributes:
        name: under which it holds the lease.
        predecessor: the name of the process that had this home before, if that is known to be dead.
        alone: whether no other process has this home now.
    """

    def __init__(self, home: Path) -> None:
        self.name = f"{socket.gethostname()[:_HOST_CHARACTERS_MAX]}/{os.getpid()}/{secrets.token_hex(8)}"
        self.predecessor: str | None = None
        self.alone = False
        self._descriptor = -1
        # A home on a full or read-only disk costs the quicker takeover, nothing else.
        with contextlib.suppress(OSError):
            self._descriptor = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
            boot = _BOOT_ID.read_text("ascii").strip()
            self.predecessor = _predecessor(os.pread(self._descriptor, _BYTES_MAX, 0), boot)
            content = json.dumps({"holder": self.name, "boot": boot}).encode()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, content, 0)

    def close(self) -> None:
        """Let the home go; a second time is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _predecessor(content: bytes, boot: str) -> str | None:
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        return None
    match known:
        case {"holder": str(name), "boot": str(found)} if found == boot:
            return name
        case _:
            return None
