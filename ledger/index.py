"""Index objects: sorted lists that the machine keeps, so that a list can be proven complete.

The state's tree is over hashed keys: neighbours in it say nothing about names. So whatever people want to
list, the machine lists too, in records that are proven like any other. Owns their form and the rules by which
pages split and join. A short list is one record, a long one a head that names pages; a reader that has the
head and every page has everything or refuses. Never reads or writes a state.

Source: docs/spec/indexes.md.
"""

from __future__ import annotations

import bisect
import functools
import operator
from dataclasses import dataclass
from typing import TypeAlias

from ledger import canonical, records, shape
from ledger.errors import Code, Refused
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_ENTRY_BYTES_MAX, INDEX_PAGE_ENTRIES_MAX
from ledger.types import Json, JsonObject

JOIN_BELOW = INDEX_PAGE_ENTRIES_MAX // 4
"""A page of fewer entries joins a neighbour that has room; two such pages are never neighbours."""
JOINED_ENTRIES_MAX = INDEX_PAGE_ENTRIES_MAX * 3 // 4
"""What a joined page may hold: with room, so that the next insert does not split it again."""
PAGES_MAX = 2 * (INDEX_ENTRIES_MAX // JOIN_BELOW) + 1
"""Every second page at least has ``JOIN_BELOW`` entries."""

_ENTRY_JSON_BYTES_MAX = 2 * INDEX_ENTRY_BYTES_MAX + 3
_PAGE_BYTES_MAX = INDEX_PAGE_ENTRIES_MAX * _ENTRY_JSON_BYTES_MAX + 32
_HEAD_BYTES_MAX = PAGES_MAX * (_ENTRY_JSON_BYTES_MAX + 32) + 64
_LONG_BEGINS = b'{"following"'

Entries: TypeAlias = tuple[str, ...]
"""At most ``INDEX_PAGE_ENTRIES_MAX`` entries, rising: a short index, or a page of a long one."""


@dataclass(frozen=True, slots=True)
class Long:
    """The head of a long index: at least two pages.

    Attributes:
        firsts: the lowest entry that belongs into each page, rising; the first page's is the empty text.
        numbers: each page's number, by which its key is made.
        following: the number of the next page made.
    """

    firsts: Entries
    numbers: tuple[int, ...]
    following: int

    def place(self, entry: str) -> int:
        """Give the position of the page that ``entry`` belongs into."""
        return bisect.bisect_right(self.firsts, entry) - 1

    def split(self, place: int, first: str) -> Long:
        """Give the head after the page at ``place`` gave its entries from ``first`` on to a new page."""
        firsts = (*self.firsts[: place + 1], first, *self.firsts[place + 1 :])
        numbers = (*self.numbers[: place + 1], self.following, *self.numbers[place + 1 :])
        return Long(firsts, numbers, self.following + 1)

    def join(self, place: int) -> Long:
        """Give the head after the page at ``place`` took over all of the page that follows it."""
        firsts = (*self.firsts[: place + 1], *self.firsts[place + 2 :])
        return Long(firsts, (*self.numbers[: place + 1], *self.numbers[place + 2 :]), self.following)


Head: TypeAlias = Entries | Long
"""What stands at an index's own key: a short index's entries, or where a long one's are."""

UNSPLIT = Long(("",), (0,), 1)
"""A short index as the one page it is when it is about to become long."""


def page_key(name: bytes, number: int) -> bytes:
    """Key of a page of the index ``name``."""
    return name + b"/page/%010d" % number


def count_key(name: bytes) -> bytes:
    """Key of the number of entries of a long index."""
    return name + b"/count"


def write_entries(entries: Entries) -> bytes:
    """Give the bytes of a short index or a page."""
    return canonical.dump_plain({"entries": entries})


def write_long(head: Long) -> bytes:
    """Give the bytes of a long index's head."""
    pages = list(zip(head.firsts, head.numbers, strict=True))
    return canonical.dump_plain({"following": head.following, "pages": pages})


def read_head(content: bytes | None) -> Head:
    """Read what stands at an index's own key; absent means empty.

    Raises:
        Refused: any code of ``ledger.canonical`` and ``ledger.shape``.
    """
    if content is None:
        return ()
    return _read_long(content) if content.startswith(_LONG_BEGINS) else _read_entries(content)


def read_page(content: bytes | None, head: Long, place: int) -> Entries:
    """Read the page at ``place`` of ``head``.

    Raises:
        Refused: FIELD_INVALID where it is absent or has an entry that belongs into another page; any code of
            ``ledger.canonical`` and ``ledger.shape``.
    """
    if content is None:
        raise shape.invalid("index.page", None, f"page {head.numbers[place]}, which the head names")
    entries = _read_entries(content)
    if entries[0] < head.firsts[place]:
        raise shape.invalid("index.page", entries[0], f"entries from {head.firsts[place]!r} on")
    if place + 1 < len(head.firsts) and entries[-1] >= head.firsts[place + 1]:
        raise shape.invalid("index.page", entries[-1], f"entries below {head.firsts[place + 1]!r}")
    return entries


def read_count(content: bytes | None) -> int:
    """Read the number of entries of a long index.

    Raises:
        Refused: LIMIT_EXCEEDED; FIELD_INVALID where it is absent; any other code of ``ledger.shape``.
    """
    if content is None:
        raise shape.invalid("index.count", None, "the number of entries of a long index")
    total = records.read_count(content)
    if total > INDEX_ENTRIES_MAX:
        raise too_many(total)
    return total


def too_many(total: int) -> Refused:
    """Make the refusal of an index of more than ``INDEX_ENTRIES_MAX`` entries."""
    return Refused(Code.LIMIT_EXCEEDED, got=total, expected=f"at most {INDEX_ENTRIES_MAX} entries")


def check_entry(entry: str) -> str:
    """Give ``entry`` if an index can hold it: printable ASCII, neither empty nor too long.

    Raises:
        Refused: FIELD_INVALID.
    """
    if not 0 < len(entry) <= INDEX_ENTRY_BYTES_MAX or not entry.isascii() or not entry.isprintable():
        raise shape.invalid("index entry", entry[:40], f"1 to {INDEX_ENTRY_BYTES_MAX} printable ASCII bytes")
    return entry


def holds(entries: Entries, entry: str) -> bool:
    """Tell whether ``entry`` is among the rising ``entries``."""
    at = bisect.bisect_left(entries, entry)
    return at < len(entries) and entries[at] == entry


def added(entries: Entries, entry: str) -> Entries:
    """Give the rising ``entries`` and, at its place, one that is not among them."""
    at = bisect.bisect_left(entries, entry)
    return (*entries[:at], entry, *entries[at:])


def removed(entries: Entries, entry: str) -> Entries:
    """Give the rising ``entries`` without one that is among them."""
    at = bisect.bisect_left(entries, entry)
    return (*entries[:at], *entries[at + 1 :])


def above(entries: Entries, after: str) -> Entries:
    """Give those of the rising ``entries`` that are greater than ``after``."""
    return entries[bisect.bisect_right(entries, after) :] if after else entries


# What was read once is not parsed again. Few heads are kept: one can be megabytes.
@functools.lru_cache(maxsize=256)
def _read_entries(content: bytes) -> Entries:
    entries = _fields(content, _PAGE_BYTES_MAX, ("entries",))["entries"]
    found = tuple(shape.array(entries, "index.entries", items_max=INDEX_PAGE_ENTRIES_MAX))
    if not found:
        raise shape.invalid("index.entries", [], "at least one entry: an empty index is absent")
    _check_rising(found, "index.entries")
    return found


@functools.lru_cache(maxsize=8)
def _read_long(content: bytes) -> Long:
    found = _fields(content, _HEAD_BYTES_MAX, ("following", "pages"))
    following = shape.integer(found["following"], "index.following")
    pages = shape.array(found["pages"], "index.pages", items_max=PAGES_MAX)
    for page in pages:
        if type(page) is not list or len(page) != 2 or type(page[1]) is not int:
            raise shape.invalid("index.pages", page, "a first entry and a number")
    firsts: Entries = tuple(page[0] for page in pages)
    if len(firsts) < 2 or firsts[0] != "":
        raise shape.invalid("index.pages", pages[:1], "at least two pages, the first one from the empty text")
    _check_rising(firsts[1:], "index.pages")
    numbers = tuple(page[1] for page in pages)
    if min(numbers) < 0 or max(numbers) >= following or len(set(numbers)) != len(numbers):
        raise shape.invalid("index.pages", max(numbers), f"distinct numbers below {following}")
    return Long(firsts, numbers, following)


def _fields(content: bytes, bytes_max: int, required: tuple[str, ...]) -> JsonObject:
    if len(content) > bytes_max:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=f"{len(content)} bytes", expected=f"at most {bytes_max}", field="index"
        )
    return shape.fields(canonical.load_plain(content), "index", required=required)


def _check_rising(entries: tuple[Json, ...], where: str) -> None:
    """Refuse entries that no index has, or not in this order; as a whole, since every change reads a page."""
    if not all(type(entry) is str for entry in entries):
        raise shape.invalid(where, entries[0], "text")
    together = "".join(entries)
    if not together.isascii() or not together.isprintable() or not _lengths_fit(entries):
        raise shape.invalid(where, entries[0], f"1 to {INDEX_ENTRY_BYTES_MAX} printable ASCII bytes each")
    if any(map(operator.ge, entries, entries[1:])):
        raise shape.invalid(where, entries[0], "entries in rising order, each once")


def _lengths_fit(entries: Entries) -> bool:
    lengths = [len(entry) for entry in entries]
    return min(lengths) > 0 and max(lengths) <= INDEX_ENTRY_BYTES_MAX
