"""Changing and reading index objects in the machine.

Owns how a list grows from one record into pages and back. Promises that what is listed depends on the
sequence of changes alone and that no page is ever left behind. Source: docs/spec/indexes.md.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from ledger import index, records
from ledger.errors import Code, Refused
from ledger.index import Long, Short
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_PAGE_ENTRIES_MAX
from state.reader import Overlay, StateReader

_SHORT_AGAIN = INDEX_PAGE_ENTRIES_MAX // 2
"""A long index of so few entries becomes a short one again."""


def insert(state: Overlay, name: bytes, entry: str) -> bool:
    """Put ``entry`` into the index; tell whether it was not there yet.

    Raises:
        Refused: FIELD_INVALID, LIMIT_EXCEEDED.
    """
    index.check_entry(entry)
    head = _head(state, name)
    if isinstance(head, Short):
        entries = _with(head.entries, entry)
        if entries is None:
            return False
        if len(entries) <= INDEX_PAGE_ENTRIES_MAX:
            state.put(name, index.write_short(entries))
        else:
            _split(state, name, Long(("",), (0,), 1), 0, entries)
            _put_count(state, name, len(entries))
        return True
    place = head.place(entry)
    entries = _with(_page(state, name, head.numbers[place]), entry)
    if entries is None:
        return False
    total = count(state, name) + 1
    if total > INDEX_ENTRIES_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=total, expected=f"at most {INDEX_ENTRIES_MAX} entries")
    if len(entries) <= INDEX_PAGE_ENTRIES_MAX:
        state.put(index.page_key(name, head.numbers[place]), index.write_short(entries))
    else:
        _split(state, name, head, place, entries)
    _put_count(state, name, total)
    return True


def remove(state: Overlay, name: bytes, entry: str) -> bool:
    """Take ``entry`` out of the index; tell whether it was there."""
    head = _head(state, name)
    if isinstance(head, Short):
        if entry not in head.entries:
            return False
        _put_short(state, name, tuple(e for e in head.entries if e != entry))
        return True
    place = head.place(entry)
    page = _page(state, name, head.numbers[place])
    if entry not in page:
        return False
    _shrink(state, name, head, place, tuple(e for e in page if e != entry))
    return True


def contains(state: StateReader, name: bytes, entry: str) -> bool:
    """Tell whether ``entry`` is in the index."""
    head = _head(state, name)
    entries = head.entries if isinstance(head, Short) else _page(state, name, head.numbers[head.place(entry)])
    return entry in entries


def count(state: StateReader, name: bytes) -> int:
    """Give how many entries the index has."""
    head = _head(state, name)
    if isinstance(head, Short):
        return len(head.entries)
    return records.read_count(state.get(index.count_key(name)))


def entries(state: StateReader, name: bytes) -> Iterator[str]:
    """Give every entry, rising. What is changed meanwhile may or may not be among them."""
    head = _head(state, name)
    if isinstance(head, Short):
        yield from head.entries
        return
    for number in head.numbers:
        yield from _page(state, name, number)


def pop_up_to(state: Overlay, name: bytes, bound: str, limit: int) -> tuple[str, ...]:
    """Take out the lowest entries that are not above ``bound``, at most ``limit``; give them, rising."""
    taken: list[str] = []
    while len(taken) < limit:
        head = _head(state, name)
        if isinstance(head, Short):
            page = head.entries
        else:
            page = _page(state, name, head.numbers[0])
        due = page[: min(bisect.bisect_right(page, bound), limit - len(taken))]
        if not due:
            break
        taken += due
        left = page[len(due) :]
        if isinstance(head, Short):
            _put_short(state, name, left)
            break
        _shrink(state, name, head, 0, left)
    return tuple(taken)


def _head(state: StateReader, name: bytes) -> Short | Long:
    content = state.get(name)
    return _EMPTY if content is None else index.read(content)


_EMPTY = Short(())


def _page(state: StateReader, name: bytes, number: int) -> tuple[str, ...]:
    content = state.get(index.page_key(name, number))
    assert content is not None, "a page that its head names is not there"
    page = index.read(content)
    assert isinstance(page, Short), "a page that is no page"
    return page.entries


def _with(entries: tuple[str, ...], entry: str) -> tuple[str, ...] | None:
    at = bisect.bisect_left(entries, entry)
    if at < len(entries) and entries[at] == entry:
        return None
    return (*entries[:at], entry, *entries[at:])


def _split(state: Overlay, name: bytes, head: Long, place: int, entries: tuple[str, ...]) -> None:
    """Write a page that grew too long as two."""
    middle = len(entries) // 2
    lower, upper = entries[:middle], entries[middle:]
    firsts = (*head.firsts[: place + 1], upper[0], *head.firsts[place + 1 :])
    numbers = (*head.numbers[: place + 1], head.following, *head.numbers[place + 1 :])
    state.put(index.page_key(name, head.numbers[place]), index.write_short(lower))
    state.put(index.page_key(name, head.following), index.write_short(upper))
    state.put(name, index.write_long(Long(firsts, numbers, head.following + 1)))


def _shrink(state: Overlay, name: bytes, head: Long, place: int, left: tuple[str, ...]) -> None:
    """Write a page that lost entries, or drop it; a long index that became small becomes a short one."""
    lost = len(_page(state, name, head.numbers[place])) - len(left)
    total = count(state, name) - lost
    if total <= _SHORT_AGAIN:
        everything = [
            entry
            for at, number in enumerate(head.numbers)
            for entry in (left if at == place else _page(state, name, number))
        ]
        for number in head.numbers:
            state.delete(index.page_key(name, number))
        state.delete(index.count_key(name))
        _put_short(state, name, tuple(everything))
        return
    _put_count(state, name, total)
    if left:
        state.put(index.page_key(name, head.numbers[place]), index.write_short(left))
        return
    state.delete(index.page_key(name, head.numbers[place]))
    firsts = (*head.firsts[:place], *head.firsts[place + 1 :])
    numbers = (*head.numbers[:place], *head.numbers[place + 1 :])
    state.put(name, index.write_long(Long(firsts, numbers, head.following)))


def _put_short(state: Overlay, name: bytes, left: tuple[str, ...]) -> None:
    if left:
        state.put(name, index.write_short(left))
    else:
        state.delete(name)


def _put_count(state: Overlay, name: bytes, total: int) -> None:
    state.put(index.count_key(name), records.write_count(total))
