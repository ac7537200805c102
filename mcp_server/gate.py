"""Who comes in over HTTP: tokens are given here and asked for here, at each request.

Owns the joining of pure checks with the ledger, the clock and the memory of what was used. Promises that a
request gets through only with a token of this server, a new proof of its key, and a key that the newest
verified state of the ledger still has; that nobody's bytes reach the ledger before a signature held; that who
has no key of the ledger takes no place of who has one; and that a clock that is set brings nothing back.
Source: docs/spec/mcp-auth.md.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import Code, Refused
from ledger.types import JsonObject
from mcp_server.auth import assertion, dpop, tokens
from mcp_server.auth.limits import (
    ASSERTION_SECONDS_MAX,
    CLOCK_SKEW_SECONDS,
    KEYS_KNOWN_MAX,
    PROOF_SECONDS_MAX,
    STRANGERS_WAITING_MAX,
    TOKEN_REQUESTS_PER_KEY_MAX,
    TOKEN_REQUESTS_WAITING_MAX,
    TOKEN_SECONDS_MAX,
)
from mcp_server.auth.metadata import Origin
from mcp_server.auth.replay import Replays
from mcp_server.auth.tokens import Mint, Token
from mcp_server.chain import Principal
from mcp_server.standing import Standings, check_standing
from mcp_server.turn import Turn

GRANT_TYPE = "client_credentials"
_FIELDS_MAX = 16
_ADMISSIONS_WAITING_MAX = 64
_KNOWN = ("grant_type", "client_assertion_type", "client_assertion", "client_id", "resource", "scope")
_SKEWS = 2 * CLOCK_SKEW_SECONDS


@dataclass(frozen=True, slots=True)
class Heads:
    """The headers that say who asks, each as often as it came."""

    authorization: Sequence[str]
    dpop: Sequence[str]


class Gate:
    """Gives tokens, and lets requests in that have one.

    Args:
        origin: the server as its clients call it.
        standings: what the ledger says of callers.
        turn: in which the ledger is read.
        clock: gives nanoseconds since the epoch.
        monotonic_ns: gives nanoseconds of a clock that nobody sets; None where nobody sets ``clock``.
    """

    def __init__(
        self,
        origin: Origin,
        standings: Standings,
        turn: Turn,
        clock: Callable[[], int],
        monotonic_ns: Callable[[], int] | None = None,
    ) -> None:
        self.origin = origin
        self._standings, self._turn, self._clock = standings, turn, clock
        self._monotonic_ns = monotonic_ns or clock
        self._mint, self._ahead_s = self._new_mint(), 0
        self._known: OrderedDict[str, None] = OrderedDict()
        self._asking: Counter[str] = Counter()
        self._proofs = Replays(PROOF_SECONDS_MAX + _SKEWS)
        self._assertions = Replays(ASSERTION_SECONDS_MAX + _SKEWS)

    async def admit(self, heads: Heads, method: str) -> Principal:
        """Let a request in; give whose it is.

        Raises:
            Refused: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, DPOP_INVALID, AUTH_REPLAYED, LIMIT_EXCEEDED;
                and as ``check_standing``.
            VerificationFailed, EnvironmentFault: the ledger cannot be read now.
        """
        now_s = self._now_s()
        text = _token_of(heads.authorization)
        token = self._mint.read(text, now_s=now_s)
        proof = dpop.read_proof(
            _one_proof(heads.dpop), method=method, url=self.origin.resource, now_s=now_s, token=text
        )
        tokens.check_bound(token, proof.thumbprint)
        self._proofs.use(token.key_id, f"{proof.thumbprint} {proof.jti}", self._steady_s())
        await self._check(token.did, token.key_id, "admissions", _ADMISSIONS_WAITING_MAX)
        return Principal(token.did, token.key_id)

    async def token(self, heads: Heads, form: bytes) -> JsonObject:
        """Answer a token request.

        Raises:
            Refused: FIELD_INVALID with the fact ``field``; ASSERTION_INVALID, DPOP_INVALID, AUTH_REPLAYED,
                LIMIT_EXCEEDED; as ``check_standing``.
            VerificationFailed, EnvironmentFault: the ledger cannot be read now.
        """
        now_s = self._now_s()
        given = _fields(form)
        _check_grant(given, self.origin)
        proof = dpop.read_proof(
            _one_proof(heads.dpop), method="POST", url=self.origin.token_endpoint, now_s=now_s
        )
        said = assertion.read_assertion(given["client_assertion"], issuer=self.origin.url, now_s=now_s)
        if given.get("client_id", said.did) != said.did:
            raise _bad_field("client_id", "the subject of the assertion, or nothing")
        await self._check_asking(said.did, said.key_id)
        # Only a key of the ledger may fill these memories, and only its own share.
        self._assertions.use(said.key_id, said.jti, self._steady_s())
        self._proofs.use(f"token {said.key_id}", f"{proof.thumbprint} {proof.jti}", self._steady_s())
        token = Token(said.did, said.key_id, proof.thumbprint)
        made = self._mint.give(token, jti=secrets.token_hex(16), now_s=now_s)
        return {"access_token": made, "token_type": "DPoP", "expires_in": TOKEN_SECONDS_MAX}

    async def _check(self, did: str, key_id: str, lane: str, waiting_max: int) -> None:
        await self._turn.take(lambda: check_standing(self._standings.of(did), key_id), lane, waiting_max)

    async def _check_asking(self, did: str, key_id: str) -> None:
        """Check who asks for a token: a key that got one before does not wait behind strangers."""
        is_known = key_id in self._known
        if is_known and self._asking[key_id] >= TOKEN_REQUESTS_PER_KEY_MAX:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got="one request more",
                expected=f"{TOKEN_REQUESTS_PER_KEY_MAX} requests for a token at a time",
                todo="wait for their answers",
            )
        lane = ("tokens", TOKEN_REQUESTS_WAITING_MAX) if is_known else ("strangers", STRANGERS_WAITING_MAX)
        self._asking[key_id] += is_known
        try:
            await self._check(did, key_id, *lane)
        except Refused:
            self._known.pop(key_id, None)
            raise
        finally:
            self._asking[key_id] -= is_known
            self._asking += Counter()
        self._known[key_id] = None
        self._known.move_to_end(key_id)
        while len(self._known) > KEYS_KNOWN_MAX:
            self._known.popitem(last=False)

    def _now_s(self) -> int:
        """Give the time; if the clock was set back by more than clocks may differ, all tokens are void."""
        now_s = self._clock() // 10**9
        ahead_s = now_s - self._steady_s()
        if ahead_s < self._ahead_s - CLOCK_SKEW_SECONDS:
            self._mint, self._ahead_s = self._new_mint(), ahead_s
        self._ahead_s = max(self._ahead_s, ahead_s)
        return now_s

    def _steady_s(self) -> int:
        return self._monotonic_ns() // 10**9

    def _new_mint(self) -> Mint:
        return Mint(self.origin.url, self.origin.resource, Ed25519PrivateKey.generate())


def _token_of(values: Sequence[str]) -> str:
    scheme, _, text = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "dpop":
        raise Refused(
            Code.TOKEN_MISSING,
            got="no token bound to a key",
            expected="one header: Authorization: DPoP TOKEN",
            todo="get a token at the token endpoint: see the metadata that this answer names",
        )
    return text


def _one_proof(values: Sequence[str]) -> str:
    if len(values) != 1:
        raise Refused(
            Code.DPOP_INVALID,
            got="no proof, or several",
            expected="one header: DPoP: PROOF",
            todo="prove for each request that you hold the key",
            field="dpop",
        )
    return values[0]


def _fields(form: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            form.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS_MAX
        )
    except ValueError:
        raise _bad_field("body", "a form, URL-encoded") from None
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= {*_KNOWN}:
        raise _bad_field("body", f"each once: {', '.join(_KNOWN)}")
    return found


def _check_grant(given: Mapping[str, str], origin: Origin) -> None:
    for name, expected in (
        ("grant_type", GRANT_TYPE),
        ("client_assertion_type", assertion.ASSERTION_TYPE),
    ):
        if given.get(name) != expected:
            raise _bad_field(name, expected)
    if "client_assertion" not in given:
        raise _bad_field("client_assertion", "a signed assertion")
    if given.get("resource", origin.resource) != origin.resource:
        raise _bad_field("resource", origin.resource)


def _bad_field(name: str, expected: str) -> Refused:
    return Refused(Code.FIELD_INVALID, got="something else", expected=expected, field=name)
