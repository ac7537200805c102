"""YAML: read as Kubernetes reads it, bounded, and refused with file, line and column."""

from __future__ import annotations

from typing import Any

import pytest

from conclave.render.scalars import plain_value
from conclave.render.strict_yaml import DEPTH_MAX, read_documents
from ledger.errors import Code, Refused


def value_of(text: str | bytes) -> Any:
    content = text.encode() if isinstance(text, str) else text
    return read_documents(content, "x.yaml")[0].value


def refusal_of(text: str | bytes, file: str = "x.yaml") -> Refused:
    with pytest.raises(Refused) as refusal:
        read_documents(text.encode() if isinstance(text, str) else text, file)
    return refusal.value


@pytest.mark.requires("render.yaml-meaning")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("on", True), ("y", True), ("No", False), ("OFF", False), ("n", False),
        ("~", None), ("", None), ("null", None), ("010", 8), ("0o10", 8), ("0x1F", 31), ("0b11", 3),
        ("-0b11", -3),
        ("08", 8), ("1_000", 1000), ("1e3", 1000), ("1.50", 1.5), (".5", 0.5), ("+7", 7), ("-0", 0),
        ("1.", 1),
        ("12:30:45", "12:30:45"), ("2026-11-21", "2026-11-21"),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("1.2.3", "1.2.3"), ("100m", "100m"), ("1e999", "1e999"), ("0x", "0x"), ("-", "-"),
        ("yEs", "yEs"), ("_1", "_1"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_kubectl_sends(text: str, expected: object) -> None:
    value = plain_value(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.requires("render.yaml-meaning")
def test_quoted_and_tagged_scalars_stay_text() -> None:
    assert value_of("a: 'yes'\nb: \"1\"\nc: !!str 1\nd: |\n  on\n") == {
        "a": "yes",
        "b": "1",
        "c": "1",
        "d": "on\n",
    }


@pytest.mark.requires("render.yaml-meaning")
def test_keys_become_text_as_in_json() -> None:
    assert value_of("on: a\n1: b\n") == {"true": "a", "1": "b"}


@pytest.mark.requires("render.yaml-meaning")
def test_anchors_and_merge_keys_expand_without_sharing() -> None:
    value = value_of("a: &a {x: 1, z: 2}\nb:\n  <<: *a\n  z: 3\nc: *a\n")
    assert value == {"a": {"x": 1, "z": 2}, "b": {"x": 1, "z": 3}, "c": {"x": 1, "z": 2}}
    assert value["c"] is not value["a"]


@pytest.mark.requires("render.yaml-meaning")
def test_documents_carry_their_line_and_empty_ones_are_left_out() -> None:
    documents = read_documents(b"# head\n---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", "x.yaml")
    assert [(document.value, document.line) for document in documents] == [({"a": 1}, 4), ({"b": 2}, 8)]


@pytest.mark.requires("render.yaml-refused")
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1), ("a:\n  - b\n c: 1\n", 3, 2), ("a: [1\nb: 2\n", 2, 2),
        ("a: *b\n", 1, 4),
        ("a: &a [*a]\n", 1, 8), ("a: .nan\n", 1, 4), ("a: !!python/object:os.system x\n", 1, 4),
        ("a: !!binary aGk=\n", 1, 4), ("a: !!int x\n", 1, 4), ("? [a]\n: b\n", 1, 3),
        ("a: b\n\tc: d\n", 2, 1),
        ("~: a\n", 1, 1), ("<<: 1\n", 1, 5), ("a: {<<: {}, <<: {}}", 1, 13), ("yes: 1\non: 2\n", 2, 1),
    ],
)  # fmt: skip
def test_bad_yaml_names_file_line_and_column(text: str, line: int, column: int) -> None:
    error = refusal_of(text)
    assert error.code is Code.YAML_INVALID
    assert (error.facts["file"], error.facts["line"], error.facts["column"]) == ("x.yaml", line, column)


@pytest.mark.requires("render.yaml-refused")
def test_bytes_that_are_not_utf8_are_placed() -> None:
    error = refusal_of(b"a: 1\nb: \xff\n")
    assert (error.code, error.facts["line"], error.facts["column"]) == (Code.YAML_INVALID, 2, 4)


@pytest.mark.requires("render.yaml-refused")
@pytest.mark.parametrize(
    "text", ["a:\n  b: [1, 9007199254740992]\n", "a:\n  b: [1, 1e20]\n", "a:\n  b: [1, -9007199254740992]\n"]
)
def test_numbers_beyond_2_to_53_are_refused_with_their_path(text: str) -> None:
    error = refusal_of(text)
    assert error.code is Code.BODY_NUMBER_OUT_OF_RANGE
    assert (error.facts["path"], error.facts["line"]) == ("a.b[1]", 2)


@pytest.mark.requires("render.yaml-bounded")
def test_billion_laughs_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert refusal_of("\n".join(lines)).code is Code.LIMIT_EXCEEDED


@pytest.mark.requires("render.yaml-bounded")
def test_depth_is_bounded_even_through_aliases() -> None:
    assert refusal_of("[" * 100_000).code is Code.LIMIT_EXCEEDED
    chain = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, DEPTH_MAX + 5)]
    assert refusal_of("\n".join(chain)).code is Code.LIMIT_EXCEEDED
    assert value_of("[" * DEPTH_MAX + "]" * DEPTH_MAX)


@pytest.mark.requires("render.yaml-refused")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 2}', Code.YAML_INVALID), ('{"a": NaN}', Code.YAML_INVALID),
        ('{"a": }', Code.YAML_INVALID),
        ('{"a": 9007199254740993}', Code.BODY_NUMBER_OUT_OF_RANGE), ("[" * 100_000, Code.LIMIT_EXCEEDED),
        ("[" * 200 + "]" * 200, Code.LIMIT_EXCEEDED), ('{"a": ' + "9" * 5000 + "}", Code.YAML_INVALID),
    ],
)  # fmt: skip
def test_json_files_are_read_as_strictly(text: str, code: Code) -> None:
    error = refusal_of(text, "x.json")
    assert error.code is code
    assert error.facts["file"] == "x.json"
