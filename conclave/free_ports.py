"""Ports of this machine that nobody listens on.

Owns the ranges: where a ledger's nodes look for ports, and where a devkube is told to. Promises that the two
never meet: both choose before anybody listens, and the one who listens second would find its port taken, now
and at every later start. What is free now may be taken in a moment: whoever listens says so.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Collection
from pathlib import Path

from consensus.node.localnet import DEFAULT_BASE_PORT
from ledger.errors import Code, EnvironmentFault, unwritable

NODES = range(DEFAULT_BASE_PORT, 32_000)
DEVKUBES = range(20_000, DEFAULT_BASE_PORT)
"""Both below the kernel's range for outgoing connections, which begins at 32768."""
_STEP = 20
_DEVKUBE_PORTS = ("api", "etcd", "controllerManager", "scheduler")
"""As a devkube remembers them in ``ports.json`` (deploy/devkube/ports.go)."""


def in_a_row(count: int) -> int:
    """Find ``count`` free ports for nodes, so that several homes can live on one machine; gives the first.

    Raises:
        EnvironmentFault: PORT_TAKEN.
    """
    for base in range(NODES.start, NODES.stop, max(_STEP, count)):
        if all(is_free(base + offset) for offset in range(count)):
            return base
    raise EnvironmentFault(
        Code.PORT_TAKEN, got=f"no {count} free ports in a row", todo="name a range with --base-port"
    )


def is_free(port: int) -> bool:
    """Tell whether nobody listens on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def keep_for_devkube(folder: Path, others: Collection[int]) -> None:
    """Name a new devkube's ports in its folder; one that was there before keeps its own.

    Args:
        folder: the devkube's; made if missing.
        others: ports that are somebody's, although nobody may listen on them yet.

    Raises:
        EnvironmentFault: HOME_INVALID, DISK_FULL.
    """
    file = folder / "ports.json"
    shuffled = secrets.SystemRandom().sample(DEVKUBES, len(DEVKUBES))
    free = (port for port in shuffled if port not in others and is_free(port))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            # Where there are too few, the devkube finds the others itself.
            staged = file.with_name(file.name + ".new")
            staged.write_text(json.dumps(dict(zip(_DEVKUBE_PORTS, free, strict=False))))
            staged.replace(file)
    except OSError as error:
        raise unwritable(error, file=str(file)) from error
