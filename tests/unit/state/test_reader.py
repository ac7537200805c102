"""Overlays: nested, read through, kept or dropped whole. What was read: remembered for its version only."""

from __future__ import annotations

import pytest

from ledger.errors import Code, Refused
from ledger.limits import STATE_KEY_BYTES_MAX
from state.limits import REMEMBERED_VALUE_BYTES_MAX, REMEMBERED_VALUES_MAX
from state.reader import Overlay, Remembered


class Fixed:
    """A reader over a dictionary."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self.content = content

    def get(self, key: bytes) -> bytes | None:
        return self.content.get(key)


@pytest.mark.requires("state.overlay")
def test_reads_see_pending_changes_and_the_base_does_not() -> None:
    base = Fixed({b"a": b"1", b"b": b"2"})
    block = Overlay(base)
    block.put(b"a", b"3")
    block.delete(b"b")
    assert (block.get(b"a"), block.get(b"b"), block.get(b"c")) == (b"3", None, None)
    assert base.content == {b"a": b"1", b"b": b"2"}
    assert list(block.changes().items()) == [(b"a", b"3"), (b"b", None)]


@pytest.mark.requires("state.overlay")
def test_a_transaction_is_kept_or_dropped_whole() -> None:
    block = Overlay(Fixed({b"a": b"1"}))
    kept, dropped = Overlay(block), Overlay(block)
    kept.delete(b"a")
    kept.put(b"b", b"2")
    dropped.put(b"a", b"9")
    assert block.changes() == {}
    kept.commit_into_parent()
    assert (block.changes(), kept.changes()) == ({b"a": None, b"b": b"2"}, {})
    dropped.discard()
    assert (dropped.get(b"a"), dropped.get(b"b")) == (None, b"2")
    assert block.changes() == {b"a": None, b"b": b"2"}


@pytest.mark.requires("state.overlay")
def test_changes_are_a_copy_and_the_lowest_overlay_has_no_parent_to_commit_into() -> None:
    block = Overlay(Fixed({}))
    block.put(b"a", b"1")
    block.changes()[b"a"] = None
    assert block.get(b"a") == b"1"
    with pytest.raises(TypeError):
        block.commit_into_parent()


@pytest.mark.requires("state.key-value-limits")
def test_what_the_state_cannot_hold_is_refused_at_once() -> None:
    block = Overlay(Fixed({}))
    for key, value, code in (
        (b"", b"v", Code.FIELD_INVALID),
        (b"k", b"", Code.FIELD_INVALID),
        (b"k" * (STATE_KEY_BYTES_MAX + 1), b"v", Code.LIMIT_EXCEEDED),
    ):
        with pytest.raises(Refused) as refusal:
            block.put(key, value)
        assert refusal.value.code is code
    with pytest.raises(Refused):
        block.delete(b"")
    assert block.changes() == {}


class Counted:
    """A committed state that counts its reads."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self.content = content
        self.committed: object = object()
        self.reads: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.reads.append(key)
        return self.content.get(key)


@pytest.mark.requires("state.reads-remembered")
def test_what_was_read_is_not_read_again_until_the_version_changes() -> None:
    state = Counted({b"a": b"1"})
    reader = Remembered(state)
    assert [reader.get(key) for key in (b"a", b"b", b"a", b"b")] == [b"1", None, b"1", None]
    assert state.reads == [b"a", b"b"]
    state.content, state.committed = {b"b": b"2"}, object()
    assert (reader.get(b"a"), reader.get(b"b")) == (None, b"2")


@pytest.mark.requires("state.reads-remembered")
def test_what_is_remembered_is_bounded() -> None:
    large = bytes(REMEMBERED_VALUE_BYTES_MAX + 1)
    state = Counted({b"a": b"1", b"large": large})
    reader = Remembered(state)
    assert [reader.get(b"large"), reader.get(b"large")] == [large, large]
    assert state.reads == [b"large"] * 2
    reader.get(b"a")
    for number in range(REMEMBERED_VALUES_MAX):
        reader.get(b"%d" % number)
    state.reads.clear()
    assert reader.get(b"a") == b"1"
    assert state.reads == [b"a"]
