"""A store whose files change under it, whose writes fail, whose past is pruned while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import state.history
import state.store
from ledger.errors import Code, EnvironmentFault, Refused
from state.batch import Committed, Staged, Write
from state.history import check_height
from state.owner import OWNER_FILE
from state.store import Store
from state.tree import Tree
from tests.unit.state.chain import content_at, grow, tree_of

HEIGHT = 12
KEPT = 8
PAIRS = [(b"key/%03d" % number, hashlib.shake_128(b"%d" % number).digest(400)) for number in range(60)]


def _code(call: Callable[[], object]) -> Code:
    with pytest.raises(EnvironmentFault) as fault:
        call()
    return fault.value.code


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """A restored state in tables: it has no history, so that its records are the last of the database."""
    with Store.open(tmp_path / "app") as store:
        store.restore(Committed(HEIGHT, Tree.build(PAIRS), 1), PAIRS)
    with Store.open(tmp_path / "app"):
        pass
    return tmp_path / "app"


@pytest.mark.requires("state.scan-whole")
@pytest.mark.parametrize("number", [5, len(PAIRS) - 1])
def test_a_snapshot_of_a_running_store_is_never_short_of_what_was_damaged(
    restored: Path, number: int
) -> None:
    with Store.open(restored) as store:
        (table,) = (f for f in restored.glob("*.ldb") if PAIRS[number][1] in f.read_bytes())
        content = bytearray(table.read_bytes())
        content[content.index(PAIRS[number][1])] ^= 1
        with table.open("r+b") as file:
            file.write(content)
        frozen = store.freeze()
        try:
            assert _code(lambda: list(frozen.pairs())) is Code.STATE_CORRUPT
        finally:
            frozen.close()
        assert _code(lambda: store.get(PAIRS[number][0])) is Code.STATE_CORRUPT
    assert _code(lambda: Store.open(restored)) is Code.STATE_CORRUPT


@pytest.mark.requires("state.acknowledged-kept")
@pytest.mark.parametrize("lost", ["*.log", "*.ldb", "CURRENT", "MANIFEST-*"])
def test_files_that_are_gone_are_named(tmp_path: Path, lost: str) -> None:
    for to in (6, HEIGHT):
        with Store.open(tmp_path) as store:
            grow(store, to)
    for file in tmp_path.glob(lost):
        file.unlink()
    before = sorted(tmp_path.glob("*.ldb"))
    assert _code(lambda: Store.open(tmp_path)) is Code.STATE_CORRUPT
    assert before == sorted(set(before) & set(tmp_path.glob("*.ldb"))), (
        "what is left must stay for a diagnosis"
    )


@pytest.mark.requires("state.acknowledged-kept")
def test_another_state_of_the_same_height_is_named(tmp_path: Path) -> None:
    for name, height in (("one", HEIGHT), ("two", HEIGHT)):
        with Store.open(tmp_path / name) as store:
            grow(store, height)
    with Store.open(tmp_path / "two") as store:
        store.roll_back()
        store.commit(Staged(store.committed.app_hash, Committed(HEIGHT, Tree(), 1), {}))
    (tmp_path / "two" / OWNER_FILE).replace(tmp_path / "one" / OWNER_FILE)
    assert _code(lambda: Store.open(tmp_path / "one")) is Code.STATE_CORRUPT


@pytest.mark.requires("state.acknowledged-kept")
@pytest.mark.parametrize("mark", [b"", b"?", bytes(72), bytes(500)], ids=["none", "short", "zero", "long"])
def test_a_damaged_mark_alone_costs_nothing_and_is_made_anew(tmp_path: Path, mark: bytes) -> None:
    with Store.open(tmp_path) as store:
        grow(store, HEIGHT)
    (tmp_path / OWNER_FILE).write_bytes(mark)
    with Store.open(tmp_path) as store:
        assert store.committed.app_hash == tree_of(HEIGHT).root
    (log,) = tmp_path.glob("*.log")
    log.write_bytes(b"")
    with Store.open(tmp_path) as store:
        assert store.committed.height == HEIGHT
        grow(store, HEIGHT + 1)
    (log,) = tmp_path.glob("*.log")
    log.write_bytes(b"")
    assert _code(lambda: Store.open(tmp_path)) is Code.STATE_CORRUPT


@pytest.mark.requires("state.rollback")
def test_a_rollback_that_finds_no_room_changes_nothing_and_ends_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise EnvironmentFault(Code.DISK_FULL)

    with Store.open(tmp_path) as store:
        grow(store, HEIGHT)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_write", full)
            assert _code(store.roll_back) is Code.DISK_FULL
        assert store.committed.app_hash == tree_of(HEIGHT).root
        assert _code(store.roll_back) is Code.DISK_FULL
        assert _code(lambda: grow(store, HEIGHT + 1)) is Code.DISK_FULL
    with Store.open(tmp_path) as store:
        assert store.committed.app_hash == tree_of(HEIGHT).root
        assert store.roll_back().app_hash == tree_of(HEIGHT - 1).root


@pytest.mark.requires("state.read-while-pruned")
@pytest.mark.parametrize("commits", [1, 2, 5])
def test_a_past_tree_is_right_or_refused_though_commits_prune_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    for module in (state.store, state.history):
        monkeypatch.setattr(module, "HISTORY_HEIGHTS", KEPT)
    newest = 3 * KEPT
    with Store.open(tmp_path) as store:
        grow(store, newest)
    with Store.open(tmp_path) as store:

        def check_then_commit(records: Any, height: int, known: int) -> None:
            check_height(records, height, known)
            grow(store, store.committed.height + commits)

        with monkeypatch.context() as patch:
            patch.setattr(state.store, "check_height", check_then_commit)
            oldest = newest - KEPT + 1
            assert store.tree_at(oldest).root == tree_of(oldest).root
        assert store._records.get(b"r/" + (oldest - 2).to_bytes(8, "big")) is None
        with pytest.raises(Refused) as refusal:
            store.tree_at(oldest)
        assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE


@pytest.mark.requires("state.snapshot-atomic")
def test_what_is_beside_an_unfinished_restore_is_removed_before_anything_begins(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store._write([Write(b"i", b"1"), Write(b"s/left", b"over")], sync=True)
    with Store.open(tmp_path) as store:
        assert (store.committed, store.get(b"left")) == (Committed(), None)
        grow(store, 2)
        frozen = store.freeze()
        assert dict(frozen.pairs()) == content_at(2)
        frozen.close()
