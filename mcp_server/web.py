"""The server over streamable HTTP: what a request must be before the protocol sees it.

Owns the paths and the order of the checks: Host and Origin, who asks, size, time, form. Promises that a
client that sends slowly, much or nonsense gets an answer or a clean close in bounded time and memory, that
the next one is served, that with a gate nothing of the protocol is reached without it, and that whatever is
refused has a code of ours and is counted. Holds no session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import anyio
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.types import JsonObject
from mcp_server import framing, gate_answers, rewording
from mcp_server.auth import metadata
from mcp_server.auth.limits import FORM_BYTES_MAX
from mcp_server.auth.metadata import Origin
from mcp_server.gate import Gate, Heads
from mcp_server.pruning import dump
from mcp_server.server import PRINCIPAL_SCOPE_KEY

PATH = metadata.MCP_PATH
BODY_SECONDS_MAX = 10.0
REQUEST_SECONDS_MAX = 90.0
"""Longer than a call waits and runs; a client that does not read its answer is cut off."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_CLOSE = {"connection": "close"}
_FORM = "application/x-www-form-urlencoded"


def security_of(origin: Origin | None) -> TransportSecuritySettings:
    """Give which Host and Origin headers pass: the server's own; on loopback any of its names."""
    parts = urlsplit(origin.url) if origin is not None else None
    if parts is None or parts.scheme == "http":
        return TransportSecuritySettings(
            allowed_hosts=[f"{host}:*" for host in _LOOPBACK],
            allowed_origins=[f"http://{host}:*" for host in _LOOPBACK],
        )
    default = {"https": 443}[parts.scheme]
    names = {parts.netloc} | ({f"{parts.netloc}:{default}"} if parts.port is None else set())
    names |= {parts.netloc.removesuffix(f":{default}")} if parts.port == default else set()
    return TransportSecuritySettings(
        allowed_hosts=sorted(names), allowed_origins=sorted(f"https://{name}" for name in names)
    )


class CountsRefusals(Protocol):
    """Told of each request that is not let in."""

    def refused(self, code: Code) -> None:
        """Count one; takes no time."""
        ...


class Front:
    """Lets through what is a message from here, in time; ``check`` says what a message is.

    Args:
        app: the protocol.
        check: refuses what is no message.
        gate: lets in who is known; None where nobody has to be.
        security: which Host and Origin pass.
        door: counts who is not let in.
    """

    def __init__(
        self,
        app: ASGIApp,
        check: Callable[[bytes], object] = framing.check,
        gate: Gate | None = None,
        security: TransportSecuritySettings | None = None,
        door: CountsRefusals | None = None,
    ) -> None:
        self._check, self._gate, self._door = check, gate, door
        self._app = rewording.Reworded(app, self._counted)
        self._security = TransportSecurityMiddleware(security or security_of(None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        # Not the URL's, which a Host header is part of.
        if scope["path"] == PATH:
            found: Response | bytes | None = await self._message(request)
        else:
            found = await self._elsewhere(request)
        if isinstance(found, bytes):
            with anyio.move_on_after(REQUEST_SECONDS_MAX):
                await self._app(scope, _again(found, receive), send)
        elif found is not None:
            await found(scope, receive, send)

    async def _message(self, request: Request) -> Response | bytes | None:
        """Give the message of a request, or the answer to what is none or is not let in."""
        refused = await self._from_here(request, is_json=request.method == "POST")
        if refused is not None:
            return refused
        if request.method != "POST":
            return self._not_this_method("POST")
        if self._gate is not None:
            gate = self._gate
            try:
                request.scope[PRINCIPAL_SCOPE_KEY] = await gate.admit(_heads(request), "POST")
            except ConclaveError as error:
                self._count(error)
                return _answer(gate_answers.at_resource(error, gate.origin))
        found = await self._read(request, framing.MESSAGE_BYTES_MAX)
        if isinstance(found, bytes):
            try:
                self._check(found)
            except Refused as error:
                self._count(error)
                return _told(400, error)
        return found

    async def _elsewhere(self, request: Request) -> Response | None:
        """Answer a request for metadata or for a token."""
        refused = await self._from_here(request, is_json=False)
        if refused is not None:
            return refused
        gate = self._gate
        path = request.scope["path"]
        if gate is None:
            return self._refused(404)
        if path == metadata.TOKEN_PATH:
            is_post = request.method == "POST"
            return await self._token(gate, request) if is_post else self._not_this_method("POST")
        known = _METADATA.get(path)
        if known is None:
            return self._refused(404)
        return _json(200, known(gate.origin)) if request.method == "GET" else self._not_this_method("GET")

    async def _token(self, gate: Gate, request: Request) -> Response | None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _FORM:
            wrong = Refused(
                Code.FIELD_INVALID, got="another type", expected=f"content-type: {_FORM}", field="body"
            )
            self._count(wrong)
            return _answer(gate_answers.at_token_endpoint(wrong))
        form = await self._read(request, FORM_BYTES_MAX)
        if not isinstance(form, bytes):
            return form
        try:
            made = await gate.token(_heads(request), form)
        except ConclaveError as error:
            self._count(error)
            return _answer(gate_answers.at_token_endpoint(error))
        return _json(200, made, {"cache-control": "no-store"})

    async def _from_here(self, request: Request, *, is_json: bool) -> Response | None:
        refused = await self._security.validate_request(request, is_post=is_json)
        if refused is None:
            return None
        return self._refused(refused.status_code, 415 if refused.status_code == 400 else None)

    def _not_this_method(self, allowed: str) -> Response:
        return self._refused(405, headers={"allow": allowed})

    def _refused(
        self, status: int, meaning: int | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Count and answer what is no message by its status, or by another that says better what is wrong."""
        error = rewording.of_status(meaning or status)
        self._count(error)
        return _json(status, rewording.refusal(error), {**(headers or {}), **_CLOSE})

    async def _read(self, request: Request, bytes_max: int) -> Response | bytes | None:
        """Give a request's body, or the answer to one too large or slow; None where the client is gone."""
        try:
            with anyio.fail_after(BODY_SECONDS_MAX):
                return await _body(request, bytes_max)
        except TimeoutError:
            late = EnvironmentFault(Code.TIMEOUT, got="no end", expected="the whole body")
            self._count(late)
            return _told(408, late)
        except Refused as error:
            self._count(error)
            return _told(413, error)
        except ClientDisconnect:
            return None

    def _count(self, error: ConclaveError) -> None:
        self._counted(error.code)

    def _counted(self, code: Code) -> None:
        if self._door is not None:
            self._door.refused(code)


_METADATA: dict[str, Callable[[Origin], JsonObject]] = {
    metadata.RESOURCE_PATH: metadata.protected_resource,
    metadata.RESOURCE_PATH + PATH: metadata.protected_resource,
    metadata.SERVER_PATH: metadata.authorization_server,
}


def _heads(request: Request) -> Heads:
    return Heads(request.headers.getlist("authorization"), request.headers.getlist("dpop"))


async def _body(request: Request, bytes_max: int) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > bytes_max:
        raise framing.too_large(bytes_max)
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > bytes_max:
            raise framing.too_large(bytes_max)
    return bytes(found)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _told(status: int, error: ConclaveError) -> Response:
    return _json(status, framing.refusal(error), _CLOSE)


def _answer(told: gate_answers.Told) -> Response:
    return _json(told.status, told.content, {**told.headers, **_CLOSE})


def _json(status: int, content: JsonObject, headers: dict[str, str] | None = None) -> Response:
    return Response(dump(content), status, headers, media_type="application/json")


def application(server: Server[Any], gate: Gate | None = None, door: CountsRefusals | None = None) -> ASGIApp:
    """Give the ASGI application; without a gate it is for loopback alone."""
    security = security_of(None if gate is None else gate.origin)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=framing.MESSAGE_BYTES_MAX,
        transport_security=security,
    )
    return Front(app, gate=gate, security=security, door=door)
