"""The form of index objects: exact bytes, strict reading, and how pages split and join."""

from __future__ import annotations

import pytest

from ledger import index
from ledger.errors import Code
from ledger.index import Long
from ledger.limits import INDEX_ENTRIES_MAX, INDEX_ENTRY_BYTES_MAX, INDEX_PAGE_ENTRIES_MAX
from tests.support.refusal import refusal_of

SHORT = b'{"entries":["a","b-1"]}'
LONG = b'{"following":9,"pages":[["",0],["g",8],["m",3]]}'
HEAD = Long(("", "g", "m"), (0, 8, 3), 9)


@pytest.mark.requires("ledger.index-records")
def test_index_records_have_the_bytes_of_the_specification() -> None:
    assert index.write_entries(("a", "b-1")) == SHORT
    assert index.write_long(HEAD) == LONG
    assert index.read_head(SHORT) == ("a", "b-1")
    assert index.read_head(LONG) == HEAD
    assert index.read_head(None) == ()
    assert index.read_count(b'{"count":129}') == 129
    assert index.page_key(b"index/x", 8) == b"index/x/page/0000000008"
    assert index.count_key(b"index/x") == b"index/x/count"


@pytest.mark.requires("ledger.index-records")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Code.BODY_NOT_JSON),
        (b"[]", Code.FIELD_INVALID),
        (b"{}", Code.FIELD_MISSING),
        (b'{"entries":["a"],"more":1}', Code.FIELD_UNKNOWN),
        (b'{"entries":"a"}', Code.FIELD_INVALID),
        (b'{"entries":[]}', Code.FIELD_INVALID),
        (b'{"entries":[""]}', Code.FIELD_INVALID),
        (b'{"entries":["a",1]}', Code.FIELD_INVALID),
        (b'{"entries":["a","a"]}', Code.FIELD_INVALID),
        (b'{"entries":["b","a"]}', Code.FIELD_INVALID),
        (b'{"entries":["\\u00e4"]}', Code.FIELD_INVALID),
        (b'{"entries":["\\u0007"]}', Code.FIELD_INVALID),
        (b'{"entries":["%s"]}' % (b"a" * (INDEX_ENTRY_BYTES_MAX + 1)), Code.FIELD_INVALID),
        (b'{"entries":[%s"a"]}' % (b'"a",' * INDEX_PAGE_ENTRIES_MAX), Code.LIMIT_EXCEEDED),
        (b'{"entries":["a"]}' + b" " * 100_000, Code.LIMIT_EXCEEDED),
        (LONG.replace(b',"pages":[["",0],["g",8],["m",3]]', b""), Code.FIELD_MISSING),
        (LONG.replace(b'["g",8],["m",3]', b""), Code.BODY_NOT_JSON),
        (LONG.replace(b',["g",8],["m",3]', b""), Code.FIELD_INVALID),
        (LONG.replace(b'["",0]', b'["a",0]'), Code.FIELD_INVALID),
        (LONG.replace(b'["",0]', b'["",8]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["g",9]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["g",-1]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["g",true]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["g"]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b"7"), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["m",8]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b'["z",8]'), Code.FIELD_INVALID),
        (LONG.replace(b'["g",8]', b"[7,8]"), Code.FIELD_INVALID),
        (LONG.replace(b":9,", b":-9,"), Code.FIELD_INVALID),
        (LONG.replace(b'["",0]', b'["",0]' + b",7" * index.PAGES_MAX), Code.LIMIT_EXCEEDED),
    ],
)
def test_anything_else_is_no_head(content: bytes, code: Code) -> None:
    refusal_of(lambda: index.read_head(content), code)


@pytest.mark.requires("ledger.index-records")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, Code.FIELD_INVALID),
        (b"{}", Code.FIELD_MISSING),
        (b'{"count":-1}', Code.FIELD_INVALID),
        (b'{"count":%d}' % (INDEX_ENTRIES_MAX + 1), Code.LIMIT_EXCEEDED),
    ],
)
def test_anything_else_is_no_count(content: bytes | None, code: Code) -> None:
    refusal_of(lambda: index.read_count(content), code)


@pytest.mark.requires("ledger.index-records")
@pytest.mark.parametrize(
    ("place", "content", "fits"),
    [
        (0, b'{"entries":["a","f"]}', True),
        (0, b'{"entries":["a","g"]}', False),
        (1, b'{"entries":["g","l"]}', True),
        (1, b'{"entries":["f","l"]}', False),
        (1, b'{"entries":["g","m"]}', False),
        (2, b'{"entries":["m","~"]}', True),
        (2, b'{"entries":["l","~"]}', False),
        (1, LONG, False),
        (1, None, False),
    ],
)
def test_a_page_holds_what_belongs_there(place: int, content: bytes | None, fits: bool) -> None:
    if fits:
        assert index.read_page(content, HEAD, place)
    else:
        refusal = Code.FIELD_MISSING if content is LONG else Code.FIELD_INVALID
        refusal_of(lambda: index.read_page(content, HEAD, place), refusal)


@pytest.mark.requires("ledger.index-entries")
@pytest.mark.parametrize("entry", ["~", " ", "a" * INDEX_ENTRY_BYTES_MAX, 'a"\\/z', "000000000012/run/ff"])
def test_printable_ascii_is_an_entry(entry: str) -> None:
    assert index.check_entry(entry) == entry
    assert index.read_head(index.write_entries((entry,))) == (entry,)


@pytest.mark.requires("ledger.index-entries")
@pytest.mark.parametrize("entry", ["", "a" * (INDEX_ENTRY_BYTES_MAX + 1), "ä", "a\n", "\x7f", "\ud800"])
def test_anything_else_is_no_entry(entry: str) -> None:
    refusal_of(lambda: index.check_entry(entry), Code.FIELD_INVALID)


@pytest.mark.requires("ledger.index-entries")
def test_the_largest_page_can_be_read() -> None:
    entries = tuple(f"{i:03d}" + '"' * (INDEX_ENTRY_BYTES_MAX - 3) for i in range(INDEX_PAGE_ENTRIES_MAX))
    assert index.read_head(index.write_entries(entries)) == entries


@pytest.mark.requires("indexes.pages")
def test_pages_split_and_join_in_the_head() -> None:
    assert HEAD.split(1, "j") == Long(("", "g", "j", "m"), (0, 8, 9, 3), 10)
    assert HEAD.split(2, "x") == Long(("", "g", "m", "x"), (0, 8, 3, 9), 10)
    assert HEAD.join(0) == Long(("", "m"), (0, 3), 9)
    assert HEAD.join(1) == Long(("", "g"), (0, 8), 9)
    assert [HEAD.place(e) for e in ("", "a", "fz", "g", "lz", "m", "~")] == [0, 0, 0, 1, 1, 2, 2]
