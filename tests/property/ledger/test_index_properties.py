"""Index objects under any sequence of changes, with pages so small that they split and join all the time."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from abci_app import indexes
from consensus.listing import listing
from ledger import index
from ledger.errors import Code, VerificationFailed
from ledger.index import Long
from state.reader import Overlay

NAME = b"agenda"
PAGE = 8
ENTRIES = st.integers(0, 60).map(lambda number: f"{number:02d}")
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), ENTRIES),
        st.tuples(st.just("insert"), ENTRIES),
        st.tuples(st.just("remove"), ENTRIES),
        st.tuples(st.just("fill"), ENTRIES),
        st.tuples(st.just("clear"), ENTRIES),
        st.tuples(st.just("pop"), ENTRIES),
    ),
    max_size=40,
)


class Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "INDEX_PAGE_ENTRIES_MAX", PAGE)
        patch.setattr(indexes, "INDEX_PAGE_ENTRIES_MAX", PAGE)
        patch.setattr(index, "JOIN_BELOW", PAGE // 4)
        patch.setattr(index, "JOINED_ENTRIES_MAX", PAGE * 3 // 4)
        yield


def apply(state: Overlay, known: list[str], change: str, entry: str) -> None:
    """Change the index and the plain sorted list alike; what they answer must agree."""
    at = bisect.bisect_left(known, entry)
    there = at < len(known) and known[at] == entry
    assert indexes.contains(state, NAME, entry) is there
    if change == "pop":
        limit = 1 + int(entry) % 13
        due = [e for e in known if e <= entry][:limit]
        assert indexes.pop_up_to(state, NAME, entry, limit) == tuple(due)
        del known[: len(due)]
    elif change == "insert":
        assert indexes.insert(state, NAME, entry) is not there
        known[at : at + there] = [entry]
    elif change == "remove":
        assert indexes.remove(state, NAME, entry) is there
        del known[at : at + there]
    else:
        for number in range(int(entry), min(int(entry) + 20, 61)):
            apply(state, known, "insert" if change == "fill" else "remove", f"{number:02d}")


def played(changes: list[tuple[str, str]]) -> tuple[dict[bytes, bytes], list[str]]:
    """Give the records after the changes, and the plain sorted list."""
    state = Overlay(Nothing())
    known: list[str] = []
    for change, entry in changes:
        apply(state, known, change, entry)
        assert indexes.count(state, NAME) == len(known)
        assert indexes.first(state, NAME) == (known[0] if known else None)
    assert indexes.entries(state, NAME) == tuple(known)
    return {key: value for key, value in state.changes().items() if value is not None}, known


@pytest.mark.requires("indexes.sorted-set", "listing.complete", "listing.parts")
@settings(max_examples=40, deadline=None)
@given(CHANGES, ENTRIES, st.integers(0, 20))
def test_an_index_is_a_sorted_set(changes: list[tuple[str, str]], after: str, limit: int) -> None:
    records, known = played(changes)
    assert listing(records.get, NAME) == tuple(known)
    part = tuple(entry for entry in known if entry > after)
    assert listing(records.get, NAME, after=after) == part
    assert listing(records.get, NAME, after=after, limit=limit) == part[:limit]


@pytest.mark.requires("indexes.no-orphans", "indexes.pages")
@settings(max_examples=40, deadline=None)
@given(CHANGES)
def test_there_are_the_records_the_head_names_and_no_other(changes: list[tuple[str, str]]) -> None:
    records, known = played(changes)
    assert played(changes)[0] == records
    head = index.read_head(records.get(NAME))
    if not isinstance(head, Long):
        assert set(records) == ({NAME} if known else set())
        return
    pages = [index.page_key(NAME, number) for number in head.numbers]
    assert set(records) == {NAME, index.count_key(NAME), *pages}
    sizes = [len(index.read_page(records[key], head, place)) for place, key in enumerate(pages)]
    assert max(sizes) <= PAGE
    assert all(max(pair) >= index.JOIN_BELOW for pair in itertools.pairwise(sizes))


@st.composite
def tampered(draw: st.DrawFn) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Give the records of a long index, and the same with one of them dropped, older, cut or put elsewhere.

    The head is not dropped and becomes no page: no proof would say that it is absent or another value.
    """
    past = [("fill", "00"), *draw(CHANGES), ("fill", "20")]
    older, _ = played(past)
    records, _ = played([*past, *draw(CHANGES), ("fill", "40")])
    head = index.read_head(records[NAME])
    assert isinstance(head, Long)
    pages = [index.page_key(NAME, number) for number in head.numbers]
    key = draw(st.sampled_from([NAME, index.count_key(NAME), *pages]))
    how = draw(st.sampled_from(["elsewhere", "older", "cut"]))
    changed = dict(records)
    if how == "older" and key in older:
        changed[key] = older[key]
    elif key == NAME:
        changed[key] = index.write_long(head.join(draw(st.integers(0, len(pages) - 2))))
    elif how == "elsewhere":
        changed[key] = records[draw(st.sampled_from(sorted(records)))]
    elif how == "cut" and key in pages:
        entries = index.read_head(records[key])
        assert isinstance(entries, tuple)
        changed[key] = index.write_entries(entries[draw(st.integers(1, PAGE)) :])
    else:
        del changed[key]
    return records, changed


@pytest.mark.requires("listing.complete")
@settings(max_examples=40, deadline=None)
@given(tampered())
def test_no_record_can_be_dropped_cut_or_exchanged_to_hide_an_entry(
    pair: tuple[dict[bytes, bytes], dict[bytes, bytes]],
) -> None:
    records, changed = pair
    key = next((key for key in records if changed.get(key) != records[key]), NAME)
    # As many other entries within the same bounds make an index too: only their proof tells them apart.
    assume(not exchanged_alike(records[key], changed.get(key)))
    whole = listing(records.get, NAME)
    if changed == records:
        return
    with pytest.raises(VerificationFailed) as caught:
        listing(changed.get, NAME)
    assert caught.value.code is Code.LEDGER_RECORD_INVALID
    assert whole


def exchanged_alike(content: bytes, other: bytes | None) -> bool:
    """Tell whether these are two different pages of the same size."""
    if other is None or content == other or not content.startswith(b'{"entries"'):
        return False
    if not other.startswith(b'{"entries":["'):
        return False
    return len(index.read_head(content)) == len(index.read_head(other))  # type: ignore[arg-type]
