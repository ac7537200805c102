"""Metrics of accounts of any shape."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_bridge.telemetry import Moment, exposition

FIELDS = ("height", "headerTimeNs", "verdict", "hold", "kubernetes", "writer", "releases")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_LINE = re.compile(r'[a-z_]+(\{\w+="([^"\\\n]|\\.)*"\})? -?[0-9.]+')


@pytest.mark.requires("bridge.probes")
@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)))
def test_an_account_of_any_shape_gives_lines(account: dict[str, Any]) -> None:
    for line in exposition(Moment(account, 1.0, 1.0)).removesuffix("\n").split("\n"):
        assert line.startswith("# ") or _LINE.fullmatch(line), line
