"""The MCP server on random questions: an answer or a refusal with a code, and always within the budget."""

from __future__ import annotations

import json
from typing import Any

import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types import jsonrpc_message_adapter

from ledger.errors import Refused
from mcp_server import framing
from mcp_server.answering import ANSWER_BYTES_MAX, answer
from mcp_server.catalogue import BY_NAME, TOOLS, Tool
from mcp_server.pruning import clean, dump, fit, size
from mcp_server.refusals import error_json
from tests.support.mcp import Speaking, a_story, source_of


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _message(value: dict[str, Any]) -> bytes:
    return _bytes({"jsonrpc": "2.0", **value})


SOURCE = source_of(Speaking(a_story()))
NAMES = sorted({field for tool in TOOLS for field in tool.input_schema["properties"]})
WORDS = [
    "guestbook",
    "east",
    "alice",
    "Release",
    "Role",
    "open",
    "key",
    "release",
    "roles",
    "object/Cluster/east",
]
texts = st.text(max_size=40) | st.sampled_from(WORDS)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["id", "method", "params", "result", "error", "more"])
messages = st.dictionaries(fields, values | st.sampled_from(["ping", 1, {}]), max_size=4).map(_message)
arguments = st.dictionaries(st.sampled_from(NAMES) | texts, plain | values, max_size=4) | values


@pytest.mark.requires("mcp.strict")
@given(tool=st.sampled_from(TOOLS), asked=arguments)
@settings(max_examples=400, deadline=None)
def test_any_arguments_end_in_an_answer_or_a_refusal(tool: Tool, asked: Any) -> None:
    try:
        found = answer(SOURCE, tool, asked)
    except Refused as error:
        told = error_json(error)
        assert "got" not in told
        json.dumps(told)
        return
    content = dump(found.content)
    assert BY_NAME[tool.name] is tool
    assert len(content.encode()) <= ANSWER_BYTES_MAX or asked.get("inline")
    assert json.loads(content) == found.content


@pytest.mark.requires("mcp.pruning")
@given(item=st.dictionaries(texts, values, max_size=6), budget=st.integers(100, 3000))
@settings(max_examples=300, deadline=None)
def test_any_object_fits_any_budget(item: dict[str, Any], budget: int) -> None:
    cleaned = clean(item, b"key")
    found = fit(cleaned, budget)
    assert size(found) <= budget
    assert found == fit(cleaned, budget)
    assert found == cleaned or found["truncated"] is True
    dump(found).encode()


@pytest.mark.requires("mcp.hostile-stdio")
@given(content=st.binary(max_size=200) | messages | values.map(_bytes))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    try:
        found = framing.check(content)
    except Refused as refused:
        answered = framing.refusal(refused)
        assert answered["error"]["code"] in (framing.PARSE_ERROR, framing.INVALID_REQUEST)
        dump(answered).encode()
        return
    jsonrpc_message_adapter.validate_python(pydantic_core.from_json(content), by_name=False)
    assert found["jsonrpc"] == "2.0"
