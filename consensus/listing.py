"""Lists of the ledger, complete or refused.

Owns the reading of index objects through proven values. Promises that what it gives is everything the index
holds: a head and pages that do not fit each other are refused. Source: docs/spec/indexes.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ledger import index, records, statekeys
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.index import Long, Short

Get = Callable[[bytes], bytes | None]


def listing(get: Get, name: bytes) -> tuple[str, ...]:
    """Give every entry of the index ``name``, rising.

    Args:
        get: gives proven values.
        name: the index's state key.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    content = get(name)
    if content is None:
        return ()
    head = _read(name, content)
    if isinstance(head, Short):
        return head.entries
    found: list[str] = []
    bounds = (*head.firsts[1:], None)
    for number, first, bound in zip(head.numbers, head.firsts, bounds, strict=True):
        page = _page(get, name, number)
        fits = page and (not found or page[0] >= first) and (bound is None or page[-1] < bound)
        if not fits or (found and page[0] <= found[-1]):
            raise _unfit(name, f"page {number}")
        found += page
    if records.read_count(get(index.count_key(name))) != len(found):
        raise _unfit(name, f"{len(found)} entries")
    return tuple(found)


def _page(get: Get, name: bytes, number: int) -> tuple[str, ...]:
    content = get(index.page_key(name, number))
    page = None if content is None else _read(name, content)
    if not isinstance(page, Short):
        raise _unfit(name, f"no page {number}")
    return page.entries


def _read(name: bytes, content: bytes) -> Short | Long:
    try:
        return index.read(content)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key=statekeys.text(name)
        ) from None


def _unfit(name: bytes, got: str) -> VerificationFailed:
    return VerificationFailed(
        Code.LEDGER_RECORD_INVALID,
        got=got,
        expected="pages that fit the head of their index",
        key=statekeys.text(name),
    )
