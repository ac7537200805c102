"""The way of a message from streams to a server over HTTP: where it may go, and with which headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger.errors import Code, EnvironmentFault
from mcp_server import proxy
from mcp_server.auth.client import refusal_of as told_refusal
from tests.support.refusal import refusal_of

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://mcp.example:8443", "https://mcp.example:8443"),
        ("https://mcp.example/mcp", "https://mcp.example"),
        ("https://MCP.example/mcp/", "https://mcp.example"),
        ("http://127.0.0.1:8765/mcp", "http://127.0.0.1:8765"),
        ("http://localhost:8765", "http://localhost:8765"),
        ("http://[::1]:8765", "http://[::1]:8765"),
    ],
)
def test_a_url_names_a_server(url: str, origin: str) -> None:
    assert proxy.origin_of(url).url == origin


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://10.0.0.5:8765",
        "http://mcp.example",
        "ftp://127.0.0.1",
        "https://user@mcp.example",
        "https://mcp.example/other",
        "https://mcp.example?x",
        "https://",
        "https://[::1",
        "https://mcp.example:99999",
    ],
)
def test_nothing_goes_where_others_could_read_it(url: str) -> None:
    refusal_of(lambda: proxy.origin_of(url), Code.USAGE)


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize(
    ("message", "negotiated", "told"),
    [
        ({"method": "initialize"}, None, {}),
        ({"method": "tools/list"}, "2025-11-25", {"mcp-protocol-version": "2025-11-25"}),
        (
            {"method": "tools/call", "params": {"name": "get_releases", "_meta": MODERN}},
            None,
            {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "get_releases"},
        ),
        (
            {"method": "resources/read", "params": {"uri": "é\r\nx: y", "_meta": MODERN}},
            None,
            {
                "mcp-protocol-version": "2026-07-28",
                "mcp-method": "resources/read",
                "mcp-name": "=?base64?w6kNCng6IHk=?=",
            },
        ),
        ({"method": "tools/list", "params": {"_meta": 5}}, None, {}),
    ],
)
def test_headers_say_what_the_message_does(
    message: dict[str, Any], negotiated: str | None, told: dict[str, str]
) -> None:
    found = proxy.headers_of(message, negotiated)
    assert {name: value for name, value in found.items() if name.startswith("mcp-")} == told


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize(
    "told", [None, [], {}, {"conclave": 5}, {"conclave": {"code": "x"}}, {"conclave": {"code": 1}}]
)
def test_what_is_no_refusal_is_an_invalid_answer(told: Any) -> None:
    assert told_refusal(told, 500).code is Code.RPC_ANSWER_INVALID


@pytest.mark.requires("mcp.connect")
def test_a_refusal_keeps_its_code_and_no_authority_is_no_trust(tmp_path: Path) -> None:
    ours = {"conclave": {"code": 907, "expected": "x" * 999, "todo": "wait"}}
    found = told_refusal(ours, 403)
    assert (found.code, found.todo) == (Code.AGENT_SUSPENDED, "wait")
    assert len(found.expected) == 300
    with pytest.raises(EnvironmentFault) as raised:
        proxy.trusted(tmp_path / "none.pem")
    assert raised.value.code is Code.KEY_FILE_INVALID
