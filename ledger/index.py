"""Index objects: sorted lists that the machine keeps, so that a list can be proven complete.

The state's tree is over hashed keys: neighbours in it say nothing about names. So whatever people want to
list, the machine lists too, in records that are proven like any other. Owns their form. A short list is one
record, a long one a head that names pages; a reader that has the head and every page has everything or
refuses.

Source: docs/spec/indexes.md.
"""

from __future__ import annotations

import bisect
import functools
from dataclasses import dataclass

from ledger import canonical, shape
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_ENTRY_BYTES_MAX, INDEX_PAGE_ENTRIES_MAX
from ledger.types import Json

_PAGES_MAX = INDEX_ENTRIES_MAX
_NUMBER_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Short:
    """At most ``INDEX_PAGE_ENTRIES_MAX`` entries, rising: a short index, or a page of a long one."""

    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Long:
    """The head of a long index.

    Attributes:
        firsts: the lowest entry that belongs into each page, rising; the first page takes all below as well.
        numbers: each page's number, by which its key is made.
        following: the number of the next page made.
    """

    firsts: tuple[str, ...]
    numbers: tuple[int, ...]
    following: int

    def place(self, entry: str) -> int:
        """Give the position of the page that ``entry`` belongs into."""
        return max(0, bisect.bisect_right(self.firsts, entry) - 1)


def page_key(name: bytes, number: int) -> bytes:
    """Key of a page of the index ``name``."""
    return name + b"/page/%010d" % number


def count_key(name: bytes) -> bytes:
    """Key of the number of entries of a long index."""
    return name + b"/count"


def write_short(entries: tuple[str, ...]) -> bytes:
    """Give the bytes of a short index or a page."""
    return canonical.dump_plain({"entries": entries})


def write_long(head: Long) -> bytes:
    """Give the bytes of a long index's head."""
    pages = [[first, number] for first, number in zip(head.firsts, head.numbers, strict=True)]
    return canonical.dump_plain({"following": head.following, "pages": pages})


@functools.lru_cache(maxsize=256)
def read(content: bytes) -> Short | Long:
    """Read a head or a page.

    Raises:
        Refused: any code of ``shape``.
    """
    value = canonical.load_plain(content)
    if type(value) is dict and "pages" in value:
        return _long(value)
    entries = shape.fields(value, "index", required=("entries",))["entries"]
    found = tuple(shape.array(entries, "index.entries", items_max=INDEX_PAGE_ENTRIES_MAX))
    _check_rising(found)
    return Short(found)


def check_entry(entry: str) -> str:
    """Give ``entry`` if an index can hold it: printable ASCII, neither empty nor too long.

    Raises:
        Refused: FIELD_INVALID.
    """
    if not 0 < len(entry) <= INDEX_ENTRY_BYTES_MAX or not entry.isascii() or not entry.isprintable():
        raise shape.invalid("index entry", entry[:40], f"1 to {INDEX_ENTRY_BYTES_MAX} printable ASCII bytes")
    return entry


def _long(value: Json) -> Long:
    found = shape.fields(value, "index", required=("following", "pages"))
    pages = shape.array(found["pages"], "index.pages", items_max=_PAGES_MAX)
    for page in pages:
        if type(page) is not list or len(page) != 2:
            raise shape.invalid("index.pages", page, "a first entry and a number")
    firsts = tuple(page[0] for page in pages)
    _check_rising(firsts)
    following = shape.integer(found["following"], "index.following")
    numbers = tuple(shape.integer(page[1], "index.pages", at_most=following) for page in pages)
    if not numbers or len(set(numbers)) != len(numbers):
        raise shape.invalid("index.pages", len(numbers), "pages, each once, at least one")
    return Long(firsts, numbers, following)


def _check_rising(entries: tuple[Json, ...]) -> None:
    for entry in entries:
        if type(entry) is not str:
            raise shape.invalid("index.entries", entry, "text")
    if any(left >= right for left, right in zip(entries, entries[1:], strict=False)):
        raise shape.invalid("index.entries", entries[:2], "entries in rising order, each once")
