"""Changing and reading index objects in the machine.

Owns how a list grows from one record into pages and back. Promises that the records are a function of the
sequence of changes alone and that no page is ever left behind. Source: docs/spec/indexes.md.
"""

from __future__ import annotations

import bisect

from ledger import index, records
from ledger.index import Entries, Long
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_PAGE_ENTRIES_MAX
from state.reader import Overlay, StateReader


def insert(state: Overlay, name: bytes, entry: str) -> bool:
    """Put ``entry`` into the index; tell whether it was not there yet.

    Raises:
        Refused: FIELD_INVALID; LIMIT_EXCEEDED, with nothing changed.
    """
    index.check_entry(entry)
    head = index.read_head(state.get(name))
    if not isinstance(head, Long):
        if index.holds(head, entry):
            return False
        entries = index.added(head, entry)
        if len(entries) <= INDEX_PAGE_ENTRIES_MAX:
            state.put(name, index.write_entries(entries))
        else:
            _split(state, name, index.UNSPLIT, 0, entries)
            _put_count(state, name, len(entries))
        return True
    place = head.place(entry)
    page = _page(state, name, head, place)
    if index.holds(page, entry):
        return False
    total = count(state, name) + 1
    if total > INDEX_ENTRIES_MAX:
        raise index.too_many(total)
    entries = index.added(page, entry)
    if len(entries) <= INDEX_PAGE_ENTRIES_MAX:
        _put_page(state, name, head, place, entries)
    else:
        _split(state, name, head, place, entries)
    _put_count(state, name, total)
    return True


def remove(state: Overlay, name: bytes, entry: str) -> bool:
    """Take ``entry`` out of the index; tell whether it was there."""
    head = index.read_head(state.get(name))
    if not isinstance(head, Long):
        if not index.holds(head, entry):
            return False
        _put_short(state, name, index.removed(head, entry))
        return True
    place = head.place(entry)
    page = _page(state, name, head, place)
    if not index.holds(page, entry):
        return False
    total = count(state, name) - 1
    _put_count(state, name, total)
    _shrink(state, name, head, place, index.removed(page, entry))
    return True


def contains(state: StateReader, name: bytes, entry: str) -> bool:
    """Tell whether ``entry`` is in the index."""
    head = index.read_head(state.get(name))
    return index.holds(_page(state, name, head, head.place(entry)) if isinstance(head, Long) else head, entry)


def count(state: StateReader, name: bytes) -> int:
    """Give how many entries the index has."""
    head = index.read_head(state.get(name))
    return index.read_count(state.get(index.count_key(name))) if isinstance(head, Long) else len(head)


def entries(
    state: StateReader, name: bytes, *, after: str = "", limit: int = INDEX_ENTRIES_MAX
) -> tuple[str, ...]:
    """Give the lowest entries that are greater than ``after``, at most ``limit``, rising, as they are now."""
    head = index.read_head(state.get(name))
    if not isinstance(head, Long):
        return index.above(head, after)[: max(limit, 0)]
    found: list[str] = []
    for place in range(head.place(after), len(head.numbers)):
        if len(found) >= limit:
            break
        found += index.above(_page(state, name, head, place), after)
    return tuple(found[: max(limit, 0)])


def first(state: StateReader, name: bytes) -> str | None:
    """Give the lowest entry, or None where the index is empty."""
    lowest = _lowest(state, name)
    return lowest[0] if lowest else None


def pop_up_to(state: Overlay, name: bytes, bound: str, limit: int) -> tuple[str, ...]:
    """Take out the lowest entries that are not above ``bound``, at most ``limit``; give them, rising."""
    taken: list[str] = []
    while len(taken) < limit:
        lowest = _lowest(state, name)
        due = lowest[: min(bisect.bisect_right(lowest, bound), limit - len(taken))]
        if not due:
            break
        taken += due
        _drop_lowest(state, name, len(due))
    return tuple(taken)


def _lowest(state: StateReader, name: bytes) -> Entries:
    head = index.read_head(state.get(name))
    return _page(state, name, head, 0) if isinstance(head, Long) else head


def _drop_lowest(state: Overlay, name: bytes, gone: int) -> None:
    head = index.read_head(state.get(name))
    if not isinstance(head, Long):
        _put_short(state, name, head[gone:])
        return
    _put_count(state, name, count(state, name) - gone)
    _shrink(state, name, head, 0, _page(state, name, head, 0)[gone:])


def _page(state: StateReader, name: bytes, head: Long, place: int) -> Entries:
    return index.read_page(state.get(index.page_key(name, head.numbers[place])), head, place)


def _split(state: Overlay, name: bytes, head: Long, place: int, entries: Entries) -> None:
    """Write a page that grew too long as two. The head first: where it grew too large, nothing is changed."""
    middle = len(entries) // 2
    grown = head.split(place, entries[middle])
    state.put(name, index.write_long(grown))
    _put_page(state, name, grown, place, entries[:middle])
    _put_page(state, name, grown, place + 1, entries[middle:])


def _shrink(state: Overlay, name: bytes, head: Long, place: int, left: Entries) -> None:
    """Write a page that lost entries, joined with a neighbour where it became small."""
    if len(left) < index.JOIN_BELOW:
        for lower in (place - 1, place):
            if not 0 <= lower < len(head.numbers) - 1:
                continue
            other = _page(state, name, head, lower + 1 if lower == place else lower)
            if not left or len(left) + len(other) <= index.JOINED_ENTRIES_MAX:
                _join(state, name, head, lower, left + other if lower == place else other + left)
                return
    _put_page(state, name, head, place, left)


def _join(state: Overlay, name: bytes, head: Long, place: int, entries: Entries) -> None:
    """Write two neighbouring pages as one; an index that has only this one left becomes short again."""
    state.delete(index.page_key(name, head.numbers[place + 1]))
    joined = head.join(place)
    if len(joined.numbers) > 1:
        state.put(name, index.write_long(joined))
        _put_page(state, name, joined, place, entries)
        return
    state.delete(index.page_key(name, joined.numbers[0]))
    state.delete(index.count_key(name))
    _put_short(state, name, entries)


def _put_page(state: Overlay, name: bytes, head: Long, place: int, entries: Entries) -> None:
    state.put(index.page_key(name, head.numbers[place]), index.write_entries(entries))


def _put_short(state: Overlay, name: bytes, left: Entries) -> None:
    if left:
        state.put(name, index.write_entries(left))
    else:
        state.delete(name)


def _put_count(state: Overlay, name: bytes, total: int) -> None:
    state.put(index.count_key(name), records.write_count(total))
