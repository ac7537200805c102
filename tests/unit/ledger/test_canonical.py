"""The one byte form of JSON: what is accepted, and each refusal with its code."""

from __future__ import annotations

import pytest

from ledger import canonical
from ledger.errors import Code, Refused
from ledger.limits import JSON_DEPTH_MAX
from tests.support.refusal import refusal_of

ACCEPTED = [
    b"{}", b"[]", b"null", b"true", b'""', b"0", b"-1", b"9007199254740991", b"-9007199254740991",
    b"1.5", b"1e+21", b"1e-7", b"0.000001", b"5e-324", b"1.7976931348623157e+308",
    b'{"a":1,"b":[2,{"c":null}]}', '{"\u20ac":1,"\U0001f600":2,"\ufb33":3}'.encode(),
    b'"\\u0000\\b\\t\\n\\f\\r\\u001f\\"\\\\/\x7f"',
]  # fmt: skip

REFUSED = [
    (b"", Code.BODY_NOT_JSON),
    (b"{", Code.BODY_NOT_JSON),
    (b"{}x", Code.BODY_NOT_JSON),
    (b"\xef\xbb\xbf{}", Code.BODY_NOT_JSON),
    (b'"\xff"', Code.BODY_NOT_JSON),
    (b'"\xed\xa0\x80"', Code.BODY_NOT_JSON),
    (b"{}".decode().encode("utf-16"), Code.BODY_NOT_JSON),
    (b"NaN", Code.BODY_NOT_JSON),
    (b"[Infinity]", Code.BODY_NOT_JSON),
    (b'{"a":-Infinity}', Code.BODY_NOT_JSON),
    (b"'a'", Code.BODY_NOT_JSON),
    (b"01", Code.BODY_NOT_JSON),
    (b"[1,]", Code.BODY_NOT_JSON),
    (b'"\n"', Code.BODY_NOT_JSON),
    (b'"\\ud800"', Code.BODY_NOT_JSON),
    (b'{"\\udc00":1}', Code.BODY_NOT_JSON),
    (b'["\\ude00\\ud83d"]', Code.BODY_NOT_JSON),
    (b'{"a":1,"a":1}', Code.BODY_NOT_CANONICAL),
    (b'{"a":1,"a":2}', Code.BODY_NOT_CANONICAL),
    (b'{"b":1,"a":2}', Code.BODY_NOT_CANONICAL),
    ('{"\ufb33":1,"\U0001f600":2}'.encode(), Code.BODY_NOT_CANONICAL),
    (b'{"a": 1}', Code.BODY_NOT_CANONICAL),
    (b" {}", Code.BODY_NOT_CANONICAL),
    (b"{}\n", Code.BODY_NOT_CANONICAL),
    (b'"\\u0041"', Code.BODY_NOT_CANONICAL),
    (b'"\\u001F"', Code.BODY_NOT_CANONICAL),
    (b'"\\/"', Code.BODY_NOT_CANONICAL),
    (b'"\\ud83d\\ude00"', Code.BODY_NOT_CANONICAL),
    (b"1.0", Code.BODY_NOT_CANONICAL),
    (b"-0", Code.BODY_NOT_CANONICAL),
    (b"-0.0", Code.BODY_NOT_CANONICAL),
    (b"1e5", Code.BODY_NOT_CANONICAL),
    (b"1E+21", Code.BODY_NOT_CANONICAL),
    (b"1e20", Code.BODY_NOT_CANONICAL),
    (b"0.1000000000000000055", Code.BODY_NOT_CANONICAL),
    (b"1e-400", Code.BODY_NOT_CANONICAL),
    (b"9007199254740992", Code.BODY_NUMBER_OUT_OF_RANGE),
    (b"-9007199254740992", Code.BODY_NUMBER_OUT_OF_RANGE),
    (b"100000000000000000000", Code.BODY_NUMBER_OUT_OF_RANGE),
    (b"9" * 5000, Code.BODY_NUMBER_OUT_OF_RANGE),
    (b"1e400", Code.BODY_NUMBER_OUT_OF_RANGE),
    (b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1), Code.BODY_TOO_DEEP),
    (b"[" * 100_000, Code.BODY_TOO_DEEP),
    (b'{"a":' * 100_000, Code.BODY_TOO_DEEP),
]  # fmt: skip


@pytest.mark.requires("ledger.canonical-form")
@pytest.mark.parametrize("content", ACCEPTED)
def test_canonical_bytes_are_taken_as_they_are(content: bytes) -> None:
    assert canonical.dump(canonical.load(content)) == content


@pytest.mark.requires("ledger.canonical-refusals")
@pytest.mark.parametrize(("content", "code"), REFUSED, ids=[c[:24].decode("latin-1") for c, _ in REFUSED])
def test_any_other_form_is_refused_by_code(content: bytes, code: Code) -> None:
    refusal_of(lambda: canonical.load(content), code)


@pytest.mark.requires("ledger.canonical-refusals")
def test_the_refusal_names_the_first_byte_that_differs() -> None:
    assert refusal_of(lambda: canonical.load(b'{"a": 1}'), Code.BODY_NOT_CANONICAL).facts["offset"] == 5
    assert refusal_of(lambda: canonical.load(b"{} "), Code.BODY_NOT_CANONICAL).facts["offset"] == 2
    assert refusal_of(lambda: canonical.load(b'{"b":1,"a":2}'), Code.BODY_NOT_CANONICAL).facts["offset"] == 2


@pytest.mark.requires("ledger.canonical-refusals")
def test_size_is_judged_before_parsing() -> None:
    refusal_of(lambda: canonical.load(b"[" * 11, bytes_max=10), Code.BODY_TOO_LARGE)
    assert canonical.load(b"[1,2,3,10]", bytes_max=10) == [1, 2, 3, 10]


@pytest.mark.requires("ledger.canonical-depth")
def test_depth_counts_nesting_not_brackets() -> None:
    deepest = b"[" * JSON_DEPTH_MAX + b"1.5" + b"]" * JSON_DEPTH_MAX
    assert canonical.dump(canonical.load(deepest)) == deepest
    wide = b"[" + b",".join([b"[]"] * 1000) + b"]"
    assert canonical.load(wide) == [[]] * 1000
    quoted = b'["' + b"[" * 1000 + b'","\\"' + b"{" * 1000 + b'"]'
    assert canonical.load(quoted) == ["[" * 1000, '"' + "{" * 1000]


@pytest.mark.requires("ledger.canonical-depth")
@pytest.mark.parametrize("rest", [b"", b"NaN", b"9007199254740992", b'"', b'"\\"', b"\xff"])
def test_the_code_does_not_depend_on_the_callers_stack(rest: bytes) -> None:
    """The parser gives up where the stack ends; two honest nodes may stand at different depths."""

    def at_depth(frames: int, content: bytes) -> Code:
        if frames:
            return at_depth(frames - 1, content)
        return refusal_of(lambda: canonical.load(content), Code.BODY_TOO_DEEP).code

    for nesting in (JSON_DEPTH_MAX + 1, 500, 900):
        assert at_depth(0, b"[" * nesting + rest) is at_depth(500, b"[" * nesting + rest)


@pytest.mark.requires("ledger.canonical-refusals")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": b"x"}, object(), "\ud800", {1}])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    refusal_of(lambda: canonical.dump(value), Code.BODY_NOT_JSON)


@pytest.mark.requires("ledger.canonical-refusals")
def test_numbers_that_json_readers_would_round_are_not_written() -> None:
    refusal_of(lambda: canonical.dump({"n": 2**53}), Code.BODY_NUMBER_OUT_OF_RANGE)
    refusal_of(lambda: canonical.dump([-(2**53)]), Code.BODY_NUMBER_OUT_OF_RANGE)


@pytest.mark.requires("ledger.canonical-refusals")
def test_in_any_spelling_a_key_comes_once() -> None:
    """Also where finding the second one naively would take minutes: answers of peers are read this way."""
    assert canonical.parse(b' { "b" : 1 , "a" : { "b" : 2.0 } } ') == {"b": 1, "a": {"b": 2}}
    refusal = refusal_of(lambda: canonical.parse(b'{"a":{"x":1,"x":1}}'), Code.BODY_NOT_JSON)
    assert "'x'" in refusal.got
    wide = b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b',"99999":0}'
    refusal_of(lambda: canonical.parse(wide), Code.BODY_NOT_JSON)
    assert canonical.load_plain(b'{"a":1}') == {"a": 1}


@pytest.mark.requires("ledger.canonical-form")
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"100000000000000000000", b"100000000000000000000"),
        (b"1000000000000000000000", b"1e+21"),
        (b"295147905179352830000", b"295147905179352830000"),
        (b"9007199254740993", b"9007199254740992"),
        (b"-9007199254740992", b"-9007199254740992"),
        (b"123456789012345678", b"123456789012345680"),
        (b"[-0, 0.0, 1E30]", b"[0,0,1e+30]"),
    ],
)
def test_any_text_is_canonicalised_with_numbers_as_doubles(text: bytes, wanted: bytes) -> None:
    assert canonical.canonicalize(text) == wanted
    assert canonical.canonicalize(wanted) == wanted


@pytest.mark.requires("ledger.canonical-refusals")
@pytest.mark.parametrize("text", [b"1" + b"0" * 400, b"1e400", b"NaN", b'{"a":1,"a":2}', b"[1,]"])
def test_what_is_no_number_or_no_json_has_no_canonical_form(text: bytes) -> None:
    with pytest.raises(Refused):
        canonical.canonicalize(text)
