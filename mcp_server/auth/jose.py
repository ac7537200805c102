"""Signed JSON in its compact form, opened strictly.

Owns the joining of PyJWT with our rules. Promises that an algorithm not on the list, a header that asks for
more, two spellings of one claim, or anything long is refused with one code of the caller's, that nothing
of it is repeated, and that no claim is looked at before the signature holds.
Source: RFC 7515, RFC 7519, RFC 8725 §3.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from ledger import canonical
from ledger.errors import Code, Refused
from ledger.types import JsonObject
from mcp_server.auth.limits import JTI_CHARACTERS_MAX, JWS_CHARACTERS_MAX, URL_CHARACTERS_MAX

EDDSA = "EdDSA"
ES256 = "ES256"
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is opened: the code of its refusals, what its header may say it is, and what to do then."""

    code: Code
    types: tuple[str, ...]
    algorithms: tuple[str, ...]
    todo: str

    def refuse(self, field: str, expected: str) -> Refused:
        """Make the refusal of a field; what it held is not repeated."""
        return Refused(self.code, got="something else", expected=expected, todo=self.todo, field=field)


def open_jws(text: str, kind: Kind, key_of: Callable[[JsonObject], Any]) -> tuple[JsonObject, JsonObject]:
    """Give the header and the claims of a compact JWS whose signature holds.

    Args:
        text: as it came.
        kind: what it has to be.
        key_of: gives the public key from the header, which is not to be believed yet.

    Raises:
        Refused: the kind's code, with the fact ``field``; what ``key_of`` raises.
    """
    if len(text) > JWS_CHARACTERS_MAX or not _COMPACT.fullmatch(text):
        raise kind.refuse("jws", f"a compact JWS of at most {JWS_CHARACTERS_MAX} characters")
    opener = _opener(kind.algorithms)
    try:
        # By itself: the rest is decoded once, when the signature is checked.
        header = opener.get_unverified_header(f"{text.partition('.')[0]}.AAAA.")
    except jwt.PyJWTError:
        raise kind.refuse("header", "a JWS header") from None
    if header.get("alg") not in kind.algorithms:
        raise kind.refuse("header.alg", " or ".join(kind.algorithms))
    if str(header.get("typ")).lower() not in kind.types:
        raise kind.refuse("header.typ", " or ".join(kind.types))
    if not {"crit", "b64"}.isdisjoint(header):
        raise kind.refuse("header.crit", "no extension")
    key = key_of(header)
    try:
        opened = opener.decode_complete(text, key, algorithms=[header["alg"]])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise kind.refuse("signature", "the signature of the key named") from None
    try:
        claims = canonical.parse(opened["payload"])
    except Refused:
        claims = None
    if type(claims) is not dict:
        raise kind.refuse("claims", "a JSON object, each name once")
    return header, claims


@functools.lru_cache(maxsize=8)
def _opener(algorithms: tuple[str, ...]) -> jwt.PyJWS:
    return jwt.PyJWS(algorithms=algorithms)


def time_of(claims: JsonObject, name: str, kind: Kind) -> int:
    """Give a time claim, in whole seconds of the epoch."""
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise kind.refuse(name, "whole seconds since 1970")
    return value


def text_of(claims: JsonObject, name: str, kind: Kind, characters_max: int = URL_CHARACTERS_MAX) -> str:
    """Give a claim that is a short text of visible ASCII."""
    value = claims.get(name)
    if type(value) is not str or not 0 < len(value) <= characters_max or not _VISIBLE.fullmatch(value):
        raise kind.refuse(name, f"a text of 1 … {characters_max} visible ASCII characters")
    return value


def jti_of(claims: JsonObject, kind: Kind) -> str:
    """Give the id of what was signed."""
    return text_of(claims, "jti", kind, JTI_CHARACTERS_MAX)


def check_audience(claims: JsonObject, expected: str, kind: Kind) -> None:
    """Refuse what is not for this audience, and for it alone; a slash at the end of a URL is the same."""
    value = claims.get("aud")
    named = value if type(value) is list else [value]
    if named not in ([expected], [expected + "/"]):
        raise kind.refuse("aud", expected)


def sign(claims: JsonObject, key: Any, header: JsonObject, *, algorithms: Sequence[Any] = ()) -> str:
    """Give the compact JWS of claims, signed with EdDSA.

    Args:
        claims: what is signed.
        key: an ed25519 private key, or what the algorithm given signs with.
        header: ``typ`` and more.
        algorithms: one that signs in place of the library's own; nothing for that.
    """
    signer = jwt.PyJWS(algorithms=[EDDSA])
    for algorithm in algorithms:
        signer.unregister_algorithm(EDDSA)
        signer.register_algorithm(EDDSA, algorithm)
    return signer.encode(canonical.dump(claims), key, algorithm=EDDSA, headers=header)
