"""One validator as one unit: its application and its CometBFT live and die together.

Owns the preflight (binary, ports, disk, files), the two command lines and the choice of the application's
interpreter. Promises that a node with a taken port, a full disk or a missing binary is refused with a code
before anything starts, and again before every restart. CometBFT never reconnects to a restarted application
(by its design), so whichever dies, both restart.

Source: CometBFT proxy/multi_app_conn.go (killTMOnClientError).
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import socket
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.node.config import UNIX_SOCKET_NAME
from consensus.node.spec import NodePaths
from ledger.errors import Code, EnvironmentFault
from ledger.limits import MIB
from runtime import process
from runtime.supervise import Member, Policy, Unit

DISK_FREE_BYTES_MIN = 256 * MIB
"""Below this CometBFT's and LevelDB's writes may fail in the middle of a block."""
CONFIG_BYTES_MAX = 1 * MIB
APPLICATION_MODULE = "abci_app"


@dataclass(frozen=True, slots=True)
class NodeUnit:
    """What to run for one node.

    Attributes:
        home: the node's folder, holding ``config/config.toml``.
        cometbft: the CometBFT binary.
        application: the Python module that serves the application.
        policy: restart policy; None for the usual one.
    """

    home: Path
    cometbft: Path
    application: str = APPLICATION_MODULE
    policy: Policy | None = None


def run_node(unit: NodeUnit) -> None:
    """Run one node until SIGTERM or SIGINT, then end both processes and return.

    Call it from the main thread of a process of its own. It writes ``node.pid`` into the home.

    Raises:
        EnvironmentFault: TOOL_MISSING, HOME_INVALID, PORT_TAKEN, DISK_FULL, or PROCESS_DIED with the last
            log lines after too many deaths.
    """
    home = unit.home.absolute()
    paths = NodePaths(home)
    refuse_running(paths)
    check = functools.partial(preflight, home, unit.cometbft)
    check()
    paths.logs.mkdir(mode=0o700, exist_ok=True)
    own = process.identify(os.getpid())
    assert own is not None
    process.write_pid_file(paths.pid_file, own)
    try:
        Unit(_members(unit, home), home, unit.policy, before_start=check).run()
    finally:
        paths.pid_file.unlink(missing_ok=True)


def stop_node(home: Path, *, grace_s: float = 30.0) -> bool:
    """Stop the node supervised in ``home``, wherever it was started from; False if none runs."""
    running = process.read_pid_file(NodePaths(home).pid_file)
    if running is None:
        return False
    process.stop(running, grace_s=grace_s)
    return True


def preflight(home: Path, cometbft: Path) -> None:
    """Check everything that would make a start fail.

    Raises:
        EnvironmentFault: TOOL_MISSING, HOME_INVALID, DISK_FULL, PORT_TAKEN.
    """
    if not (cometbft.is_file() and os.access(cometbft, os.X_OK)):
        raise EnvironmentFault(
            Code.TOOL_MISSING,
            got=cometbft,
            expected="the cometbft binary",
            todo="run the command that starts the ledger again: it builds the tools",
        )
    settings = _read_settings(NodePaths(home))
    free = shutil.disk_usage(home).free
    if free < DISK_FREE_BYTES_MIN:
        raise EnvironmentFault(
            Code.DISK_FULL,
            got=f"{free // MIB} MiB free",
            expected=f"at least {DISK_FREE_BYTES_MIN // MIB} MiB",
            todo="free space on this file system, then start again: nothing is lost",
            path=str(home),
        )
    for section in ("rpc", "p2p"):
        require_free_port(_address(settings, section, home), f"[{section}] laddr", home)


def require_free_port(address: tuple[str, int], setting: str, home: Path) -> None:
    """Check that a TCP address can be bound.

    Raises:
        EnvironmentFault: PORT_TAKEN.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise EnvironmentFault(
                Code.PORT_TAKEN,
                got=f"{address[0]}:{address[1]} {'is in use' if taken else error.strerror}",
                expected="a free port",
                todo=f"see who listens (ss -ltnp 'sport = :{address[1]}') and stop it, "
                f"or change {setting} in {NodePaths(home).config}",
                port=address[1],
                setting=setting,
            ) from error


def _members(unit: NodeUnit, home: Path) -> tuple[Member, Member]:
    """Give application and node, in start order: CometBFT would wait 3 s for a missing socket."""
    paths = NodePaths(home)
    settings = _read_settings(paths)
    listen = str(settings["proxy_app"])
    argv = (sys.executable, "-m", unit.application, "--home", str(home), "--listen", listen)
    application = Member(
        "app",
        (*argv, "--transport", str(settings.get("abci", "socket"))),
        paths.logs / "app.log",
        ready=functools.partial(_listens, home),
    )
    node = Member(
        "cometbft",
        (str(unit.cometbft.absolute()), "start", "--home", str(home)),
        paths.logs / "cometbft.log",
    )
    return application, node


def _listens(home: Path) -> bool:
    """Tell whether the application answers on its socket, however long the home's path is."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(f"/proc/self/fd/{folder}/{UNIX_SOCKET_NAME}")
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def refuse_running(paths: NodePaths) -> None:
    """Refuse a home whose node runs.

    Raises:
        EnvironmentFault: STATE_LOCKED.
    """
    running = process.read_pid_file(paths.pid_file)
    if running is not None:
        raise EnvironmentFault(
            Code.STATE_LOCKED,
            got=f"a node that runs in {paths.home} (pid {running.pid})",
            expected="one node per home",
            todo="stop it first; one key in two nodes would sign twice",
            pid=running.pid,
        )


def _read_settings(paths: NodePaths) -> dict[str, Any]:
    missing = [
        str(p) for p in (paths.config, paths.genesis, paths.validator_key, paths.node_key) if not p.is_file()
    ]
    if missing:
        raise EnvironmentFault(
            Code.HOME_INVALID, got=f"no {', '.join(missing)}", expected="a node's home", todo="make it first"
        )
    try:
        with paths.config.open("rb") as file:
            return tomllib.loads(file.read(CONFIG_BYTES_MAX).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise EnvironmentFault(
            Code.HOME_INVALID, got=error, expected="a TOML configuration", file=str(paths.config)
        ) from error


def _address(settings: dict[str, Any], section: str, home: Path) -> tuple[str, int]:
    try:
        host, _, port = str(settings[section]["laddr"]).removeprefix("tcp://").rpartition(":")
        return host, int(port)
    except (LookupError, TypeError, ValueError) as error:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=error,
            expected=f"[{section}] laddr = tcp://HOST:PORT",
            file=str(NodePaths(home).config),
        ) from error
