"""``python -m abci_app --home DIR --listen unix://app.sock``: the application process.

Owns the process: arguments, the checks that guard determinism before any byte is served, and exit statuses.
Promises to refuse ``python -O`` and any protobuf backend but upb; exits 78 where trying again cannot help,
75 where it can, 70 when the application failed, 0 when asked to stop. It holds no rule.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from google.protobuf.internal import api_implementation

from abci_app.abci import Application
from abci_app.listen import parse_listen
from abci_app.settings import load
from ledger.errors import Code, ConclaveError, EnvironmentFault
from runtime import log
from runtime.status import EXIT_AGAIN, EXIT_PERMANENT
from state.collector import long_lived

_AGAIN = frozenset({Code.PORT_TAKEN, Code.STATE_LOCKED, Code.DISK_FULL})
"""The socket or the state may still be held by a predecessor; a disk may be cleared."""
_LOG = logging.getLogger("abci_app")


def open_application(home: Path) -> Application:
    """Open the replicated machine over the store in ``home/app``, with the settings of ``home``.

    Raises:
        EnvironmentFault: the settings or the store cannot be read.
    """
    from abci_app.application import ConclaveApplication

    settings = load(home)
    with long_lived():
        return ConclaveApplication.open(home / "app", home / "app-snapshots", settings.snapshot_every)


def require_determinism() -> None:
    """Refuse an interpreter in which two honest nodes could differ.

    Raises:
        EnvironmentFault: USAGE, asserts are off or protobuf does not run on upb.
    """
    if not __debug__:
        raise EnvironmentFault(
            Code.USAGE,
            got="python -O",
            expected="python with asserts",
            todo="start without -O and PYTHONOPTIMIZE",
        )
    backend = api_implementation.Type()
    if backend != "upb":
        raise EnvironmentFault(
            Code.USAGE,
            got=f"protobuf backend {backend}",
            expected="upb",
            todo="unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION and install the protobuf wheel",
        )


def serve(application: Application, listen: str, transport: str) -> int:
    """Serve ``application`` on ``listen`` over ``socket`` or ``grpc``; give the exit status.

    Raises:
        EnvironmentFault: the address is not allowed or cannot be bound.
    """
    address = parse_listen(listen)
    if transport == "grpc":
        from abci_app.grpc_server import GrpcServer

        return GrpcServer(application).run(address)
    from abci_app.server import Server

    return asyncio.run(Server(application).run(address))


def main(argv: list[str] | None = None, opener: Callable[[Path], Application] = open_application) -> int:
    """Run the process; give its exit status."""
    parser = argparse.ArgumentParser(prog="abci_app", description="The Conclave ABCI application.")
    parser.add_argument("--home", type=Path, required=True, help="the node's folder")
    parser.add_argument("--listen", default="unix://app.sock", help="unix://PATH or tcp://127.0.0.1:PORT")
    parser.add_argument("--transport", choices=("socket", "grpc"), default="socket")
    arguments = parser.parse_args(argv)
    log.configure()
    try:
        require_determinism()
        with contextlib.closing(opener(arguments.home)) as application:
            return serve(application, arguments.listen, arguments.transport)
    except ConclaveError as error:
        log.event(_LOG, "cannot serve", level=logging.ERROR, **error.to_json())
        return EXIT_AGAIN if error.code in _AGAIN else EXIT_PERMANENT


if __name__ == "__main__":
    sys.exit(main())
