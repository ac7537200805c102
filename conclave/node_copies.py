"""``conclave node export|import``: a copy of a node's state that carries its own proof.

Promises that the copy was verified before it is called one, and again before it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from abci_app.snapshot_folder import SnapshotFolder
from conclave.client import connect, trust_root
from conclave.command import Session
from conclave.home import load
from conclave.node_join import named_header
from conclave.offline_copy import Copied, export, import_copy
from consensus.node.spec import NodePaths
from consensus.trust_store import TrustRoot
from ledger.errors import Code, EnvironmentFault

FRESH_SECONDS = 30.0
"""A node takes a wanted snapshot at its next height; an idle chain makes one every 5 s."""
_POLL_SECONDS = 0.2


def export_state(session: Session, number: int, folder: Path) -> None:
    """Copy the state of the running node ``number`` into ``folder`` and say what proves it.

    Raises:
        Refused, VerificationFailed, EnvironmentFault: as ``offline_copy.export``; TIMEOUT.
    """
    home = load(session.home)
    snapshots = SnapshotFolder(NodePaths(home.node(number)).snapshots)
    with connect(session) as client:
        height = _fresh(snapshots)
        _await(lambda: client.reader.newest_height() > height, f"a block after height {height}")
        copied = export(snapshots, client.rpc, trust_root(home), home.genesis, folder)
    _tell(session, copied, folder, f"conclave node import N {folder}")


def import_state(session: Session, number: int, folder: Path, trust: str | None) -> None:
    """Make the copy in ``folder`` the state of the stopped node ``number`` and say so.

    Raises:
        Refused, VerificationFailed, EnvironmentFault: as ``offline_copy.import_copy``; USAGE.
    """
    home = load(session.home)
    root = trust_root(home) if trust is None else TrustRoot.at(home.chain_id, *named_header(trust))
    copied = import_copy(folder, root, home.genesis, NodePaths(home.node(number)))
    _tell(session, copied, folder, f"conclave node {number}")


def _fresh(snapshots: SnapshotFolder) -> int:
    """Ask the node for a snapshot of its next height; give the newest height there is after a while."""
    before = _newest_height(snapshots)
    snapshots.want()
    try:
        _await(lambda: _newest_height(snapshots) > before, "a new snapshot")
    except EnvironmentFault:
        if not before:
            raise
    return _newest_height(snapshots)


def _newest_height(snapshots: SnapshotFolder) -> int:
    return max((snapshot.height for snapshot in snapshots.kept()), default=0)


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + FRESH_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise EnvironmentFault(
                Code.TIMEOUT,
                got=f"nothing within {FRESH_SECONDS:.0f} s",
                expected=what,
                todo="check that the node runs and the ledger makes blocks",
            )
        time.sleep(_POLL_SECONDS)


def _tell(session: Session, copied: Copied, folder: Path, following: str) -> None:
    proof = f"{copied.proof_height}:{copied.proof_hash.hex()}"
    document = {
        "height": copied.height,
        "appHash": copied.app_hash.hex(),
        "proof": proof,
        "folder": str(folder),
    }
    if not session.output.document(document):
        session.output.line(f"state of height {copied.height}, proved by header {proof}; next: {following}")
