"""The MCP server as a process, over standard streams and over real sockets, with clients good and bad."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from ledger.errors import Code, EnvironmentFault
from ledger.limits import MIB
from mcp_server import listener
from mcp_server.catalogue import READ_TOOLS
from mcp_server.framing import MESSAGE_BYTES_MAX
from mcp_server.listening import LOOPBACK, Listening

COMMAND = [sys.executable, "-m", "tests.support.mcp_process"]
MODES = ("legacy", "2026-07-28")
PATIENCE = 120.0
HASTE = 1.0
"""The time of a server that is not patient."""
LIST = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HOSTILE = [
    b"",
    b"\x00\xff\xfe garbage",
    b"[]",
    b"7",
    b'"text"',
    b"{",
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","more":1}',
    b'{"jsonrpc":"2.0","id":1,"method":7}',
    b'{"jsonrpc":"2.0","id":99999999999999999999999999,"method":"ping"}',
    b"[" * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}',
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"error":7}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e400}}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}',
]


async def _session(target: Any, mode: str) -> None:
    async with Client(target, mode=mode, read_timeout_seconds=PATIENCE) as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == [tool.name for tool in READ_TOOLS]
        found = await client.call_tool("get_releases", {"release": "guestbook"})
        assert found.structured_content["items"][0]["revision"] == 3
        refused = await client.call_tool("get_releases", {"limit": True})
        assert refused.is_error
        assert "FIELD_INVALID" in refused.model_dump_json()
        read = await client.read_resource("conclave://cluster/east")
        assert "guestbook" in read.model_dump_json()


@contextlib.contextmanager
def _http(*haste: str) -> Iterator[int]:
    """Give the port of a server; it must have lived, and printed no traceback, until the end."""
    process = subprocess.Popen([*COMMAND, *haste, "http"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    try:
        url = json.loads(process.stderr.readline())["url"]
        yield int(url.rsplit(":", 1)[1].split("/")[0])
        assert process.poll() is None, "the server died"
    finally:
        process.terminate()
        told = process.communicate(timeout=PATIENCE)[1].decode()
    assert "Traceback" not in told
    assert '"traceback"' not in told


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with _http() as found:
        yield found


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    """Give the port of a server that does not wait for heads."""
    with _http("--head", str(HASTE)) as found:
        yield found


def _post(port: int, body: bytes, **headers: str) -> tuple[int, bytes]:
    """Post a body; give the status and the answer's body."""
    told = {"host": f"127.0.0.1:{port}", "content-type": "application/json", "accept": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        # Who is answered before all of it was sent may not send the rest; the answer is there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(
                f"POST /mcp HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
            )
        return _answer(connection)


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read an answer to its end; (0, b"") for a close without one."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
            head, gap, body = found.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if gap and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                break
    head, _, body = found.partition(b"\r\n\r\n")
    return (int(head.split(b" ")[1]) if found else 0), body


def _lives(port: int, *, is_hasty: bool = False) -> None:
    """Say that a server serves; a hasty one those who are not late themselves, sooner or later."""
    modern = {**LIST, "params": {"_meta": MODERN}}
    headers = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list"}
    deadline = time.monotonic() + PATIENCE
    status, body = _post(port, json.dumps(modern).encode(), **headers)
    while is_hasty and status in (0, 408) and time.monotonic() < deadline:
        status, body = _post(port, json.dumps(modern).encode(), **headers)
    assert status == 200, body
    assert len(json.loads(body)["result"]["tools"]) == len(READ_TOOLS)


@pytest.mark.requires("mcp.transports")
@pytest.mark.parametrize("mode", MODES)
def test_both_revisions_over_standard_streams(mode: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"])
    anyio.run(_session, parameters, mode)


@pytest.mark.requires("mcp.transports")
@pytest.mark.parametrize("mode", MODES)
def test_both_revisions_over_http(port: int, mode: str) -> None:
    anyio.run(_session, f"http://127.0.0.1:{port}/mcp", mode)


@pytest.mark.requires("mcp.transports")
def test_answers_are_sent_at_once() -> None:
    # asyncio turns Nagle's algorithm off for sockets that name their protocol; else each answer takes 40 ms.
    with listener.listen(Listening(LOOPBACK, 0)) as bound:
        assert bound.proto == socket.IPPROTO_TCP
        assert bound.getsockname()[0] == "127.0.0.1"
        with pytest.raises(EnvironmentFault) as raised:
            listener.listen(Listening(LOOPBACK, bound.getsockname()[1]))
        assert raised.value.code is Code.PORT_TAKEN


@pytest.mark.requires("mcp.transports")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_at_once(sent: signal.Signals) -> None:
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, "stdio"], **streams) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({**LIST, "params": {"_meta": MODERN}}).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(sent)
        assert process.wait(PATIENCE) == -sent


@pytest.mark.requires("mcp.served")
@pytest.mark.parametrize("genesis", [None, b"", b"{}", b"\xff", b"[" * 1000])
def test_a_wrong_root_of_trust_ends_with_a_code(tmp_path: Path, genesis: bytes | None) -> None:
    file = tmp_path / "genesis.json"
    if genesis is not None:
        file.write_bytes(genesis)
    command = [sys.executable, "-m", "mcp_server", "--endpoint", "http://127.0.0.1:9", "--stdio"]
    command += ["--genesis", str(file), "--trust", str(tmp_path / "trust.json")]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (4, b"")
    assert json.loads(done.stderr)["error"]["name"]


@pytest.mark.requires("mcp.hostile-stdio")
def test_any_line_is_answered_and_the_next_one_served() -> None:
    lines = [line for line in HOSTILE if line and b"\n" not in line]
    last = json.dumps({**LIST, "params": {"_meta": MODERN}}).encode()
    given = b"\n".join([*lines, b"x" * (100 * MIB), b"\n", last]) + b"\n"
    done = subprocess.run(
        [*COMMAND, "stdio"], input=given, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [answer["error"]["data"]["name"] for answer in answers if "error" in answer]
    assert len(errors) == len(lines) + 1
    assert errors[-1] == "BODY_TOO_LARGE"
    assert len(answers[-1]["result"]["tools"]) == len(READ_TOOLS)
    assert b"raceback" not in done.stderr


@pytest.mark.requires("mcp.hostile-http")
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_any_body_is_answered_with_a_code(port: int, body: bytes) -> None:
    status, told = _post(port, body)
    assert status == 400
    error = json.loads(told)["error"]
    assert error["code"] in (-32700, -32600)
    assert error["data"]["name"] == error["message"]
    _lives(port)


@pytest.mark.requires("mcp.hostile-http")
def test_a_hundred_megabytes_are_refused_before_they_are_kept(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {100 * MIB}\r\n\r\n".encode())
        assert _answer(connection)[0] == 413
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 100 * MIB:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        assert sent < 100 * MIB
    status, told = _post(port, b"x" * (MESSAGE_BYTES_MAX + 1))
    assert (status, json.loads(told)["error"]["message"]) == (413, "BODY_TOO_LARGE")
    _lives(port)


@contextlib.contextmanager
def _stalling(port: int, *begun: bytes) -> Iterator[list[socket.socket]]:
    """Connect 40 times, and begin to send each in turn."""
    with contextlib.ExitStack() as stack:
        stalling = []
        for place in range(40):
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            stalling.append(stack.enter_context(connection))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(begun[place % len(begun)])
        yield stalling


@pytest.mark.requires("mcp.hostile-http")
def test_who_sends_a_head_slowly_is_cut_off_and_others_are_served(hasty_port: int) -> None:
    head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{hasty_port}\r\n".encode()
    with _stalling(hasty_port, b"", b"P", head) as slow:
        _lives(hasty_port, is_hasty=True)
        assert [_answer(connection)[0] for connection in slow] == [0] * 40
    _lives(hasty_port, is_hasty=True)


@pytest.mark.requires("mcp.hostile-http")
def test_who_sends_a_body_slowly_is_cut_off_and_others_are_served() -> None:
    with _http("--body", str(HASTE)) as port:
        head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        with _stalling(port, f"{head}content-length: 50\r\n\r\n{{".encode()) as slow:
            _lives(port, is_hasty=True)
            assert [_answer(connection)[0] for connection in slow] == [408] * 40
        _lives(port, is_hasty=True)


@pytest.mark.requires("mcp.hostile-http")
def test_any_bytes_on_the_socket_end_in_an_answer_or_a_close(hasty_port: int) -> None:
    for content in (b"\x16\x03\x01\x02\x00\x01", b"\n" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"A" * 200_000):
        with socket.create_connection(("127.0.0.1", hasty_port), timeout=PATIENCE) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(content)
            assert _answer(connection)[0] in (0, 400, 404, 405, 431, 421)
    _lives(hasty_port, is_hasty=True)


@pytest.mark.requires("mcp.host-origin")
def test_another_host_origin_method_or_path_is_refused(port: int) -> None:
    body = json.dumps(LIST).encode()
    assert _post(port, body, host="evil.example")[0] == 421
    assert _post(port, body, origin="http://evil.example")[0] == 403
    assert _post(port, body, content_type="text/plain")[0] == 400
    for method, path, status in (("GET", "/mcp", 405), ("DELETE", "/mcp", 405), ("GET", "/", 404)):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert _answer(connection)[0] == status
    _lives(port)


@pytest.mark.requires("mcp.lazy")
def test_no_other_verb_loads_the_protocols_package() -> None:
    code = (
        "import importlib, sys; from conclave.__main__ import VERBS, run; "
        "[importlib.import_module(module) for module, _ in VERBS.values()]; "
        "print([name for name in ('mcp', 'pydantic', 'starlette', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE, check=True)
    assert done.stdout.decode().strip() == "[]"
