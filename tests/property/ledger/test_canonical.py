"""Canonical JSON over arbitrary values and arbitrary bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.errors import Code, Refused
from tests.support.refusal import outcome

TEXT = st.text(st.characters(), max_size=8) | st.text(
    st.sampled_from('\x00\x1f\x7f"\\/é\ud7ff\ud800\udfff\ue000\ufb33\uffff\U00010000\U0001f600'), max_size=3
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats()
    | st.floats(1e15, 1e23)
    | st.floats(1e-8, 1e-4)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
CODES = {
    Code.OK,
    Code.BODY_NOT_JSON,
    Code.BODY_NOT_CANONICAL,
    Code.BODY_TOO_DEEP,
    Code.BODY_NUMBER_OUT_OF_RANGE,
}


@pytest.mark.requires("ledger.canonical-form")
@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_writing_equals_the_rfc_8785_library(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(Refused):
            canonical.dump(value)
    else:
        assert canonical.dump(value) == expected


@pytest.mark.requires("ledger.canonical-round-trip")
@settings(max_examples=150, deadline=None)
@given(VALUES)
@example(1e20)
@example(-(2.0**53))
@example(-0.0)
@example({"\U0001f600": 1, "\ufb33": 2})
def test_what_is_written_reads_back_or_is_refused_by_code(value: Any) -> None:
    content, code = outcome(lambda: canonical.dump(value))
    if not code:
        read, code = outcome(lambda: canonical.load(content))
    assert code in CODES
    if not code:
        assert read == value
        assert canonical.dump(read) == content


@pytest.mark.requires("ledger.canonical-any-bytes")
@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=64)
    | VALUES.map(lambda v: json.dumps(v).encode())
    | st.text('[]{}",:0123456789.eE+-\\untrfals \ud800', max_size=24).map(
        lambda t: t.encode("utf-8", "surrogatepass")
    )
)
def test_any_bytes_are_accepted_as_they_are_or_refused_by_code(content: bytes) -> None:
    value, code = outcome(lambda: canonical.load(content))
    assert code in CODES
    if not code:
        assert rfc8785.dumps(value) == content


@pytest.mark.requires("ledger.canonical-any-bytes")
@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_no_second_spelling_is_accepted(value: Any, data: st.DataObject) -> None:
    """A changed byte gives other content or a refusal, never the same content in another form."""
    content, code = outcome(lambda: canonical.dump(value))
    if code or outcome(lambda: canonical.load(content))[1]:
        return
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + data.draw(st.binary(max_size=2)) + content[at + 1 :]
    if changed == content:
        return
    other, code = outcome(lambda: canonical.load(changed))
    assert code in CODES
    if not code:
        assert canonical.dump(other) == changed
