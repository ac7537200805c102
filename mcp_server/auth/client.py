"""Tokens for an HTTP client: asked for when there is none, renewed before they end.

Promises that a token goes to the server it was given by alone, and that a request is tried again once, with a
new token, where the old one was not taken.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import anyio
import httpx2

from ledger import canonical
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import KIB
from ledger.types import Json
from mcp_server.auth.holder import Holder

RENEW_SECONDS = 60
_ANSWER_BYTES_MAX = 16 * KIB
_TEXT_CHARACTERS_MAX = 300
_CODES = frozenset(int(code) for code in Code)


class TokenAuth(httpx2.Auth):
    """Puts a token and a proof to each request."""

    def __init__(self, holder: Holder, monotonic: Callable[[], float]) -> None:
        self._holder, self._monotonic = holder, monotonic
        self._token, self._until = "", 0.0
        self._turn = anyio.Lock()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Give the requests that one request comes to.

        Raises:
            Refused: the server's own refusal of a token.
            EnvironmentFault: RPC_ANSWER_INVALID for an answer that is none.
        """
        if str(request.url) != self._holder.origin.resource:
            raise Refused(Code.USAGE, got="another URL", expected=self._holder.origin.resource)
        for attempt in range(2):
            async with self._turn:
                if attempt or self._monotonic() >= self._until:
                    response = yield self._token_request()
                    self._take(response.status_code, await _content(response))
                token = self._token
            request.headers["authorization"] = f"DPoP {token}"
            request.headers["dpop"] = self._holder.proof(request.method, str(request.url), token)
            response = yield request
            if response.status_code != 401:
                return

    def _token_request(self) -> httpx2.Request:
        url = self._holder.origin.token_endpoint
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "dpop": self._holder.proof("POST", url),
        }
        return httpx2.Request("POST", url, content=self._holder.form(), headers=headers)

    def _take(self, status: int, content: bytes) -> None:
        """Keep the token of an answer."""
        try:
            told = canonical.parse(content)
        except Refused:
            told = None
        if type(told) is not dict:
            raise _no_answer(status)
        if status != 200:
            raise refusal_of(told, status)
        token, seconds = told.get("access_token"), told.get("expires_in")
        if type(token) is not str or type(seconds) is not int or told.get("token_type") != "DPoP":
            raise _no_answer(status)
        self._token, self._until = token, self._monotonic() + max(0, seconds - RENEW_SECONDS)


async def _content(response: httpx2.Response) -> bytes:
    length = response.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 9 and int(length) <= _ANSWER_BYTES_MAX):
        raise _no_answer(response.status_code)
    return await response.aread()


def refusal_of(told: Json, status: int) -> Refused | EnvironmentFault:
    """Give the refusal that a server told, by its own code; RPC_ANSWER_INVALID where it told none."""
    ours = told.get("conclave") if type(told) is dict else None
    if type(ours) is not dict or ours.get("code") not in _CODES:
        return _no_answer(status)
    return Refused(
        Code(ours["code"]),
        got="a refusal of the server",
        expected=str(ours.get("expected", ""))[:_TEXT_CHARACTERS_MAX],
        todo=str(ours.get("todo", ""))[:_TEXT_CHARACTERS_MAX],
    )


def _no_answer(status: int) -> EnvironmentFault:
    return EnvironmentFault(
        Code.RPC_ANSWER_INVALID,
        got=f"status {status}",
        expected="a token, or a refusal with a code",
        todo="check that the URL is of a conclave MCP server",
    )
