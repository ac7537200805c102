"""Lists through proven values: complete or refused."""

from __future__ import annotations

import pytest

from consensus.listing import Get, listing
from ledger import index
from ledger.errors import Code, Refused, VerificationFailed

NAME = b"index/releases"
PAGES = {
    NAME: b'{"following":9,"pages":[["",0],["g",8],["m",3]]}',
    index.page_key(NAME, 0): b'{"entries":["a","c"]}',
    index.page_key(NAME, 8): b'{"entries":["h","i"]}',
    index.page_key(NAME, 3): b'{"entries":["m"]}',
    index.count_key(NAME): b'{"count":5}',
}


def failure(get: Get, **part: int | str) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        listing(get, NAME, **part)  # type: ignore[arg-type]
    assert caught.value.code is Code.LEDGER_RECORD_INVALID
    assert caught.value.expected
    return caught.value


def without(key: bytes) -> Get:
    return {k: v for k, v in PAGES.items() if k != key}.get


def altered(key: bytes, value: bytes) -> Get:
    return {**PAGES, key: value}.get


def page(number: int) -> bytes:
    return index.page_key(NAME, number)


@pytest.mark.requires("listing.complete")
def test_a_list_is_everything_its_index_holds() -> None:
    assert listing(PAGES.get, NAME) == ("a", "c", "h", "i", "m")
    assert listing({NAME: b'{"entries":["a","b"]}'}.get, NAME) == ("a", "b")
    assert listing(lambda _: None, NAME) == ()


@pytest.mark.requires("listing.parts")
def test_a_part_of_a_list_leaves_nothing_out_in_between() -> None:
    assert listing(PAGES.get, NAME, limit=3) == ("a", "c", "h")
    assert listing(PAGES.get, NAME, after="c") == ("h", "i", "m")
    assert listing(PAGES.get, NAME, after="b", limit=2) == ("c", "h")
    assert listing(PAGES.get, NAME, after="m") == ()
    assert listing(PAGES.get, NAME, limit=0) == ()
    assert listing(PAGES.get, NAME, limit=-1) == ()
    short = {NAME: b'{"entries":["a","b","c"]}'}.get
    assert listing(short, NAME, after="a", limit=1) == ("b",)


@pytest.mark.requires("listing.parts")
def test_a_part_reads_the_pages_it_lies_on_alone() -> None:
    read: list[bytes] = []

    def get(key: bytes) -> bytes | None:
        read.append(key)
        return PAGES.get(key)

    listing(get, NAME, after="g", limit=2)
    assert [key for key in read if b"/page/" in key] == [page(8)]
    failure(without(page(8)), after="g", limit=2)
    assert listing(without(page(8)), NAME, limit=2) == ("a", "c")


@pytest.mark.requires("listing.parts")
def test_a_part_of_more_than_is_counted_is_refused() -> None:
    failure(altered(index.count_key(NAME), b'{"count":2}'), after="b")
    assert listing(altered(index.count_key(NAME), b'{"count":4}'), NAME, after="b") == ("c", "h", "i", "m")


@pytest.mark.requires("listing.complete")
@pytest.mark.parametrize("key", sorted(PAGES.keys() - {NAME}))
def test_a_page_or_the_count_that_is_missing_is_noticed(key: bytes) -> None:
    failure(without(key))


@pytest.mark.requires("listing.complete")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (NAME, b"x"),
        (NAME, b"{}"),
        (NAME, b'{"entries":[]}'),
        (NAME, b'{"following":9,"pages":[["",0],["m",3]]}'),
        (NAME, b'{"following":9,"pages":[["",0],["g",8]]}'),
        (NAME, b'{"following":9,"pages":[["",3],["g",8],["m",0]]}'),
        (NAME, b'{"following":9,"pages":[["",0],["g",8],["m",0]]}'),
        (page(8), b"x"),
        (page(8), b'{"entries":["h"]}'),
        (page(8), b'{"entries":["h","i","j"]}'),
        (page(8), b'{"entries":["c","h"]}'),
        (page(8), b'{"entries":["h","m"]}'),
        (page(8), b'{"entries":["i","h"]}'),
        (page(8), b'{"entries":[]}'),
        (page(8), PAGES[NAME]),
        (index.count_key(NAME), b"x"),
        (index.count_key(NAME), b'{"count":4}'),
        (index.count_key(NAME), b'{"count":6}'),
        (index.count_key(NAME), b'{"count":-1}'),
        (index.count_key(NAME), b'{"count":9000000}'),
    ],
)
def test_records_that_do_not_fit_each_other_are_refused(key: bytes, value: bytes) -> None:
    failure(altered(key, value))


@pytest.mark.requires("listing.complete")
def test_a_refusal_names_the_record() -> None:
    assert failure(without(page(8))).facts["key"] == "index/releases/page/0000000008"
    assert failure(altered(NAME, b"x")).facts["key"] == "index/releases"
    assert failure(without(index.count_key(NAME))).facts["key"] == "index/releases/count"


@pytest.mark.requires("listing.complete")
@pytest.mark.parametrize("key", sorted(PAGES))
def test_what_the_proven_read_raises_is_passed_on(key: bytes) -> None:
    refusal = Refused(Code.HEIGHT_NOT_AVAILABLE, got=1, expected="a height that is kept")

    def get(asked: bytes) -> bytes | None:
        if asked == key:
            raise refusal
        return PAGES.get(asked)

    with pytest.raises(Refused) as caught:
        listing(get, NAME)
    assert caught.value is refusal
