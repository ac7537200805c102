"""A copy of the state: verified before it is written, and again before it is used."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import state.snapshot
from abci_app.snapshot_folder import SnapshotFolder
from conclave.offline_copy import Copied, export, import_copy
from consensus.copied_blocks import CopiedBlocks
from consensus.node.spec import NodePaths
from consensus.trust_store import TrustRoot
from ledger.errors import Code, ConclaveError, VerificationFailed
from state.snapshot import chunks_of
from state.store import Store
from tests.support.chain import CHAIN_ID
from tests.support.ledger import Ledger
from tests.support.ledger import Node as LedgerNode

HEIGHT = 4


class World:
    """A ledger, a node's snapshots of it, and a home that trusts a header of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger()
        self.ledger.release()
        while self.ledger.height <= HEIGHT:
            self.ledger.commit()
        self.genesis = path / "genesis.json"
        self.genesis.write_bytes(b"{}")
        self.snapshots = SnapshotFolder(path / "app-snapshots")
        self.snapshots.write(HEIGHT, chunks_of(HEIGHT, sorted(self.ledger.values[HEIGHT].items())))
        self.node = NodePaths(path / "node0")
        self.copy = path / "copy"

    def root(self, height: int = HEIGHT + 1) -> TrustRoot:
        """Give the root of trust: a header by its hash."""
        block = self.ledger.chain.blocks[height]
        return TrustRoot.at(CHAIN_ID, height, block.signed_header.commit.block_id.hash)

    def export(self, root: TrustRoot | None = None) -> Copied:
        """Make the copy."""
        blocks = LedgerNode(self.ledger)
        return export(self.snapshots, blocks, root or self.root(1), self.genesis, self.copy)

    def import_(self, root: TrustRoot | None = None) -> Copied:
        """Use the copy."""
        return import_copy(self.copy, root or self.root(1), self.genesis, self.node)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(state.snapshot, "SNAPSHOT_CHUNK_BYTES", 1000)
    made = World(tmp_path)
    newest = made.ledger.chain.time_ns(made.ledger.height)
    monkeypatch.setattr("conclave.offline_copy.time.time_ns", lambda: newest + 10**9)
    return made


def _code(call: Callable[[], object]) -> Code:
    with pytest.raises(ConclaveError) as failure:
        call()
    return failure.value.code


@pytest.mark.requires("cli.node-copy")
def test_a_copy_makes_the_same_state(world: World) -> None:
    exported = world.export()
    assert exported.height == HEIGHT
    assert exported.app_hash == world.ledger.trees[HEIGHT].root
    assert world.import_() == exported
    with Store.open(world.node.application) as store:
        assert (store.committed.height, store.committed.app_hash) == (HEIGHT, exported.app_hash)
    assert _code(world.import_) is Code.STATE_NOT_EMPTY
    shutil.rmtree(world.node.application)
    named = TrustRoot.at(CHAIN_ID, exported.proof_height, exported.proof_hash)
    assert world.import_(named) == exported


@pytest.mark.requires("cli.node-copy")
def test_a_snapshot_of_another_state_is_never_exported(world: World) -> None:
    pairs = sorted((world.ledger.values[HEIGHT] | {b"zz": b"mine"}).items())
    world.snapshots.write(HEIGHT, chunks_of(HEIGHT, pairs))
    assert _code(world.export) is Code.SNAPSHOT_ROOT_MISMATCH
    assert not world.copy.exists()


@pytest.mark.requires("cli.node-copy")
def test_a_copy_that_was_changed_is_refused_and_nothing_is_written(world: World) -> None:
    world.export()
    pristine = world.path / "pristine"
    shutil.copytree(world.copy, pristine)
    snapshot = world.copy / str(HEIGHT)

    def forge() -> None:
        pairs = sorted((world.ledger.values[HEIGHT] | {b"zz": b"mine"}).items())
        SnapshotFolder(world.copy).write(HEIGHT, chunks_of(HEIGHT, pairs))

    def renumber() -> None:
        snapshot.rename(world.copy / str(HEIGHT - 1))

    for harm, code in (
        (lambda: (snapshot / "chunk-0001").write_bytes(b"?"), Code.SNAPSHOT_CHUNK_INVALID),
        ((snapshot / "chunk-0000").unlink, Code.SNAPSHOT_CHUNK_INVALID),
        (lambda: (snapshot / "metadata").write_bytes(b"?"), Code.NAME_UNKNOWN),
        (forge, Code.SNAPSHOT_ROOT_MISMATCH),
        (renumber, Code.PROOF_MISSING),
        (lambda: (world.copy / "genesis.json").write_bytes(b"{} "), Code.GENESIS_INVALID),
        ((world.copy / "proof.json").unlink, Code.HOME_INVALID),
        (lambda: (world.copy / "proof.json").write_bytes(b"[]"), Code.HEADER_MALFORMED),
    ):
        harm()
        assert _code(world.import_) is code
        assert not (world.node.application / "CURRENT").exists()
        shutil.rmtree(world.copy)
        shutil.copytree(pristine, world.copy)
    world.import_()


@pytest.mark.requires("cli.node-copy")
def test_a_copy_is_believed_from_a_root_of_trust_only(world: World) -> None:
    world.export()
    other = TrustRoot.at(CHAIN_ID, HEIGHT + 1, bytes(32))
    assert _code(lambda: world.import_(other)) is Code.TRUST_ROOT_MISMATCH
    assert _code(lambda: world.import_(world.root(3))) is Code.PROOF_MISSING
    assert _code(world.export) is Code.HOME_EXISTS


@pytest.mark.requires("cli.node-copy-whole")
@pytest.mark.parametrize("file", ["genesis.json", "proof.json", "chunk-0001", "metadata"])
def test_a_full_disk_leaves_nothing_of_a_copy_and_it_can_be_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    before = set(world.path.iterdir())
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if path.name == file and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *rest, **more)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "open", full)
        assert _code(world.export) is Code.DISK_FULL
    assert set(world.path.iterdir()) == before
    exported = world.export()
    assert world.import_() == exported


@pytest.mark.requires("cli.node-copy")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format":2,"blocks":[]}',
        b'{"format":1,"blocks":[{}]}',
        b'{"format":1,"x":1}',
    ],
)
def test_any_other_proof_file_is_refused_by_code(content: bytes) -> None:
    with pytest.raises(VerificationFailed):
        CopiedBlocks(content)
    too_many = json.dumps({"format": 1, "blocks": [{}] * 1001}).encode()
    with pytest.raises(VerificationFailed):
        CopiedBlocks(too_many)
