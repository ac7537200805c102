"""Index objects in the machine: what is written when, and what the agenda costs."""

from __future__ import annotations

import pytest

from abci_app import indexes
from ledger import index
from ledger.errors import Code
from ledger.index import Long
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_PAGE_ENTRIES_MAX
from state.reader import Overlay
from tests.support.refusal import refusal_of

NAME = b"index/identities"
FULL = INDEX_PAGE_ENTRIES_MAX


class Committed:
    """A committed state that counts what is read of it."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        self.records = records
        self.reads: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.reads.append(key)
        return self.records.get(key)


def kept(state: Overlay) -> dict[bytes, bytes]:
    return {key: value for key, value in state.changes().items() if value is not None}


def filled(count: int) -> Overlay:
    state = Overlay(Committed({}))
    for number in range(count):
        assert indexes.insert(state, NAME, entry(number))
    return state


def entry(number: int) -> str:
    return f"e{number:06d}"


def head(state: Overlay) -> Long:
    found = index.read_head(state.get(NAME))
    assert isinstance(found, Long)
    return found


@pytest.mark.requires("indexes.sorted-set")
def test_an_entry_is_in_the_index_once() -> None:
    state = Overlay(Committed({}))
    assert indexes.insert(state, NAME, "b")
    assert indexes.insert(state, NAME, "a")
    assert not indexes.insert(state, NAME, "b")
    assert kept(state) == {NAME: b'{"entries":["a","b"]}'}
    assert indexes.contains(state, NAME, "a")
    assert not indexes.contains(state, NAME, "c")
    assert indexes.count(state, NAME) == 2
    assert not indexes.remove(state, NAME, "c")
    assert indexes.remove(state, NAME, "a")
    assert indexes.first(state, NAME) == "b"


@pytest.mark.requires("indexes.no-orphans")
def test_an_empty_index_is_absent() -> None:
    state = filled(1)
    indexes.remove(state, NAME, entry(0))
    assert kept(state) == {}
    assert indexes.entries(state, NAME) == ()
    assert indexes.first(state, NAME) is None
    assert indexes.count(state, NAME) == 0


@pytest.mark.requires("indexes.pages")
def test_a_long_index_begins_where_one_page_ends() -> None:
    state = filled(FULL)
    assert set(kept(state)) == {NAME}
    indexes.insert(state, NAME, "z")
    assert head(state) == Long(("", entry(FULL // 2)), (0, 1), 2)
    assert state.get(index.count_key(NAME)) == b'{"count":%d}' % (FULL + 1)
    assert len(kept(state)) == 4
    assert len(indexes.entries(state, NAME)) == FULL + 1


@pytest.mark.requires("indexes.pages")
def test_an_insert_into_a_long_index_writes_one_page_and_the_count() -> None:
    below = filled(5 * FULL)
    state = Overlay(below)
    indexes.insert(state, NAME, "e000000x")
    assert set(state.changes()) == {index.page_key(NAME, 0), index.count_key(NAME)}
    state = Overlay(below)
    indexes.remove(state, NAME, entry(5 * FULL - 1))
    assert NAME not in state.changes()
    assert len(state.changes()) == 2


@pytest.mark.requires("indexes.pages")
def test_small_pages_join_a_neighbour_with_room_and_short_is_what_one_page_holds() -> None:
    state = filled(3 * FULL)
    pages = len(head(state).numbers)
    for number in range(3 * FULL):
        if number % 16:
            indexes.remove(state, NAME, entry(number))
    left = [entry(number) for number in range(0, 3 * FULL, 16)]
    assert pages > 3
    assert kept(state) == {NAME: index.write_entries(tuple(left))}


@pytest.mark.requires("indexes.no-orphans")
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_left_of_a_long_index_once_all_is_removed(order: int) -> None:
    state = filled(3 * FULL)
    for number in range(3 * FULL)[::order]:
        assert indexes.remove(state, NAME, entry(number))
    assert kept(state) == {}


@pytest.mark.requires("indexes.limit")
def test_an_index_holds_so_many_entries() -> None:
    state = filled(FULL + 1)
    state.put(index.count_key(NAME), b'{"count":%d}' % INDEX_ENTRIES_MAX)
    before = kept(state)
    refusal_of(lambda: indexes.insert(state, NAME, "z"), Code.LIMIT_EXCEEDED)
    assert not indexes.insert(state, NAME, entry(0))
    assert kept(state) == before


@pytest.mark.requires("indexes.limit")
def test_what_is_no_entry_is_not_inserted() -> None:
    state = Overlay(Committed({}))
    refusal_of(lambda: indexes.insert(state, NAME, ""), Code.FIELD_INVALID)
    assert state.changes() == {}


@pytest.mark.requires("indexes.limit")
def test_a_head_that_grew_too_large_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "INDEX_PAGE_ENTRIES_MAX", 8)
    state = filled(68)
    before = kept(state)
    size = len(before[NAME])
    assert size > 2 * max(len(value) for key, value in before.items() if key != NAME)
    monkeypatch.setattr("state.limits.STATE_VALUE_BYTES_MAX", size)
    refusal_of(lambda: indexes.insert(state, NAME, "z"), Code.LIMIT_EXCEEDED)
    assert kept(state) == before


@pytest.mark.requires("indexes.sorted-set")
@pytest.mark.parametrize("count", [5, 3 * FULL])
def test_entries_are_read_in_parts(count: int) -> None:
    state = filled(count)
    everything = tuple(entry(number) for number in range(count))
    assert indexes.entries(state, NAME) == everything
    assert indexes.entries(state, NAME, limit=3) == everything[:3]
    assert indexes.entries(state, NAME, after=everything[1]) == everything[2:]
    assert indexes.entries(state, NAME, after=everything[1] + "-", limit=2) == everything[2:4]
    assert indexes.entries(state, NAME, after=everything[-1]) == ()
    assert indexes.entries(state, NAME, limit=0) == ()
    assert indexes.entries(state, NAME, limit=-1) == ()


@pytest.mark.requires("indexes.sorted-set")
def test_entries_stay_as_they_were_when_read() -> None:
    state = filled(2 * FULL)
    for name in indexes.entries(state, NAME):
        assert indexes.remove(state, NAME, name)
    assert kept(state) == {}


@pytest.mark.requires("indexes.agenda")
def test_what_is_due_comes_oldest_first_and_at_most_so_much() -> None:
    state = Overlay(Committed({}))
    for time in (30, 10, 20, 20, 10):
        indexes.insert(state, b"agenda", f"{time:012d}/rollout/r{indexes.count(state, b'agenda')}")
    assert indexes.pop_up_to(state, b"agenda", f"{9:012d}/~", 256) == ()
    assert indexes.pop_up_to(state, b"agenda", f"{20:012d}/~", 0) == ()
    first, second, *rest = indexes.entries(state, b"agenda")
    assert indexes.pop_up_to(state, b"agenda", f"{20:012d}/~", 2) == (first, second)
    assert indexes.pop_up_to(state, b"agenda", f"{20:012d}/~", 256) == tuple(rest[:-1])
    assert indexes.entries(state, b"agenda") == (rest[-1],)


@pytest.mark.requires("indexes.agenda")
@pytest.mark.parametrize("limit", [1, FULL, 2 * FULL, 9 * FULL])
def test_a_long_agenda_is_worked_off_in_order(limit: int) -> None:
    count = 4 * FULL
    state = filled(count)
    bound = entry(count - 10)
    taken: list[str] = []
    while part := indexes.pop_up_to(state, NAME, bound, limit):
        assert len(part) <= limit
        taken += part
        assert indexes.count(state, NAME) == count - len(taken)
    assert taken == [entry(number) for number in range(count - 9)]
    assert indexes.entries(state, NAME) == tuple(entry(number) for number in range(count - 9, count))


@pytest.mark.requires("indexes.agenda")
@pytest.mark.parametrize(("count", "reads"), [(0, 1), (FULL, 1), (5 * FULL, 2)])
def test_where_nothing_is_due_the_head_and_the_first_page_are_read_and_nothing_written(
    count: int, reads: int
) -> None:
    committed = Committed(kept(filled(count)))
    state = Overlay(committed)
    assert indexes.pop_up_to(state, NAME, "a", 256) == ()
    assert len(committed.reads) == reads
    assert state.changes() == {}
