"""A server over HTTP for a client over streams: each line goes there with a token and a proof.

Owns the way of a message and its answer. Promises that a line has an answer whatever becomes of it on the
way, with a code, and that nothing goes to another place than the server named.
"""

from __future__ import annotations

import ipaddress
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)

from ledger import canonical
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.limits import MIB
from ledger.types import Json, JsonObject
from mcp_server import framing, pipes
from mcp_server.auth.client import TokenAuth, refusal_of
from mcp_server.auth.holder import Holder, Signs
from mcp_server.auth.metadata import MCP_PATH, Origin
from mcp_server.pruning import dump

ANSWER_BYTES_MAX = 4 * MIB
SECONDS_MAX = 120.0
AT_ONCE_MAX = 16
_VERSION = "io.modelcontextprotocol/protocolVersion"
_INTERNAL_ERROR = -32603


def origin_of(url: str) -> Origin:
    """Give the server that a URL names, with or without the endpoint's path.

    Raises:
        Refused: USAGE, where what is sent could be read on the way.
    """
    plain = url.rstrip("/").removesuffix(MCP_PATH)
    try:
        parts = urlsplit(plain)
        fits = plain == f"{parts.scheme}://{parts.netloc}" and bool(parts.hostname)
        fits = fits and "@" not in parts.netloc and parts.port != 0
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    except ValueError:
        fits = is_safe = False
    if not (fits and is_safe):
        raise Refused(
            Code.USAGE,
            got="another URL",
            expected="https://NAME:PORT; http only on loopback",
            todo="give the URL that the server tells when it starts",
        )
    return Origin(plain.lower())


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def trusted(authority: Path | None) -> ssl.SSLContext:
    """Give what server certificates are judged by: an authority's, or the machine's own.

    Raises:
        EnvironmentFault: KEY_FILE_INVALID.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise EnvironmentFault(
            Code.KEY_FILE_INVALID,
            got=f"{authority}: {type(error).__name__}",
            expected="certificates of an authority, in PEM",
            file=str(authority),
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def headers_of(message: JsonObject, negotiated: str | None) -> dict[str, str]:
    """Give the headers that go with a message; ``negotiated`` is the revision of an older handshake."""
    found = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    params = message.get("params", {})
    meta = params.get("_meta")
    version = meta.get(_VERSION) if type(meta) is dict else None
    if type(version) is not str:
        return found | ({MCP_PROTOCOL_VERSION_HEADER: negotiated} if negotiated else {})
    found |= {
        MCP_PROTOCOL_VERSION_HEADER: encode_header_value(version),
        MCP_METHOD_HEADER: encode_header_value(message["method"]),
    }
    name = params.get(NAME_BEARING_METHODS.get(message["method"], ""))
    return found | ({MCP_NAME_HEADER: encode_header_value(name)} if type(name) is str else {})


class Proxy:
    """Carries messages to a server and answers back."""

    def __init__(self, http: httpx2.AsyncClient, url: str, output: pipes.Output) -> None:
        self._http, self._url, self._output = http, url, output
        self._negotiated: str | None = None

    async def carry(self, line: str) -> None:
        """Carry one message; its answer is written, whatever it is."""
        message = framing.check(line.strip().encode())
        try:
            answer = await self._asked(message, line)
        except ConclaveError as error:
            answer = _failed(error)
        if "id" in message:
            await self._output.write(dump({**(answer or {}), "id": message["id"]}) + "\n")

    async def _asked(self, message: JsonObject, line: str) -> JsonObject | None:
        headers = headers_of(message, self._negotiated)
        try:
            with anyio.fail_after(SECONDS_MAX):
                request = self._http.build_request("POST", self._url, content=line.encode(), headers=headers)
                response = await self._http.send(request, stream=True)
                try:
                    content = await _content(response)
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, TimeoutError) as error:
            raise EnvironmentFault(
                Code.RPC_UNREACHABLE,
                got=type(error).__name__,
                expected="an answer of the server",
                todo="check that it runs, its URL, and --ca",
            ) from None
        answer = _read(response.status_code, content)
        if message["method"] == "initialize" and answer is not None:
            result = answer.get("result")
            version = result.get("protocolVersion") if type(result) is dict else None
            self._negotiated = version if type(version) is str else None
        return answer


async def _content(response: httpx2.Response) -> bytes:
    found = bytearray()
    async for chunk in response.aiter_bytes():
        found += chunk
        if len(found) > ANSWER_BYTES_MAX:
            raise EnvironmentFault(
                Code.RPC_ANSWER_TOO_LARGE, got="more", expected=f"at most {ANSWER_BYTES_MAX} bytes"
            )
    return bytes(found)


def _read(status: int, content: bytes) -> JsonObject | None:
    """Read what a server answered; nothing where a notification was taken."""
    if status in (202, 204):
        return None
    try:
        told: Json = canonical.parse(content)
    except Refused:
        told = None
    if type(told) is dict and told.get("jsonrpc") == "2.0" and ("result" in told or "error" in told):
        return told
    raise refusal_of(told, status)


def _failed(error: ConclaveError) -> JsonObject:
    data = {"code": int(error.code), "name": error.code.name, "expected": error.expected, "todo": error.todo}
    told = {"code": _INTERNAL_ERROR, "message": error.code.name, "data": data}
    return {"jsonrpc": "2.0", "error": told}


async def _run(holder: Holder, authority: ssl.SSLContext) -> None:
    output = pipes.wire()
    auth = TokenAuth(holder, time.monotonic)
    async with (
        httpx2.AsyncClient(auth=auth, verify=authority, timeout=SECONDS_MAX, trust_env=False) as http,
        anyio.create_task_group() as group,
    ):
        proxy, places = Proxy(http, holder.origin.resource, output), anyio.Semaphore(AT_ONCE_MAX)

        async def carry(line: str) -> None:
            try:
                await proxy.carry(line)
            finally:
                places.release()

        async for line in pipes.Input(sys.stdin.buffer, output):
            await places.acquire()
            group.start_soon(carry, line)


def run(url: str, did: str, signer: Signs, authority: Path | None) -> None:
    """Carry messages between standard streams and a server until the input ends.

    Args:
        url: of the server.
        did: the agent's.
        signer: an ed25519 key of it.
        authority: certificates that the server's is judged by; None for the machine's own.

    Raises:
        Refused: USAGE.
        EnvironmentFault: KEY_FILE_INVALID.
    """
    holder = Holder(did, signer, origin_of(url), time.time_ns)
    context = trusted(authority)
    pipes.work(lambda: _run(holder, context))
