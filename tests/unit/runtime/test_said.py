"""Errors that another process wrote, read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Code, EnvironmentFault, VerificationFailed
from runtime.said import error_of, last_error

PORT = EnvironmentFault(Code.PORT_TAKEN, got="1", expected="a free port", todo="stop it", port=1)
trees = st.recursive(
    st.none() | st.integers() | st.text(max_size=12) | st.sampled_from(["PORT_TAKEN", "OK"]),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "facts", "got"]) | st.text(max_size=3), v, max_size=4)
    ),
)


@pytest.mark.requires("process.last-word")
def test_an_error_comes_back_as_it_was_said() -> None:
    found = error_of(json.loads(json.dumps(PORT.to_json())))
    assert isinstance(found, EnvironmentFault)
    assert found.to_json() == PORT.to_json()
    assert isinstance(error_of(VerificationFailed(Code.STALE).to_json()), VerificationFailed)


@pytest.mark.requires("process.last-word")
def test_the_last_error_of_a_log_is_found() -> None:
    first = EnvironmentFault(Code.DISK_FULL).to_json()
    lines = [b"noise", json.dumps(first).encode(), json.dumps(PORT.to_json()).encode(), b"{", b'{"name":1}']
    found = last_error(lines)
    assert found is not None
    assert found.code is Code.PORT_TAKEN
    assert last_error([b"", b"[" * 5000]) is None


@pytest.mark.requires("process.last-word")
@given(trees)
def test_any_json_is_an_error_or_none(value: Any) -> None:
    found = error_of(value)
    assert found is None or found.code.name == value["name"]
