"""YAML: any bytes give JSON values or a coded refusal, and JSON comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conclave.render.strict_yaml import read_documents
from ledger.errors import Refused


@pytest.mark.requires("render.yaml-refused")
@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="-:[]{}&*!|>'\"#%@, \nab1<?~.\t", max_size=80).map(str.encode),
    )
)
def test_any_bytes_give_json_values_or_a_coded_refusal(content: bytes) -> None:
    for file in ("x.yaml", "x.json"):
        try:
            documents = read_documents(content, file)
        except Refused:
            continue
        json.dumps([document.value for document in documents], allow_nan=False)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=15,
)


@pytest.mark.requires("render.yaml-meaning")
@settings(max_examples=100, deadline=None)
@given(value=json_values)
def test_json_text_comes_back_as_it_was(value: Any) -> None:
    documents = read_documents(json.dumps(value).encode(), "x.json")
    assert (documents[0].value if documents else None) == value
