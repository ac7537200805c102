"""``python -m mcp_server``: the server beside a node or far from one, with no home.

Owns the joining of endpoints, root of trust and transport. Promises that the endpoints need not be trusted
and that a wrong start ends with a code, never a traceback.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from consensus.reader import VerifiedReader
from consensus.rpc import open_panel
from consensus.trust_store import TrustRoot, TrustStore
from ledger import canonical
from ledger.errors import Code, ConclaveError, EnvironmentFault
from ledger.limits import MIB
from mcp_server.source import Source

_GENESIS_BYTES_MAX = 64 * MIB
EXIT_FAILED = 4
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Serve; give the exit code."""
    parser = argparse.ArgumentParser("python -m mcp_server", description="Read a ledger over MCP, proven.")
    parser.add_argument("--endpoint", action="append", required=True, metavar="URL", help="a node; repeat")
    parser.add_argument("--genesis", type=Path, required=True, help="the root of trust")
    parser.add_argument("--trust", type=Path, required=True, help="where to keep what was verified")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--stdio", action="store_true", help="over standard input and output")
    how.add_argument("--http", type=int, metavar="PORT", help="over streamable HTTP on loopback; 0: any")
    given = parser.parse_args(arguments)
    try:
        _serve(given)
    except ConclaveError as error:
        sys.stderr.write(json.dumps({"error": error.to_json()}, default=str) + "\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _serve(given: argparse.Namespace) -> None:
    root = TrustRoot.from_genesis(canonical.parse(_read(given.genesis)))
    given.trust.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = TrustStore(given.trust)
    store.ensure(root)
    rpc = open_panel(given.endpoint, given.trust.parent)
    try:
        reader = VerifiedReader(rpc, store, clock=time.time_ns)
        serve(Source(rpc, reader, root, os.urandom(32)), None if given.stdio else given.http)
    finally:
        rpc.close()


def serve(source: Source, port: int | None) -> None:
    """Serve a ledger over standard streams, or over HTTP on ``port``; says on standard error where.

    Raises:
        EnvironmentFault: PORT_TAKEN.
    """
    # The protocol's package costs seconds and memory: whoever only asks for help pays nothing.
    from mcp_server import pipes, web
    from mcp_server.server import build
    from runtime import log

    log.configure()
    # The package tells of every request that it began and ended with it.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    if port is None:
        pipes.run(build(source))
        return
    bound = web.listen(port)
    sys.stderr.write(json.dumps({"url": f"http://{web.HOST}:{bound.getsockname()[1]}{web.PATH}"}) + "\n")
    sys.stderr.flush()
    web.run(build(source), bound)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_GENESIS_BYTES_MAX)
    except OSError as error:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=f"{path}: {error.strerror}",
            expected="the genesis file, the root of trust",
            file=str(path),
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
