"""How who is not let in is told so: the status, OAuth's word for it, the challenge, and our own code.

Source: RFC 6749 §5.2; RFC 6750 §3; RFC 9449 §5, §7.1; RFC 9728 §5.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.errors import Code, ConclaveError, Refused
from ledger.types import JsonObject
from mcp_server.auth import dpop
from mcp_server.auth.metadata import Origin
from mcp_server.refusals import error_json

_AT_TOKEN = {
    Code.LIMIT_EXCEEDED: (429, "temporarily_unavailable"),
    Code.DPOP_INVALID: (400, "invalid_dpop_proof"),
    Code.AUTH_REPLAYED: (400, "invalid_grant"),
    Code.AGENT_SUSPENDED: (400, "unauthorized_client"),
}
_FORM = {"grant_type": "unsupported_grant_type", "resource": "invalid_target"}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: status, JSON body and headers."""

    status: int
    content: JsonObject
    headers: dict[str, str]


def at_token_endpoint(error: ConclaveError) -> Told:
    """Tell a token request why it gets none."""
    if not isinstance(error, Refused):
        return _told(503, "temporarily_unavailable", error)
    if error.code is Code.FIELD_INVALID:
        return _told(400, _FORM.get(str(error.facts.get("field")), "invalid_request"), error)
    return _told(*_AT_TOKEN.get(error.code, (401, "invalid_client")), error)


def at_resource(error: ConclaveError, origin: Origin) -> Told:
    """Tell a request why it is not let in; a 401 says how it could be."""
    if not isinstance(error, Refused):
        return _told(503, "temporarily_unavailable", error)
    if error.code is Code.LIMIT_EXCEEDED:
        return _told(429, "temporarily_unavailable", error)
    if error.code is Code.AGENT_SUSPENDED:
        return _told(403, "access_denied", error)
    word = "invalid_dpop_proof" if error.code in (Code.DPOP_INVALID, Code.AUTH_REPLAYED) else "invalid_token"
    told = _told(401, word, error)
    parts = [f'resource_metadata="{origin.resource_metadata}"', f'algs="{" ".join(dpop.ALGORITHMS)}"']
    if error.code is not Code.TOKEN_MISSING:
        # Who sent no token is told nothing but how to get one (RFC 6750 §3.1).
        parts = [f'error="{word}"', f'error_description="{error.code.name}"', *parts]
    told.headers["www-authenticate"] = f"DPoP {', '.join(parts)}"
    return told


def _told(status: int, word: str, error: ConclaveError) -> Told:
    content = {"error": word, "error_description": error.code.name, **_ours(error)}
    return Told(status, content, {"cache-control": "no-store"})


def _ours(error: ConclaveError) -> JsonObject:
    return {"conclave": error_json(error)}
