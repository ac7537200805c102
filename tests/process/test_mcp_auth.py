"""The MCP server with tokens, over real sockets, plain and TLS: agents, thieves and those who stall."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from ledger.errors import Code, Refused
from mcp_server.auth.client import TokenAuth
from mcp_server.auth.holder import Holder
from mcp_server.auth.metadata import Origin
from tests.support.certificates import self_signed
from tests.support.ledger import ALICE, ROBOT, Subject

COMMAND = [sys.executable, "-m", "tests.support.mcp_process"]
MODES = ("legacy", "2026-07-28")
PATIENCE = 120.0
HASTE = 1.0
"""The time of a server that is not patient."""
FORM = {"content-type": "application/x-www-form-urlencoded"}
LIST = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}}).encode()


class Running:
    """A server, and how to speak to it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, trusted: ssl.SSLContext | None) -> None:
        self.process, self.trusted = process, trusted
        self.origin = Origin(url.removesuffix("/mcp"))

    def holder(self, subject: Subject = ROBOT, did: str | None = None, late_s: int = 0) -> Holder:
        return Holder(did or subject.did, subject, self.origin, lambda: time.time_ns() + late_s * 10**9)

    def client(self, holder: Holder | None) -> httpx2.AsyncClient:
        auth = None if holder is None else TokenAuth(holder, time.monotonic)
        return httpx2.AsyncClient(auth=auth, verify=self.trusted or True, timeout=PATIENCE)

    def post(self, path: str, content: bytes, **headers: str) -> httpx2.Response:
        told = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx2.Client(verify=self.trusted or True, timeout=PATIENCE) as client:
            return client.post(self.origin.url + path, content=content, headers=told)

    def token(self, holder: Holder, **changed: str) -> httpx2.Response:
        proof = holder.proof("POST", self.origin.token_endpoint)
        return self.post("/token", holder.form(**changed), dpop=proof, content_type=FORM["content-type"])

    def ask(self, token: str, proof: str) -> httpx2.Response:
        return self.post("/mcp", LIST, authorization=f"DPoP {token}", dpop=proof)


@contextlib.contextmanager
def running(*mode: str, trusted: ssl.SSLContext | None = None) -> Iterator[Running]:
    """Start a server; it must have lived, and printed no traceback, until the end."""
    process = subprocess.Popen([*COMMAND, *mode], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    try:
        yield Running(process, json.loads(process.stderr.readline())["url"], trusted)
        assert process.poll() is None, "the server died"
    finally:
        process.terminate()
        told = process.communicate(timeout=PATIENCE)[1].decode()
    assert "raceback" not in told


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running("gate") as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))[0]


@pytest.fixture(scope="module")
def secured(authority: Path) -> Iterator[Running]:
    trusted = ssl.create_default_context(cafile=authority)
    key = authority.parent / "key.pem"
    with running("tls", str(authority), str(key), trusted=trusted) as found:
        yield found


def work_with(server: Running, holder: Holder | None, mode: str, work: Callable[[Client], Any]) -> None:
    async def run() -> None:
        async with server.client(holder) as http:
            transport = streamable_http_client(server.origin.resource, http_client=http)
            async with Client(transport, mode=mode, read_timeout_seconds=PATIENCE) as client:
                await work(client)

    anyio.run(run)


async def reads(client: Client) -> None:
    assert len((await client.list_tools()).tools) >= 10
    found = await client.call_tool("get_releases", {"release": "guestbook"})
    assert found.structured_content is not None
    assert found.structured_content["items"][0]["revision"] == 3
    assert "FIELD_INVALID" in (await client.call_tool("get_releases", {"limit": True})).model_dump_json()
    assert "guestbook" in (await client.read_resource("conclave://cluster/east")).model_dump_json()


@pytest.mark.requires("mcp.principal")
@pytest.mark.parametrize("mode", MODES)
def test_an_agent_works_over_http_with_tokens(server: Running, mode: str) -> None:
    work_with(server, server.holder(), mode, reads)


@pytest.mark.requires("mcp.tls")
@pytest.mark.parametrize("mode", MODES)
def test_an_agent_works_over_tls(secured: Running, mode: str) -> None:
    assert secured.origin.url.startswith("https://")
    work_with(secured, secured.holder(), mode, reads)


@pytest.mark.requires("mcp.principal")
@pytest.mark.parametrize("mode", MODES)
def test_an_agent_works_over_streams(mode: str) -> None:
    async def run() -> None:
        target = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "agent"])
        async with Client(target, mode=mode, read_timeout_seconds=PATIENCE) as client:
            await reads(client)

    anyio.run(run)


@pytest.mark.requires("mcp.auth-gate")
def test_without_a_token_nothing_is_served_and_the_way_is_told(server: Running) -> None:
    refused = server.post("/mcp", LIST)
    assert refused.status_code == 401
    assert refused.json()["conclave"]["name"] == "TOKEN_MISSING"
    challenge = refused.headers["www-authenticate"]
    with httpx2.Client(timeout=PATIENCE) as client:
        metadata = client.get(challenge.split('resource_metadata="')[1].split('"')[0]).json()
        assert metadata["resource"] == server.origin.resource
        (issuer,) = metadata["authorization_servers"]
        told = client.get(f"{issuer}/.well-known/oauth-authorization-server").json()
        assert told["token_endpoint"] == server.origin.token_endpoint
        for path in ("/token", "/mcp"):
            assert client.get(issuer + path).status_code == 405
        assert client.get(issuer + "/other").status_code == 404
        evil = {"host": "evil.example"}
        for path in ("/.well-known/oauth-authorization-server", "/token", "/mcp"):
            assert client.get(issuer + path, headers=evil).status_code == 421
    assert server.post("/mcp", LIST, authorization="Bearer x.y.z").status_code == 401


@pytest.mark.requires("mcp.auth-red")
def test_spoofed_stolen_replayed_and_misdirected_credentials_are_refused(server: Running) -> None:
    robot, thief = server.holder(), server.holder(ALICE, ROBOT.did)

    def refused(answer: httpx2.Response, code: Code, status: int = 401) -> None:
        assert (answer.status_code, answer.json()["conclave"]["name"]) == (status, code.name), answer.text

    refused(server.token(thief), Code.KEY_NOT_OF_SIGNER)
    refused(server.token(server.holder(ALICE)), Code.VERB_NOT_ALLOWED)
    refused(server.token(server.holder(Subject("mallory", "agent", "z"))), Code.SIGNER_UNKNOWN)
    refused(server.token(server.holder(late_s=-3600)), Code.DPOP_INVALID, 400)
    old = server.holder(late_s=-3600).assertion()
    refused(server.token(robot, client_assertion=old), Code.ASSERTION_INVALID)
    assertion = robot.assertion()
    token = server.token(robot, client_assertion=assertion).json()["access_token"]
    refused(server.token(robot, client_assertion=assertion), Code.AUTH_REPLAYED, 400)

    url = server.origin.resource
    proof = robot.proof("POST", url, token)
    assert server.ask(token, proof).status_code == 200
    refused(server.ask(token, proof), Code.AUTH_REPLAYED)
    refused(server.ask(token, thief.proof("POST", url, token)), Code.DPOP_INVALID)
    refused(server.ask(token, robot.proof("POST", url, "another")), Code.DPOP_INVALID)
    refused(server.ask(token, robot.proof("POST", "https://other.example/mcp", token)), Code.DPOP_INVALID)
    refused(server.ask(token[:-8] + "AAAAAAAA", robot.proof("POST", url, token)), Code.TOKEN_INVALID)
    with running("gate") as other:
        foreign = other.token(other.holder()).json()["access_token"]
    refused(server.ask(foreign, robot.proof("POST", url, foreign)), Code.TOKEN_INVALID)
    assert server.post("/token", b"x" * 20_000, content_type=FORM["content-type"]).status_code == 413
    refused(server.post("/token", b"{}"), Code.FIELD_INVALID, 400)
    assert server.ask(token, robot.proof("POST", url, token)).status_code == 200


@pytest.mark.requires("mcp.auth-revoked")
def test_a_key_revoked_on_the_ledger_ends_the_work_of_a_client() -> None:
    with running("gate") as server:

        async def until_revoked(client: Client) -> None:
            await client.list_tools()
            assert not (await client.call_tool("get_clusters", {})).is_error
            server.process.send_signal(signal.SIGUSR1)
            with anyio.fail_after(PATIENCE):
                while True:
                    await client.call_tool("get_clusters", {})
                    await anyio.sleep(0.05)

        with pytest.raises(BaseExceptionGroup) as raised:
            work_with(server, server.holder(), MODES[1], until_revoked)
        refusal = _refusal_in(raised.value)
        assert refusal is not None
        assert refusal.code is Code.KEY_NOT_ACTIVE


def _refusal_in(group: BaseException) -> Refused | None:
    if isinstance(group, BaseExceptionGroup):
        return next((found for inner in group.exceptions if (found := _refusal_in(inner))), None)
    return group if isinstance(group, Refused) else None


@pytest.mark.requires("mcp.tls")
def test_only_tls_13_is_spoken(secured: Running) -> None:
    assert secured.trusted is not None
    host, port = secured.origin.url.removeprefix("https://").split(":")
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
        secured.trusted.wrap_socket(plain, server_hostname=host) as spoken,
    ):
        assert spoken.version() == "TLSv1.3"
    untrusting = ssl.create_default_context()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as plain, pytest.raises(ssl.SSLError):
        untrusting.wrap_socket(plain, server_hostname=host)


@pytest.mark.requires("mcp.tls")
def test_who_stalls_a_handshake_or_speaks_plainly_is_cut_off(authority: Path) -> None:
    key = authority.parent / "key.pem"
    trusted = ssl.create_default_context(cafile=authority)
    mode = ("--head", str(HASTE), "tls", str(authority), str(key))
    with running(*mode, trusted=trusted) as hasty, contextlib.ExitStack() as stack:
        host, port = hasty.origin.url.removeprefix("https://").split(":")
        stalled = []
        for begun in [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"] * 14:
            connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
            stalled.append(stack.enter_context(connection))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(begun)
        assert serves(hasty)
        for connection in stalled:
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
        assert serves(hasty)


def serves(hasty: Running) -> bool:
    """Tell whether a server without patience serves who is not late itself, sooner or later."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.NetworkError, httpx2.RemoteProtocolError):
            return hasty.token(hasty.holder()).status_code == 200
    return False


@pytest.mark.requires("mcp.connect")
@pytest.mark.parametrize("mode", MODES)
def test_a_client_over_streams_works_with_a_server_over_tls(
    secured: Running, authority: Path, mode: str
) -> None:
    async def run() -> None:
        arguments = ["-m", "tests.support.mcp_connect", secured.origin.resource, str(authority)]
        target = StdioServerParameters(command=sys.executable, args=arguments)
        async with Client(target, mode=mode, read_timeout_seconds=PATIENCE) as client:
            await reads(client)

    anyio.run(run)


@pytest.mark.requires("mcp.connect")
def test_a_line_is_answered_where_no_server_is_and_where_it_is_not_trusted(
    secured: Running, authority: Path
) -> None:
    # Held, so that nobody else listens there either.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        nobody = f"https://127.0.0.1:{holder.getsockname()[1]}"
        lines = b"not json\n" + LIST + b"\n" + b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        other, _ = self_signed(authority.parent / "other")
        for url, trusting in ((nobody, authority), (secured.origin.url, other)):
            command = [sys.executable, "-m", "tests.support.mcp_connect", url, str(trusting)]
            done = subprocess.run(command, input=lines, capture_output=True, timeout=PATIENCE, check=True)
            answers = [json.loads(line) for line in done.stdout.splitlines()]
            assert sorted((str(a["id"]), a["error"]["data"]["name"]) for a in answers) == [
                ("7", "RPC_UNREACHABLE"),
                ("None", "BODY_NOT_JSON"),
            ]
            assert b"raceback" not in done.stderr
