"""The store: durable, whole, in order, with a past."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import state.history
import state.store
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import HISTORY_HEIGHTS
from state.batch import ROOT_PREFIX, UNDO_PREFIX, Write, height_of, stage
from state.history import RecentTrees
from state.limits import RECENT_TREE_CHANGES_MAX
from state.proof import SMT, parse_proof, verify_membership, verify_non_membership
from state.store import Store
from state.tree import Tree
from tests.unit.state.chain import KEYS, changes_of, content_at, grow, tree_of


def _check_history(store: Store, height: int) -> None:
    content, tree = content_at(height), store.tree_at(height)
    assert tree.root == tree_of(height).root
    for key in (b"height", b"constant", b"absent", *(b"key/%d" % number for number in range(KEYS))):
        assert store.get_at(key, height) == content.get(key)
        value, proof = store.prove_at(key, height)
        sent = parse_proof(proof.SerializeToString())
        assert value == content.get(key)
        if value is None:
            verify_non_membership(SMT, tree.root, sent, key)
        else:
            verify_membership(SMT, tree.root, sent, key, value)


@pytest.mark.requires("state.commit-durable")
def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "home" / "state"
    with Store.open(path) as store:
        assert (store.committed.height, store.committed.app_hash, len(store.committed.tree)) == (
            0,
            bytes(32),
            0,
        )
        store.commit(stage(store.committed, 1, 3, changes_of(1)))
        committed = grow(store, 9)
        assert committed == store.committed
    with Store.open(path) as store:
        assert (store.committed.height, store.committed.app_version) == (9, 1)
        assert store.committed.app_hash == committed.app_hash == tree_of(9).root
        content = content_at(9)
        assert {key: store.get(key) for key in content} == content
        assert len(store.committed.tree) == len(content)
        assert grow(store, 12).app_hash == tree_of(12).root


@pytest.mark.requires("state.stage-pure")
def test_staging_leaves_the_disk_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 3)
        before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
        staged = [stage(store.committed, 4, 1, changes_of(4)) for _ in range(3)]
        assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before
        assert store.committed.height == 3
        assert store.commit(staged[0]).app_hash == staged[2].version.app_hash


@pytest.mark.requires("state.commit-order")
def test_only_the_next_version_commits(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 3)
        stale = stage(store.committed, 4, 1, {b"stale": b"1"})
        grow(store, 4)
        other = stage(store.committed, 5, 1, {b"other": b"1"})
        grow(store, 5)
        for staged in (stale, other):
            with pytest.raises(Refused) as refusal:
                store.commit(staged)
            assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE
        assert (store.get(b"stale"), store.get(b"other"), store.committed.height) == (None, None, 5)
    with Store.open(tmp_path / "late") as late:
        assert late.commit(stage(late.committed, 1000, 1, {b"a": b"1"})).height == 1000
        assert late.get_at(b"a", 1000) == b"1"
        with pytest.raises(Refused):
            late.get_at(b"a", 999)


@pytest.mark.requires("state.commit-atomic")
def test_a_batch_that_fails_half_way_writes_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 2)
        half = [Write(b"s/half", b"1"), Write(b"s/other", 3)]  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            store._write(half, sync=True)
        assert store.get(b"half") is None
    with Store.open(tmp_path) as store:
        assert (store.committed.height, store.get(b"half")) == (2, None)


@pytest.mark.requires("state.commit-atomic")
def test_after_a_fault_nothing_shows_and_nothing_more_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = EnvironmentFault(Code.DISK_FULL)

    def fail(*_: object, **__: object) -> None:
        raise fault

    with Store.open(tmp_path) as store:
        grow(store, 2)
        before = store.committed
        staged = stage(before, 3, 1, changes_of(3))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_write", fail)
            with pytest.raises(EnvironmentFault):
                store.commit(staged)
        assert store.committed is before
        with pytest.raises(EnvironmentFault) as again:
            store.commit(staged)
        assert again.value is fault
    with Store.open(tmp_path) as store:
        assert store.committed.app_hash == before.app_hash
        assert store.commit(staged).app_hash == tree_of(3).root


@pytest.mark.requires("state.history-values", "state.history-proofs")
def test_older_heights_before_and_after_a_restart(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 30)
        for height in (30, 29, 17, 1):
            _check_history(store, height)
    with Store.open(tmp_path) as store:
        for height in (29, 30, 1, 17, 18, 2, 3, 4, 5):
            _check_history(store, height)


@pytest.mark.requires("state.history-bounded")
@pytest.mark.parametrize("prune_at_once", [50_000, 7])
def test_heights_not_kept_are_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prune_at_once: int
) -> None:
    monkeypatch.setattr(state.store, "PRUNE_KEYS_MAX", prune_at_once)
    newest = HISTORY_HEIGHTS + 40
    oldest = newest - HISTORY_HEIGHTS + 1
    with Store.open(tmp_path) as store:
        grow(store, newest)
        _check_history(store, oldest)
        for height in (-1, 0, oldest - 1, newest + 1, 2**64):
            for read in (store.tree_at, lambda at, store=store: store.get_at(b"height", at)):
                with pytest.raises(Refused) as refusal:
                    read(height)
                assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE
    with Store.open(tmp_path) as store:
        _check_history(store, oldest)
        grow(store, newest + 2)
        kept = [key for key, _ in store._records.scan(ROOT_PREFIX, b"r0")]
        undo = [key for key, _ in store._records.scan(UNDO_PREFIX, b"u0")]
        assert height_of(undo[0]) > 2
        if prune_at_once > 7:
            assert len(kept) == HISTORY_HEIGHTS + 1
            assert len(undo) < (HISTORY_HEIGHTS + 1) * len(changes_of(1))
        _check_history(store, oldest + 2)


@pytest.mark.requires("state.history-bounded")
def test_rebuilding_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 20)
    monkeypatch.setattr(state.history, "REBUILD_CHANGES_MAX", 40)
    with Store.open(tmp_path) as store:
        assert store.tree_at(18).root == tree_of(18).root
        with pytest.raises(Refused) as refusal:
            store.tree_at(2)
        assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE
        assert store.tree_at(14).root == tree_of(14).root


@pytest.mark.requires("state.history-bounded")
def test_trees_in_memory_are_bounded_by_their_changes() -> None:
    recent = RecentTrees()
    for height in range(1, 11):
        recent.keep(height, Tree(), RECENT_TREE_CHANGES_MAX // 2 + 1)
    assert [height for height in range(1, 11) if recent.get(height) is not None] == [9, 10]
    assert (recent.get(8), recent.nearest_above(4)) == (None, (9, Tree()))
    for height in range(11, 11 + 2 * HISTORY_HEIGHTS):
        recent.keep(height, Tree(), 0)
    newest = 10 + 2 * HISTORY_HEIGHTS
    assert recent.get(newest - HISTORY_HEIGHTS) is None
    assert recent.get(newest - HISTORY_HEIGHTS + 1) == Tree()
    for height in range(100):
        recent.keep_rebuilt(-height, Tree())
    assert sum(recent.get(-height) is not None for height in range(100)) <= 4


@pytest.mark.requires("state.history-values")
def test_reads_of_the_past_are_whole_while_versions_commit(tmp_path: Path) -> None:
    seen: list[bytes | None] = []
    begun, stop = threading.Event(), threading.Event()
    with Store.open(tmp_path) as store:
        grow(store, 5)

        def read() -> None:
            while not stop.is_set():
                seen.append(store.get_at(b"height", 5))
                begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert begun.wait(60)
            grow(store, 200)
        finally:
            stop.set()
            reader.join()
    assert set(seen) == {b"5"}
