"""Proof of holding the key that a token is bound to, made for one request.

Owns the reading of DPoP proofs and the thumbprints of keys. Promises that a proof is for this method, this
URL, this token and this minute, and that the key it names is a public one. Never remembers which proofs came
before (``replay``). Source: RFC 9449 §4.2, §4.3, §7; RFC 7638.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from ledger import canonical
from ledger.errors import Code
from ledger.types import JsonObject, sha256
from mcp_server.auth import jose
from mcp_server.auth.jose import EDDSA, ES256, Kind
from mcp_server.auth.limits import CLOCK_SKEW_SECONDS, PROOF_SECONDS_MAX, URL_CHARACTERS_MAX

ALGORITHMS = (EDDSA, ES256)
TYPE = "dpop+jwt"
_KIND = Kind(Code.DPOP_INVALID, (TYPE,), ALGORITHMS, "make a new proof for this request")
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")
_KEYS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    EDDSA: ("OKP", "Ed25519", ("x",)),
    ES256: ("EC", "P-256", ("x", "y")),
}
_HINTS = frozenset({"alg", "kid", "use", "key_ops"})


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds: the key's thumbprint and the proof's id."""

    thumbprint: str
    jti: str


def read_proof(text: str, *, method: str, url: str, now_s: int, token: str | None = None) -> Proof:
    """Read a proof of the ``DPoP`` header.

    Args:
        text: as it came.
        method: of the request.
        url: of what was requested, as this server is called, without query.
        now_s: the time, in seconds.
        token: the access token beside it; None at the token endpoint.

    Raises:
        Refused: DPOP_INVALID with the fact ``field``.
    """
    header, claims = jose.open_jws(text, _KIND, _key_of)
    if jose.text_of(claims, "htm", _KIND) != method:
        raise _KIND.refuse("htm", method)
    if _normal(jose.text_of(claims, "htu", _KIND)) != _normal(url):
        raise _KIND.refuse("htu", url)
    made_s = jose.time_of(claims, "iat", _KIND)
    if not now_s - PROOF_SECONDS_MAX <= made_s <= now_s + CLOCK_SKEW_SECONDS:
        raise _KIND.refuse("iat", f"within {PROOF_SECONDS_MAX} s of this server's clock")
    if token is not None and claims.get("ath") != hash_of(token):
        raise _KIND.refuse("ath", "the hash of the token beside it")
    return Proof(thumbprint(header["jwk"]), jose.jti_of(claims, _KIND))


def thumbprint(jwk: JsonObject) -> str:
    """Give the SHA-256 thumbprint of a public key (RFC 7638 §3)."""
    _, _, coordinates = _KEYS[EDDSA if jwk["kty"] == "OKP" else ES256]
    return _base64url(sha256(canonical.dump({name: jwk[name] for name in ("crv", "kty", *coordinates)})))


def hash_of(token: str) -> str:
    """Give the hash by which a proof names its token (RFC 9449 §4.2)."""
    return _base64url(sha256(token.encode()))


def _key_of(header: JsonObject) -> Any:
    jwk, (kty, curve, coordinates) = header.get("jwk"), _KEYS[header["alg"]]
    named = ("kty", "crv", *coordinates)
    if type(jwk) is not dict or not {*named} <= jwk.keys() <= {*named, *_HINTS}:
        raise _KIND.refuse("header.jwk", "a public key of the algorithm, nothing private")
    if (jwk["kty"], jwk["crv"]) != (kty, curve) or jwk.get("alg", header["alg"]) != header["alg"]:
        raise _KIND.refuse("header.jwk", f"{kty} {curve}")
    if not all(type(jwk[name]) is str and _COORDINATE.fullmatch(jwk[name]) for name in coordinates):
        raise _KIND.refuse("header.jwk", "coordinates of 32 bytes in base64url")
    try:
        return jwt.PyJWK({name: jwk[name] for name in named}, algorithm=header["alg"])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise _KIND.refuse("header.jwk", "a point of the curve") from None


def _normal(url: str) -> tuple[str, str, int | None, str] | None:
    """Give a URL as it is compared: no query or fragment, default port left out (RFC 3986 §6.2)."""
    try:
        parts = urlsplit(url[:URL_CHARACTERS_MAX])
        port = parts.port
    except ValueError:
        return None
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port or default, parts.path or "/"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
