"""Errors that the protocol's package makes, told in our own words.

Owns what stands in place of its texts. Promises that whatever this server answers has a code of ours beside
the protocol's own, that no library's text and no value of a caller's comes back in it, and that what a client
needs to go on (the revisions that are served) is kept. What is ours, and every result, passes as it is.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import mcp_types as types
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.errors import Code, Refused
from ledger.types import JsonObject
from mcp_server.pruning import dump
from mcp_server.refusals import error_json, internal_json

LOOKED_AT = 1024
"""Where in an answer its error begins, if it is one: after an id, which is bounded."""
_MARK = '"error":'
_REVISION = re.compile(r"v?[0-9]{1,4}(?:[.-][0-9]{1,4}){0,3}")
_CANCELLED = -32800
_KNOWN: dict[int, tuple[Code, str, str]] = {
    types.METHOD_NOT_FOUND: (Code.NAME_UNKNOWN, "method", "a method that this server has"),
    types.INVALID_PARAMS: (Code.FIELD_INVALID, "params", "the parameters of the method, _meta with them"),
    types.INVALID_REQUEST: (Code.FIELD_INVALID, "message", "a request of the revision spoken"),
    types.PARSE_ERROR: (Code.BODY_NOT_JSON, "message", "JSON"),
    types.HEADER_MISMATCH: (Code.FIELD_INVALID, "headers", "headers that say what the message says"),
    types.MISSING_REQUIRED_CLIENT_CAPABILITY: (
        Code.FIELD_MISSING,
        "params._meta",
        "a client that declares what the method needs",
    ),
    types.UNSUPPORTED_PROTOCOL_VERSION: (
        Code.FIELD_INVALID,
        "protocolVersion",
        "a revision of the protocol that is served",
    ),
    _CANCELLED: (Code.TIMEOUT, "", "a request that is not taken back"),
}
Count = Callable[[Code], None]
_log = logging.getLogger("conclave.mcp")


def nobody(code: Code) -> None:
    """Count nothing."""
    del code


def reworded(text: str, count: Count = nobody) -> str:
    """Give an answer as it is sent; ``count`` is told of each error that is told anew."""
    if _MARK not in text[:LOOKED_AT]:
        return text
    try:
        message = json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        # Nothing that anybody asked for is so deep.
        count(Code.LIMIT_EXCEEDED)
        fault = {"code": types.INTERNAL_ERROR, "message": "INTERNAL", "data": internal_json()}
        return dump({"jsonrpc": "2.0", "id": None, "error": fault})
    error = message.get("error") if type(message) is dict else None
    if type(error) is not dict or _is_ours(error.get("data")):
        return text
    number = error.get("code")
    told, code = _told(number if type(number) is int else 0, error.get("data"))
    if code is not None:
        count(code)
    message["error"] = told
    return dump(message)


def of_status(status: int) -> Refused:
    """Give the refusal that an answer without a message stands for, by its HTTP status."""
    code, field, expected = {
        403: (Code.FIELD_INVALID, "origin", "an Origin of this server, or none"),
        404: (Code.NAME_UNKNOWN, "path", "a path of this server"),
        405: (Code.FIELD_INVALID, "method", "the method that the header Allow names"),
        406: (Code.FIELD_INVALID, "accept", "Accept: application/json, text/event-stream"),
        415: (Code.FIELD_INVALID, "content-type", "Content-Type: application/json"),
        421: (Code.FIELD_INVALID, "host", "a Host of this server"),
    }.get(status, (Code.FIELD_INVALID, "request", "a request of HTTP/1.1 that this server serves"))
    return Refused(code, got="something else", expected=expected, field=field)


def refusal(error: Refused) -> JsonObject:
    """Give the body of an answer to a request that is no message."""
    return {"jsonrpc": "2.0", "id": None, "error": _as_error(types.INVALID_REQUEST, error_json(error))}


class Reworded:
    """An application whose errors are told in our words."""

    def __init__(self, app: ASGIApp, count: Count = nobody) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._count)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            if answer.is_begun:
                raise
            _log.exception("a request failed in the protocol's package")
            await answer.broken()


class _Answer:
    """Holds the start of an answer until its body says whether it is told anew."""

    def __init__(self, send: Send, count: Count) -> None:
        self._send, self._count = send, count
        self._start: Message | None = None
        self.is_begun = False

    async def send(self, message: Message) -> None:
        """Send on what a whole body in JSON, or none of an error, becomes; anything else as it is."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        kind, is_whole = _header(start, b"content-type"), not message.get("more_body", False)
        body = message.get("body", b"")
        if is_whole and kind.startswith(b"application/json"):
            body = reworded(body.decode("utf-8", "replace"), self._count).encode()
        elif is_whole and start["status"] >= 400:
            refused = of_status(start["status"])
            self._count(refused.code)
            body = dump(refusal(refused)).encode()
            start["headers"] = [*_without(start, b"content-type"), (b"content-type", b"application/json")]
        if is_whole and body != message.get("body", b""):
            length = (b"content-length", str(len(body)).encode())
            start["headers"] = [*_without(start, b"content-length"), length]
        self.is_begun = True
        await self._send(start)
        await self._send({**message, "body": body})

    async def broken(self) -> None:
        """Say that it is a fault of ours."""
        told = {"jsonrpc": "2.0", "id": None, "error": _as_error(types.INTERNAL_ERROR, internal_json())}
        body = dump(told).encode()
        heads = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        heads.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": 500, "headers": heads})
        await self._send({"type": "http.response.body", "body": body})


def _told(number: int, data: Any) -> tuple[JsonObject, Code | None]:
    known = _KNOWN.get(number)
    if known is None:
        return _as_error(number, internal_json()), None
    code, field, expected = known
    told = error_json(Refused(code, got="something else", expected=expected, field=field or None))
    if number == types.UNSUPPORTED_PROTOCOL_VERSION and type(data) is dict:
        asked = data.get("requested")
        # The protocol wants both back; what was asked for where it is a date or a version: that says nothing.
        told["requested"] = asked if type(asked) is str and _REVISION.fullmatch(asked) else ""
        told["supported"] = data.get("supported", [])
    if number == types.MISSING_REQUIRED_CLIENT_CAPABILITY and type(data) is dict:
        told["requiredCapabilities"] = data.get("requiredCapabilities", {})
    return _as_error(number, told), code


def _as_error(number: int, told: JsonObject) -> JsonObject:
    return {"code": number, "message": told["name"], "data": told}


def _is_ours(data: Any) -> bool:
    return type(data) is dict and {"code", "name"} <= data.keys()


def _header(start: Message, name: bytes) -> bytes:
    return next((value for key, value in start.get("headers", ()) if key.lower() == name), b"")


def _without(start: Message, name: bytes) -> list[tuple[bytes, bytes]]:
    return [(key, value) for key, value in start.get("headers", ()) if key.lower() != name]
