"""Snapshots beside commits and pruning, restored to the byte, and never offered in part."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import abci_app.snapshot_folder
import abci_app.snapshots
import state.history
import state.snapshot
import state.store
from abci_app.snapshot_folder import KEPT, SnapshotFolder, chunk_name
from abci_app.snapshots import Snapshots
from ledger.pb import abci_pb2 as pb
from state.batch import ROOT_PREFIX, height_of
from state.snapshot import FORMAT, chunks_of
from state.store import Store
from tests.unit.state.chain import content_at, grow, tree_of

HISTORY = 6
HEIGHT = 20
CHUNK_BYTES = 100
MEGABYTES_10 = 10_000_000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunked in (state.snapshot, abci_app.snapshot_folder):
        monkeypatch.setattr(chunked, "SNAPSHOT_CHUNK_BYTES", CHUNK_BYTES)
    for kept in (state.store, state.history):
        monkeypatch.setattr(kept, "HISTORY_HEIGHTS", HISTORY)
    monkeypatch.setattr(abci_app.snapshots, "CHUNK_PAUSE_S", 0.0005)


def _chunks(height: int) -> list[bytes]:
    return list(chunks_of(height, sorted(content_at(height).items())))


def _stored(folder: SnapshotFolder, height: int) -> list[bytes | None]:
    (snapshot,) = (s for s in folder.kept() if s.height == height)
    return [folder.chunk(snapshot, index) for index in range(len(snapshot.chunk_hashes))]


@pytest.mark.requires("abci.snapshot-pruned", "state.snapshot-frozen")
def test_commits_pruning_and_compaction_between_chunks_change_no_byte(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "app-snapshots")
    folder.prepare()
    with Store.open(tmp_path / "app") as store:
        grow(store, HEIGHT)
        frozen = store.freeze()

        def meanwhile(chunks: Iterator[bytes]) -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk
                grow(store, store.committed.height + HISTORY + 2)
                store._db.compact_range()

        folder.write(HEIGHT, meanwhile(chunks_of(HEIGHT, frozen.pairs())))
        frozen.close()
        oldest = height_of(next(store._records.scan(ROOT_PREFIX, b"r0"))[0])
        assert oldest > HEIGHT, "everything of that height was pruned meanwhile"
    assert _stored(folder, HEIGHT) == _chunks(HEIGHT)
    assert len(_chunks(HEIGHT)) > 3


@pytest.mark.requires("abci.snapshot-pruned", "abci.snapshot-taken")
def test_snapshots_taken_by_the_thread_beside_commits_are_those_of_their_heights(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "app-snapshots")
    with Store.open(tmp_path / "app") as store:
        snapshots = Snapshots(store, folder, every=1)
        taken: set[int] = set()
        while len(taken) < 3:
            grow(store, store.committed.height + 1)
            snapshots.committed()
            for kept in folder.kept():
                if kept.height not in taken and all(_stored(folder, kept.height)):
                    assert _stored(folder, kept.height) == _chunks(kept.height)
                    taken.add(kept.height)
        snapshots.close()
    assert len(folder.kept()) == KEPT


@pytest.mark.requires("state.restore-identical")
def test_a_restored_state_has_the_bytes_of_its_source_and_goes_on_alike(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "snapshots")
    with Store.open(tmp_path / "one") as one, Store.open(tmp_path / "two") as two:
        grow(one, HEIGHT)
        source = Snapshots(one, folder, every=HEIGHT)
        source.committed()
        source.wait()
        target = Snapshots(two, SnapshotFolder(tmp_path / "arriving"), app_version=1)
        (offered,) = source.list().snapshots
        request = pb.RequestOfferSnapshot(snapshot=offered, app_hash=tree_of(HEIGHT).root)
        assert target.offer(request).result == pb.ResponseOfferSnapshot.ACCEPT
        for index in range(offered.chunks):
            asked = pb.RequestLoadSnapshotChunk(height=HEIGHT, format=FORMAT, chunk=index)
            part = pb.RequestApplySnapshotChunk(index=index, chunk=source.load(asked).chunk)
            assert target.apply(part).result == pb.ResponseApplySnapshotChunk.ACCEPT
        for to in (HEIGHT, HEIGHT + 1, HEIGHT + HISTORY + 3):
            grow(one, to)
            grow(two, to)
            states = []
            for store in (one, two):
                frozen = store.freeze()
                states.append((store.committed, list(chunks_of(to, frozen.pairs()))))
                frozen.close()
            assert states[0] == states[1]
        for height in (to, to - HISTORY + 1):
            for key in (b"height", b"key/3", b"absent"):
                assert one.prove_at(key, height) == two.prove_at(key, height)
        assert one.roll_back() == two.roll_back()


@pytest.mark.requires("abci.snapshot-whole")
def test_a_snapshot_that_lost_a_part_is_not_offered(tmp_path: Path) -> None:
    folder = SnapshotFolder(tmp_path / "app-snapshots")
    with Store.open(tmp_path / "app") as store:
        snapshots = Snapshots(store, folder)
        folder.write(HEIGHT, iter(_chunks(HEIGHT)))
        home = folder.path / str(HEIGHT)
        shutil.copytree(home, tmp_path / "pristine")
        first, last = home / chunk_name(0), home / chunk_name(len(_chunks(HEIGHT)) - 1)
        metadata = (home / "metadata").read_bytes()
        assert [s.height for s in snapshots.list().snapshots] == [HEIGHT]
        for harm in (
            first.unlink,
            last.unlink,
            lambda: first.write_bytes(b"short"),
            lambda: last.write_bytes(b""),
            lambda: last.write_bytes(bytes(CHUNK_BYTES + 1)),
            lambda: (home / "metadata").write_bytes(metadata[:-32]),
            lambda: (home / "metadata").write_bytes(metadata + bytes(32)),
            (home / "metadata").unlink,
        ):
            harm()
            assert not snapshots.list().snapshots
            shutil.rmtree(home)
            shutil.copytree(tmp_path / "pristine", home)
        assert [s.height for s in snapshots.list().snapshots] == [HEIGHT]


@pytest.mark.requires("abci.snapshot-whole")
def test_a_removal_cut_short_leaves_no_snapshot_and_nothing_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SnapshotFolder(tmp_path)
    heights = range(HEIGHT, HEIGHT + KEPT + 1)
    with monkeypatch.context() as patch:
        # Killed in the removal of the oldest: rmtree never ran.
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        for height in heights:
            folder.write(height, iter(_chunks(height)))
    assert [s.height for s in folder.kept()] == list(heights)[:0:-1]
    assert (tmp_path / str(HEIGHT)).exists()
    SnapshotFolder(tmp_path).prepare()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [str(height) for height in heights[1:]]


@pytest.mark.requires("state.snapshot-bounded")
def test_chunks_of_the_largest_values_are_below_10_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    largest = state.limits.STATE_VALUE_BYTES_MAX
    pairs = [(b"%03d" % number, bytes(largest)) for number in range(11_000_000 // largest + 1)]
    chunks = list(chunks_of(1, pairs))
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= MEGABYTES_10
