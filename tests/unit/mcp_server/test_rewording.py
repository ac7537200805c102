"""Errors of the protocol's package are told in our words, with a code of ours, and counted."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import anyio
import pytest

from ledger.errors import Code
from mcp_server import rewording
from mcp_server.audit.door import Door
from mcp_server.pipes import Output

SECRET = "ghp_" + "a1B2" * 9


def told(number: int, data: Any = SECRET, **more: Any) -> tuple[dict[str, Any], Counter[str]]:
    """Give the error of an answer as it is sent, and what was counted."""
    door = Door()
    error = {"code": number, "message": f"the library says {SECRET}", "data": data}
    text = json.dumps({"jsonrpc": "2.0", "id": 7, "error": error, **more}, separators=(",", ":"))
    sent = json.loads(rewording.reworded(text, door.refused))
    assert sent["id"] == 7
    assert SECRET not in json.dumps(sent)
    assert sent["error"]["code"] == number
    assert sent["error"]["message"] == sent["error"]["data"]["name"]
    return sent["error"]["data"], Counter(door.peek())


@pytest.mark.requires("mcp.worded")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (-32601, Code.NAME_UNKNOWN),
        (-32602, Code.FIELD_INVALID),
        (-32600, Code.FIELD_INVALID),
        (-32700, Code.BODY_NOT_JSON),
        (-32020, Code.FIELD_INVALID),
        (-32021, Code.FIELD_MISSING),
        (-32022, Code.FIELD_INVALID),
    ],
)
def test_an_error_of_the_package_has_our_code_and_no_word_of_it(number: int, code: Code) -> None:
    data, counted = told(number)
    assert (data["code"], data["name"]) == (int(code), code.name)
    assert data["expected"]
    assert counted == {code.name: 1}


@pytest.mark.requires("mcp.worded")
def test_a_fault_is_told_as_one_and_revisions_are_kept() -> None:
    for number in (0, -32603, 12345):
        data, counted = told(number, {"code": SECRET})
        assert (data["name"], counted) == ("INTERNAL", {})
    for asked, back in (("2099-01-01", "2099-01-01"), ("v999.0.0", "v999.0.0"), (SECRET, ""), (7, "")):
        data, _ = told(-32022, {"supported": ["2026-07-28"], "requested": asked})
        assert (data["supported"], data["requested"]) == (["2026-07-28"], back)


def told_nothing(code: Code) -> None:
    pytest.fail(code.name)


@pytest.mark.requires("mcp.worded")
def test_results_and_our_own_errors_pass_as_they_are() -> None:
    ours = {"code": -32602, "message": "NAME_UNKNOWN", "data": {"code": 807, "name": "NAME_UNKNOWN"}}
    for message in (
        {"jsonrpc": "2.0", "id": 1, "error": ours},
        {"jsonrpc": "2.0", "id": 1, "result": {"error": {"code": -32601}}},
        {"jsonrpc": "2.0", "id": '"error":', "result": {}},
    ):
        text = json.dumps(message, separators=(",", ":"))
        assert rewording.reworded(text, told_nothing) == text
    assert rewording.reworded('{"error":', told_nothing) == '{"error":'


@pytest.mark.requires("mcp.worded")
def test_over_streams_it_is_told_and_counted_too() -> None:
    door, written = Door(), io.BytesIO()
    error = {"code": -32601, "message": "Method not found", "data": SECRET}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}, separators=(",", ":")) + "\n"

    async def write() -> None:
        await Output(written, door.refused).write(line)

    anyio.run(write)
    assert SECRET.encode() not in written.getvalue()
    assert json.loads(written.getvalue())["error"]["data"]["name"] == "NAME_UNKNOWN"
    assert written.getvalue().endswith(b"}\n")
    assert door.peek() == {"NAME_UNKNOWN": 1}


@pytest.mark.requires("mcp.worded")
def test_an_application_that_fails_or_answers_plainly_answers_with_a_code() -> None:
    async def broken(*_: Any) -> None:
        raise ValueError(SECRET)

    async def plain(_scope: Any, _receive: Any, send: Any) -> None:
        heads = [(b"content-type", b"text/plain"), (b"content-length", b"40"), (b"allow", b"POST")]
        await send({"type": "http.response.start", "status": 406, "headers": heads})
        await send({"type": "http.response.body", "body": SECRET.encode()})

    def answer_of(app: Any, door: Door) -> tuple[int, dict[bytes, bytes], Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def ask() -> None:
            await rewording.Reworded(app, door.refused)({"type": "http"}, None, send)  # type: ignore[arg-type]

        anyio.run(ask)
        start, body = sent
        assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
        assert SECRET.encode() not in body["body"]
        return start["status"], dict(start["headers"]), json.loads(body["body"])["error"]["data"]

    door = Door()
    status, _, data = answer_of(broken, door)
    assert (status, data["name"], door.peek()) == (500, "INTERNAL", {})
    status, heads, data = answer_of(plain, door)
    assert (status, data["field"], heads[b"allow"]) == (406, "accept", b"POST")
    assert heads[b"content-type"] == b"application/json"
    assert door.peek() == {"FIELD_INVALID": 1}


@pytest.mark.requires("mcp.worded")
def test_an_error_too_deep_to_be_read_is_told_as_a_fault_of_ours() -> None:
    door = Door()
    text = '{"error":' + "[" * 200_000 + SECRET
    sent = json.loads(rewording.reworded(text, door.refused))
    assert (sent["error"]["message"], door.peek()) == ("INTERNAL", {"LIMIT_EXCEEDED": 1})
