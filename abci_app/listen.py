"""Where the application listens: a unix socket or a loopback TCP port, nothing else.

Owns parsing of the listen address and the socket file: mode 0600, a stale file removed only if nobody
listens on it. Promises that no address reachable from another host is ever bound.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Code, EnvironmentFault

UNIX_PATH_BYTES_MAX = 100
"""sockaddr_un holds 108 bytes on Linux; some room for gRPC's prefixes."""
_PROBE_TIMEOUT_S = 1.0
_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket at ``path``, relative to the working directory if that is what fits."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A loopback TCP address."""

    host: str
    port: int


ListenAddress = UnixAddress | TcpAddress


def parse_listen(text: str) -> ListenAddress:
    """Read ``unix://PATH`` or ``tcp://127.0.0.1:PORT``.

    Raises:
        EnvironmentFault: HOME_INVALID (path too long), USAGE (another form, or not loopback).
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest:
        return UnixAddress(_fitting(rest))
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and port.isascii() and port.isdigit() and int(port) < 2**16:
        try:
            if ipaddress.ip_address(host.strip("[]")).is_loopback:
                return TcpAddress(host.strip("[]"), int(port))
        except ValueError:
            pass
    raise EnvironmentFault(
        Code.USAGE, got=text, expected="unix://PATH or tcp://ADDRESS:PORT with a loopback address"
    )


def bind(address: ListenAddress) -> socket.socket:
    """Give a listening socket.

    Raises:
        EnvironmentFault: PORT_TAKEN (somebody listens there), HOME_INVALID (path cannot be used).
    """
    if isinstance(address, UnixAddress):
        return _bind_unix(address.path)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise EnvironmentFault(
            Code.PORT_TAKEN,
            got=error,
            expected="a free port",
            todo="stop what listens there or choose another port",
            address=f"{address.host}:{address.port}",
        ) from error
    return listener


def clear_stale(path: str) -> None:
    """Remove a socket file nobody listens on; do nothing where there is no file.

    Raises:
        EnvironmentFault: PORT_TAKEN (alive), HOME_INVALID (not a socket).
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EnvironmentFault(
            Code.HOME_INVALID, got=path, expected="a socket or no file", todo="move that file away"
        )
    if answers(path):
        raise EnvironmentFault(
            Code.PORT_TAKEN,
            got=path,
            expected="a socket nobody listens on",
            todo="another application serves this home: stop it first",
        )
    Path(path).unlink(missing_ok=True)


def answers(path: str) -> bool:
    """Tell whether somebody listens on the unix socket ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def _bind_unix(path: str) -> socket.socket:
    clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise EnvironmentFault(
            Code.HOME_INVALID, got=error, expected="a folder a socket can be made in", path=path
        ) from error
    finally:
        os.umask(old_mask)
    return listener


def _fitting(path: str) -> str:
    """Give ``path``, or its form relative to the working directory where only that is short enough."""
    for form in (path, os.path.relpath(path)):
        if len(os.fsencode(form)) <= UNIX_PATH_BYTES_MAX and "\0" not in form:
            return form
    raise EnvironmentFault(
        Code.HOME_INVALID,
        got=path,
        expected=f"a socket path of at most {UNIX_PATH_BYTES_MAX} bytes",
        todo="start in the node's home with --listen unix://app.sock",
    )
