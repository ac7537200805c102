"""Access tokens: who, by which key on the ledger, for which server, bound to which key, until when.

Owns their form. Promises that a token is good for ten minutes at most, for this server alone, and only in the
hand of who holds the key it was given for. The key that signs them lives as long as the process: a new start
makes all tokens void. Source: RFC 9068 §2; RFC 9449 §6; docs/spec/mcp-auth.md §3.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import Code, Refused
from ledger.types import Did, JsonObject
from mcp_server.auth import jose
from mcp_server.auth.jose import EDDSA, Kind
from mcp_server.auth.limits import CLOCK_SKEW_SECONDS, TOKEN_SECONDS_MAX, TOKENS_KNOWN_MAX

TYPE = "at+jwt"
_TODO = "ask the token endpoint for a new one"
_KIND = Kind(Code.TOKEN_INVALID, (TYPE,), (EDDSA,), _TODO)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says."""

    did: Did
    key_id: str
    thumbprint: str


@dataclass(frozen=True, slots=True)
class Mint:
    """Gives and reads tokens of one server.

    Attributes:
        issuer: the server, as a URL.
        resource: what its tokens are for.
        private: signs them.
    """

    issuer: str
    resource: str
    private: Ed25519PrivateKey = field(repr=False)
    _public: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_public", self.private.public_key().public_bytes_raw())

    def give(self, token: Token, *, jti: str, now_s: int) -> str:
        """Make a token that is good from now on."""
        claims = {
            "iss": self.issuer,
            "sub": token.did,
            "client_id": token.did,
            "aud": self.resource,
            "iat": now_s,
            "exp": now_s + TOKEN_SECONDS_MAX,
            "jti": jti,
            "cnf": {"jkt": token.thumbprint},
            "key_id": token.key_id,
        }
        return jose.sign(claims, self.private, {"typ": TYPE})

    def read(self, text: str, *, now_s: int) -> Token:
        """Read a token.

        Raises:
            Refused: TOKEN_INVALID with the fact ``field``; TOKEN_EXPIRED.
        """
        claims = _opened(text, self._public)
        if claims.get("iss") != self.issuer:
            raise _KIND.refuse("iss", self.issuer)
        jose.check_audience(claims, self.resource, _KIND)
        made_s, ends_s = jose.time_of(claims, "iat", _KIND), jose.time_of(claims, "exp", _KIND)
        if made_s > now_s + CLOCK_SKEW_SECONDS:
            raise _KIND.refuse("iat", "a time that has come")
        if not now_s < min(ends_s, made_s + TOKEN_SECONDS_MAX):
            raise Refused(
                Code.TOKEN_EXPIRED,
                got="a token whose time is over",
                expected=f"one of the last {TOKEN_SECONDS_MAX} s",
                todo=_TODO,
                field="exp",
            )
        bound = claims.get("cnf")
        if type(bound) is not dict:
            raise _KIND.refuse("cnf", "a key that it is bound to")
        return Token(
            Did(jose.text_of(claims, "sub", _KIND)),
            jose.text_of(claims, "key_id", _KIND),
            jose.text_of(bound, "jkt", _KIND),
        )


@functools.lru_cache(maxsize=TOKENS_KNOWN_MAX)
def _opened(text: str, public: bytes) -> JsonObject:
    """Give a token's claims once its signature held: it comes with each request; only what held is kept."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return jose.open_jws(text, _KIND, lambda _: key)[1]


def check_bound(token: Token, thumbprint: str) -> None:
    """Refuse a token in the hand of who proved another key (RFC 9449 §7.1).

    Raises:
        Refused: DPOP_INVALID.
    """
    if token.thumbprint != thumbprint:
        raise Refused(
            Code.DPOP_INVALID,
            got="another key",
            expected="a proof by the key that the token is bound to",
            todo="prove with the key that was proven when the token was asked for",
            field="cnf.jkt",
        )
