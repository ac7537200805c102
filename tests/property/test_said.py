"""What a process said last: any JSON is an error or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.said import error_of

trees = st.recursive(
    st.none() | st.integers() | st.text(max_size=12) | st.sampled_from(["PORT_TAKEN", "OK"]),
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "facts", "got"]) | st.text(max_size=3), v, max_size=4)
    ),
)


@pytest.mark.requires("process.last-word")
@given(trees)
def test_any_json_is_an_error_or_none(value: Any) -> None:
    found = error_of(value)
    assert found is None or found.code.name == value["name"]
