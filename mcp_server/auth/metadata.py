"""What the server tells about itself before anybody is known: where tokens come from and what they need.

Source: RFC 9728 §2, RFC 8414 §2, RFC 9449 §5.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.types import JsonObject
from mcp_server.auth import dpop
from mcp_server.auth.jose import EDDSA

MCP_PATH = "/mcp"
TOKEN_PATH = "/token"  # noqa: S105 - a path, no secret
RESOURCE_PATH = "/.well-known/oauth-protected-resource"
SERVER_PATH = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class Origin:
    """The server as its clients call it: scheme, host and port, without a path."""

    url: str

    @property
    def resource(self) -> str:
        """What tokens are for: the protocol's own endpoint."""
        return self.url + MCP_PATH

    @property
    def token_endpoint(self) -> str:
        """Where tokens come from."""
        return self.url + TOKEN_PATH

    @property
    def resource_metadata(self) -> str:
        """Where the metadata of the endpoint is (RFC 9728 §3.1)."""
        return self.url + RESOURCE_PATH + MCP_PATH


def protected_resource(origin: Origin) -> JsonObject:
    """Give the metadata of the protected resource (RFC 9728 §2)."""
    return {
        "resource": origin.resource,
        "authorization_servers": [origin.url],
        "bearer_methods_supported": [],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "dpop_bound_access_tokens_required": True,
        "resource_name": "conclave",
    }


def authorization_server(origin: Origin) -> JsonObject:
    """Give the metadata of the authorization server (RFC 8414 §2)."""
    return {
        "issuer": origin.url,
        "token_endpoint": origin.token_endpoint,
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": [EDDSA],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
    }
