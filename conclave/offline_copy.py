"""A copy of the state in a folder, with its own proof: for a shelf, a courier, or a node that lost its state.

Owns the folder: ``genesis.json``, ``proof.json`` (light blocks) and one snapshot. Promises that neither end
believes a byte before the snapshot's root is the app hash of a header verified from a root of trust, that a
copy is there as a whole or not at all, and that importing never touches a state that is there.
Source: docs/spec/snapshot.md §6.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from abci_app.snapshot_folder import SnapshotFolder
from conclave.files import read_file
from consensus.copied_blocks import CopiedBlocks, RecordedBlocks, verified_header
from consensus.light.types import Trusted
from consensus.node.genesis import GENESIS_BYTES_MAX
from consensus.node.spec import NodePaths
from consensus.node.supervise import refuse_running
from consensus.sources import BlockSource
from consensus.trust_store import TrustRoot
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed, unwritable
from ledger.limits import MIB
from state.batch import Committed
from state.snapshot import Snapshot, pairs_of, verified_tree
from state.store import Store

_GENESIS = "genesis.json"
_PROOF = "proof.json"
_PROOF_BYTES_MAX = 64 * MIB


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that was verified: the state of ``height``, proved by the header ``proof_height:proof_hash``."""

    height: int
    app_hash: bytes
    proof_height: int
    proof_hash: bytes


def export(
    snapshots: SnapshotFolder, blocks: BlockSource, root: TrustRoot, genesis: Path, to: Path
) -> Copied:
    """Copy the newest of ``snapshots`` into the new folder ``to``, with the proof of it.

    Args:
        snapshots: a node's.
        blocks: a node of the ledger, unverified; it must have the block after the snapshot's height.
        root: what is trusted.
        genesis: the genesis file.
        to: where the copy goes.

    Raises:
        Refused: NAME_UNKNOWN, there is no snapshot.
        VerificationFailed: whatever does not verify.
        EnvironmentFault: HOME_EXISTS, HOME_INVALID, DISK_FULL, or the node does not answer.
    """
    snapshot = _newest(snapshots)
    recorded = RecordedBlocks(blocks)
    proving = verified_header(recorded, root, snapshot.height + 1, time.time_ns)
    verified_tree(snapshot, proving.header.app_hash, _chunks(snapshots, snapshot))
    if os.path.lexists(to):
        raise EnvironmentFault(
            Code.HOME_EXISTS, got=to, expected="a folder that is not there yet", todo="name another"
        )
    with _staged(to) as staged:
        (staged / _GENESIS).write_bytes(read_file(genesis, GENESIS_BYTES_MAX))
        (staged / _PROOF).write_bytes(recorded.content())
        SnapshotFolder(staged).write(snapshot.height, _chunks(snapshots, snapshot))
    return _copied(snapshot, proving)


def import_copy(copy: Path, root: TrustRoot, genesis: Path, node: NodePaths) -> Copied:
    """Verify the copy in ``copy`` and make it the state of the stopped node, which must have none.

    Raises:
        Refused: STATE_NOT_EMPTY, GENESIS_INVALID for the copy of another ledger, NAME_UNKNOWN.
        VerificationFailed: whatever does not verify.
        EnvironmentFault: STATE_LOCKED, HOME_INVALID, DISK_FULL, STATE_IO_FAILED.
    """
    refuse_running(node)
    if read_file(copy / _GENESIS, GENESIS_BYTES_MAX) != read_file(genesis, GENESIS_BYTES_MAX):
        raise Refused(
            Code.GENESIS_INVALID,
            got="the copy of another ledger",
            expected="the genesis of this home",
            file=str(copy / _GENESIS),
        )
    snapshots = SnapshotFolder(copy)
    snapshot = _newest(snapshots)
    blocks = CopiedBlocks(read_file(copy / _PROOF, _PROOF_BYTES_MAX))
    proving = verified_header(blocks, root, snapshot.height + 1, time.time_ns)
    tree = verified_tree(snapshot, proving.header.app_hash, _chunks(snapshots, snapshot))
    version = Committed(snapshot.height, tree, proving.header.version_app)
    with Store.open(node.application) as store:
        store.restore(version, pairs_of(snapshot, _chunks(snapshots, snapshot)))
    return _copied(snapshot, proving)


@contextmanager
def _staged(to: Path) -> Iterator[Path]:
    """Give a new folder beside ``to`` that becomes ``to`` at the end, or is gone."""
    try:
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    except OSError as error:
        raise unwritable(error, path=str(to)) from error
    try:
        yield staged
        staged.rename(to)
    except OSError as error:
        raise unwritable(error, path=str(to)) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _newest(snapshots: SnapshotFolder) -> Snapshot:
    kept = snapshots.kept()
    if not kept:
        raise Refused(
            Code.NAME_UNKNOWN,
            got=f"no snapshot in {snapshots.path}",
            expected="at least one",
            todo="let the node run: one is taken at its next height",
        )
    return kept[0]


def _chunks(snapshots: SnapshotFolder, snapshot: Snapshot) -> Iterator[bytes]:
    for index in range(len(snapshot.chunk_hashes)):
        chunk = snapshots.chunk(snapshot, index)
        if chunk is None:
            raise VerificationFailed(
                Code.SNAPSHOT_CHUNK_INVALID,
                got="a chunk that is missing or damaged",
                expected="the chunk its snapshot names",
                todo="copy it again",
                height=snapshot.height,
                chunk=index,
                path=str(snapshots.path),
            )
        yield chunk


def _copied(snapshot: Snapshot, proving: Trusted) -> Copied:
    return Copied(snapshot.height, proving.header.app_hash, proving.height, proving.hash)
