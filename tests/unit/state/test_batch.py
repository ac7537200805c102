"""Versions and their records."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ledger.errors import Code, EnvironmentFault, Refused
from state.batch import Committed, Write, height_of, read_marker, root_key, stage, undo_key, undone, writes_of
from state.tree import Tree

BEFORE = {b"b": b"old", b"d": b"gone", b"same": b"s"}


@pytest.mark.requires("state.batch-layout")
def test_records_of_a_version() -> None:
    parent = Committed(6, Tree.build(BEFORE.items()), 1)
    staged = stage(parent, 7, 2, {b"d": None, b"b": b"new", b"a": b"1", b"same": b"s", b"never": None})
    root = Tree.build({b"a": b"1", b"b": b"new", b"same": b"s"}.items()).root
    seven, two = (7).to_bytes(8, "big"), (2).to_bytes(8, "big")
    assert writes_of(staged, BEFORE.get) == [
        Write(b"s/a", b"1"),
        Write(b"u/" + seven + b"/a", b"\x00"),
        Write(b"s/b", b"new"),
        Write(b"u/" + seven + b"/b", b"\x01old"),
        Write(b"s/d", None),
        Write(b"u/" + seven + b"/d", b"\x01gone"),
        Write(b"r/" + seven, root),
        Write(b"m", seven + root + two),
    ]
    assert read_marker(seven + root + two) == (7, root, 2)


@pytest.mark.requires("state.batch-layout")
def test_record_keys_are_read_back() -> None:
    assert height_of(undo_key(9, b"k/x")) == height_of(root_key(9)) == 9
    assert undone(undo_key(9, b"k/x"), b"\x01v") == (b"k/x", b"v")
    assert undone(undo_key(9, b"k/x"), b"\x00") == (b"k/x", None)
    assert undo_key(255, b"z") < undo_key(256, b"a")


@pytest.mark.requires("state.corruption-named")
@pytest.mark.parametrize(
    "read",
    [
        lambda: read_marker(b"short"),
        lambda: height_of(b"u/123"),
        lambda: undone(undo_key(1, b"k"), b""),
        lambda: undone(undo_key(1, b"k"), b"\x01"),
        lambda: undone(undo_key(1, b"k"), b"\x02v"),
    ],
)
def test_unreadable_records_are_named(read: Callable[[], object]) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        read()
    assert fault.value.code is Code.STATE_CORRUPT


@pytest.mark.requires("state.stage-pure")
def test_a_version_is_computed_any_number_of_times() -> None:
    parent = Committed(6, Tree.build(BEFORE.items()), 1)
    changes: dict[bytes, bytes | None] = {b"a": b"1", b"d": None}
    first, second = stage(parent, 7, 1, changes), stage(parent, 7, 1, changes)
    assert first == second
    assert first.version.app_hash == second.version.app_hash != parent.app_hash
    changes[b"a"] = b"changed later"
    assert first.changes[b"a"] == b"1"


@pytest.mark.requires("state.commit-order")
def test_a_version_follows_its_parent() -> None:
    parent = Committed(6, Tree.build(BEFORE.items()), 1)
    for height in (0, 6, 8):
        with pytest.raises(Refused) as refusal:
            stage(parent, height, 1, {})
        assert refusal.value.code is Code.HEIGHT_NOT_AVAILABLE
    assert stage(Committed(), 100, 1, {}).version.height == 100
    with pytest.raises(Refused):
        stage(Committed(), 0, 1, {})
