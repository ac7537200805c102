"""``python -m mcp_server``: the server beside a node or far from one, with no home.

Owns the joining of endpoints, root of trust and transport. Promises that the endpoints need not be trusted
and that a wrong start ends with a code, never a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from consensus.reader import VerifiedReader
from consensus.rpc import open_panel
from consensus.trust_store import TrustStore, read_genesis
from consensus.witness import Panel
from identity.signer import open_signer
from ledger.errors import ConclaveError
from mcp_server.audit.around import Auditing, own_signer
from mcp_server.audit.ledger_anchors import LedgerAnchors
from mcp_server.audit.ledger_suspensions import LedgerSuspensions
from mcp_server.audit.suspensions import Suspensions
from mcp_server.chain import Principal
from mcp_server.options import HELP, Asked, where
from mcp_server.serving import Serving, serve_audited
from mcp_server.source import Source
from mcp_server.standing import owner_of

EXIT_FAILED = 4
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Serve; give the exit code."""
    parser = argparse.ArgumentParser("python -m mcp_server", description="Read a ledger over MCP, proven.")
    parser.add_argument("--endpoint", action="append", required=True, metavar="URL", help="a node; repeat")
    parser.add_argument("--genesis", type=Path, required=True, help="the root of trust")
    parser.add_argument("--trust", type=Path, required=True, help="where to keep what was verified")
    parser.add_argument("--stdio", action="store_true", help=HELP["stdio"])
    parser.add_argument("--http", type=int, metavar="PORT", help=HELP["http"])
    parser.add_argument("--listen", metavar="IP:PORT", help=HELP["listen"])
    parser.add_argument("--url", help=HELP["url"])
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help=HELP["tls-cert"])
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help=HELP["tls-key"])
    parser.add_argument("--anonymous", action="store_true", help=HELP["anonymous"])
    parser.add_argument(
        "--agent-key", type=Path, metavar="FILE", help="over --stdio: the key of the agent that calls"
    )
    parser.add_argument(
        "--speak-for", type=Path, action="append", default=[], metavar="KEYFILE", help=HELP["speak-for"]
    )
    parser.add_argument("--audit", type=Path, metavar="DIR", help=f"{HELP['audit']} [beside --trust]")
    parser.add_argument("--no-audit", action="store_true", help=HELP["no-audit"])
    parser.add_argument("--node-key", type=Path, metavar="FILE", help=HELP["node-key"])
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
    asked = Asked(
        stdio=given.stdio,
        http=given.http,
        listen=given.listen,
        url=given.url,
        certificate=given.tls_cert,
        key=given.tls_key,
        is_anonymous=given.anonymous,
    )
    listening = where(asked)
    signer = None if given.agent_key is None else open_signer(f"file:{given.agent_key}", _passphrase())
    root = read_genesis(given.genesis)
    given.trust.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = TrustStore(given.trust)
    store.ensure(root)
    rpc = open_panel(given.endpoint, given.trust.parent)
    with contextlib.ExitStack() as stack:
        stack.callback(rpc.close)
        source = Source(rpc, VerifiedReader(rpc, store, clock=time.time_ns), root, os.urandom(32))
        principal = None if signer is None else Principal(owner_of(source, signer.key_id), signer.key_id)
        auditing = None if given.no_audit else _auditing(given, source, stack)
        speaking = [] if signer is None else [signer]
        speaking += [open_signer(f"file:{path}", _passphrase()) for path in given.speak_for]
        keys = {owner_of(source, each.key_id): [each] for each in speaking}
        serve_audited(source, Serving(where=listening, principal=principal, keys=keys), auditing)


def _auditing(given: argparse.Namespace, source: Source, stack: contextlib.ExitStack) -> Auditing:
    """Find out who signs the audit, and whether the ledger can know it."""
    place, chain_id = given.audit or given.trust.parent / "audit", source.root.chain_id
    if given.node_key is None:
        signer = own_signer(place)
        return Auditing(place, signer, signer.did, chain_id)
    signer = open_signer(f"file:{given.node_key}", _passphrase())
    node = owner_of(source, signer.key_id)
    anchors = LedgerAnchors(*_beside(given, stack), node, signer)
    suspensions = Suspensions(LedgerSuspensions(*_beside(given, stack), node, signer), time.monotonic)
    return Auditing(place, signer, node, chain_id, anchors, suspensions)


def _beside(given: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[Panel, VerifiedReader]:
    """Open the ledger once more, for a thread beside the calls: a reader is no friend of threads."""
    rpc = open_panel(given.endpoint, given.trust.parent)
    stack.callback(rpc.close)
    return rpc, VerifiedReader(rpc, TrustStore(given.trust), clock=time.time_ns)


def _passphrase() -> bytes | None:
    given = os.environ.get("CONCLAVE_PASSPHRASE")
    return given.encode() if given else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
