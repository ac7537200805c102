"""An agent says who it is: a JWT signed with a key of its identity.

Owns the reading of assertions and the judgement of the key by what the ledger says. Promises that an
assertion is for this server alone, short-lived, and signed by the key it names; that this key counts only as
the ledger has it now.

Source: RFC 7523 §3; OpenID Connect Core §9 (private_key_jwt); docs/spec/mcp-auth.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import shape
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord, check_signers
from ledger.key_set import Purpose
from ledger.keys import public_key_of
from ledger.limits import DID_BYTES_MAX
from ledger.types import Did, JsonObject, SubjectKind
from mcp_server.auth import jose
from mcp_server.auth.jose import EDDSA, Kind
from mcp_server.auth.limits import ASSERTION_SECONDS_MAX, CLOCK_SKEW_SECONDS

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPES = ("jwt", "client-authentication+jwt")
_KIND = Kind(Code.ASSERTION_INVALID, TYPES, (EDDSA,), "sign a new assertion with an active key of the agent")


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that its key signed. Whether the key is the subject's, the ledger says."""

    did: Did
    key_id: str
    jti: str


def read_assertion(text: str, *, issuer: str, now_s: int) -> Assertion:
    """Read a client assertion.

    Args:
        text: as it came.
        issuer: this server, its only audience.
        now_s: the time, in seconds.

    Raises:
        Refused: ASSERTION_INVALID with the fact ``field``.
    """
    header, claims = jose.open_jws(text, _KIND, _key_of)
    did = jose.text_of(claims, "sub", _KIND, DID_BYTES_MAX)
    if claims.get("iss") != did:
        raise _KIND.refuse("iss", "the subject itself")
    try:
        shape.did(did, "sub")
    except Refused:
        raise _KIND.refuse("sub", "a DID") from None
    jose.check_audience(claims, issuer, _KIND)
    made_s, ends_s = jose.time_of(claims, "iat", _KIND), jose.time_of(claims, "exp", _KIND)
    if made_s > now_s + CLOCK_SKEW_SECONDS:
        raise _KIND.refuse("iat", "a time that has come, by this server's clock")
    if not now_s - CLOCK_SKEW_SECONDS < ends_s <= now_s + ASSERTION_SECONDS_MAX + CLOCK_SKEW_SECONDS:
        raise _KIND.refuse("exp", f"within the next {ASSERTION_SECONDS_MAX} s, by this server's clock")
    if "nbf" in claims and jose.time_of(claims, "nbf", _KIND) > now_s + CLOCK_SKEW_SECONDS:
        raise _KIND.refuse("nbf", "a time that has come, by this server's clock")
    return Assertion(Did(did), header["kid"], jose.jti_of(claims, _KIND))


def check_key(identity: IdentityRecord | None, key_id: str) -> None:
    """Check that a key may speak for an agent, as the ledger has it now.

    Raises:
        Refused: SIGNER_UNKNOWN, VERB_NOT_ALLOWED for who is no agent, SIGNER_DEACTIVATED, KEY_NOT_OF_SIGNER,
            KEY_NOT_ACTIVE, KEY_PURPOSE_MISSING.
    """
    if identity is None:
        raise Refused(
            Code.SIGNER_UNKNOWN,
            got="a DID without an identity",
            expected="an identity of the ledger",
            todo="have the agent's identity put on the ledger",
        )
    if identity.kind is not SubjectKind.AGENT:
        raise Refused(
            Code.VERB_NOT_ALLOWED,
            got=identity.kind.value,
            expected=SubjectKind.AGENT.value,
            todo="people read with `conclave` or over stdio; make an identity for the agent",
        )
    try:
        check_signers(identity, [key_id], Purpose.AUTHENTICATE)
    except Refused as refused:
        if refused.code is not Code.KEY_PURPOSE_MISSING:
            raise
        check_signers(identity, [key_id], Purpose.PROPOSE)


def _key_of(header: JsonObject) -> Any:
    """Give the key that an ed25519 key id holds."""
    try:
        return Ed25519PublicKey.from_public_bytes(public_key_of(jose.text_of(header, "kid", _KIND)))
    except Refused:
        raise _KIND.refuse("header.kid", "the id of an ed25519 key of the agent") from None
