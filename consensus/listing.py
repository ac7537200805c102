"""Lists of the ledger, complete or refused.

Owns the reading of index objects through proven values. Promises that what it gives is everything the index
holds: a head and pages that do not fit each other are refused. Source: docs/spec/indexes.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ledger import index, statekeys
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.index import Long

Get = Callable[[bytes], bytes | None]
T = TypeVar("T")


def listing(get: Get, name: bytes, *, after: str = "", limit: int | None = None) -> tuple[str, ...]:
    """Give the entries of the index ``name`` that are greater than ``after``, rising.

    Nothing between ``after`` and the last entry given is left out; without ``limit``, nothing above it.

    Args:
        get: gives proven values; what it raises is passed on.
        name: the index's state key.
        after: begin above this entry; only the pages from there on are read.
        limit: give at most so many of the lowest.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    content = get(name)
    head = _read(name, lambda: index.read_head(content))
    if not isinstance(head, Long):
        return _cut(index.above(head, after), limit)
    counted = get(index.count_key(name))
    total = _read(index.count_key(name), lambda: index.read_count(counted))
    found: list[str] = []
    for place in range(head.place(after), len(head.numbers)):
        if limit is not None and len(found) >= limit:
            break
        found += index.above(_page(get, name, head, place), after)
        if len(found) > total:
            raise _miscounted(name, f"at least {len(found)} entries", total)
    if not after and limit is None and len(found) != total:
        raise _miscounted(name, f"{len(found)} entries", total)
    return _cut(tuple(found), limit)


def _page(get: Get, name: bytes, head: Long, place: int) -> tuple[str, ...]:
    key = index.page_key(name, head.numbers[place])
    content = get(key)
    return _read(key, lambda: index.read_page(content, head, place))


def _cut(entries: tuple[str, ...], limit: int | None) -> tuple[str, ...]:
    return entries if limit is None else entries[: max(limit, 0)]


def _read(key: bytes, reader: Callable[[], T]) -> T:
    try:
        return reader()
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key=statekeys.text(key)
        ) from None


def _miscounted(name: bytes, got: str, total: int) -> VerificationFailed:
    return VerificationFailed(
        Code.LEDGER_RECORD_INVALID,
        got=got,
        expected=f"{total}, as the index counts them",
        key=statekeys.text(index.count_key(name)),
    )
