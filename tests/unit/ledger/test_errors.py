"""What a refusal tells people and programs."""

from __future__ import annotations

import json

import pytest

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed


@pytest.mark.requires("ledger.error-text")
def test_a_refusal_says_got_expected_and_what_to_do() -> None:
    refusal = Refused(Code.FIELD_INVALID, got=5, expected="a name", todo="write a name", field="a.b", line=3)
    assert str(refusal) == "FIELD_INVALID; got 5; expected a name; field=a.b, line=3; write a name"
    assert refusal.to_json() == {
        "code": 110,
        "name": "FIELD_INVALID",
        "got": "5",
        "expected": "a name",
        "todo": "write a name",
        "facts": {"field": "a.b", "line": 3},
    }
    json.dumps(refusal.to_json())


@pytest.mark.requires("ledger.error-text")
@pytest.mark.parametrize("kind", [Refused, VerificationFailed, EnvironmentFault])
@pytest.mark.parametrize("got", ["x" * 10**6, b"\xff" * 10**6, ["y" * 10**6]])
def test_what_a_stranger_sent_is_cut_short(kind: type[ConclaveError], got: object) -> None:
    assert len(str(kind(Code.FIELD_INVALID, got=got, field=got))) < 1000


@pytest.mark.requires("ledger.error-text")
@pytest.mark.parametrize("got", ["\x1b[2J", "a\rb", "\ud800", "\u202eevil", "\x9b1m", "\0"])
def test_no_control_character_of_a_stranger_reaches_the_terminal(got: str) -> None:
    """Nor a lone surrogate: a protobuf log field could not carry it."""
    text = str(Refused(Code.FIELD_UNKNOWN, got=got, field=got))
    assert text.isprintable()
    text.encode()


@pytest.mark.requires("ledger.error-text")
def test_lines_and_letters_of_any_script_stay() -> None:
    assert str(Refused(Code.RENDER_FAILED, got="Zeile 1\nçà 数")) == "RENDER_FAILED; got Zeile 1\nçà 数"


@pytest.mark.requires("ledger.codes-table")
def test_numbers_are_unique_and_in_their_ranges() -> None:
    assert len(Code.__members__) == len(set(Code)), "an alias: two names for one number"
    assert int(Code.OK) == 0
    assert all(100 <= code < 1000 for code in Code if code)
