"""The other side of the gate: an agent that says who it is and proves a key with each request.

Owns assertions and proofs as a client makes them. Promises that the agent's private key signs assertions
alone, through its signer, and that the key proven with requests lives in memory only.
Source: RFC 7523 §2.2; RFC 9449 §4.2; docs/spec/mcp-auth.md §2, §4.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlencode

import jwt.algorithms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.types import JsonObject
from mcp_server.auth import assertion, dpop, jose
from mcp_server.auth.metadata import Origin

ASSERTION_SECONDS = 60


class Signs(Protocol):
    """Signs for one key pair; ``identity.signer.Signer`` is one."""

    @property
    def key_id(self) -> str:
        """The text that names the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        ...


class _Signed(jwt.algorithms.OKPAlgorithm):
    """EdDSA by a signer that gives its private key to nobody."""

    def prepare_key(self, key: Any) -> Any:
        """Take the signer as it is."""
        return key

    def sign(self, msg: str | bytes, key: Any) -> bytes:
        """Sign."""
        made: bytes = key.sign(msg.encode() if isinstance(msg, str) else msg)
        return made


class Holder:
    """Who asks a server for tokens, and proves a key of its own with each request.

    Args:
        did: the agent's.
        signer: signs for an ed25519 key of it.
        origin: the server.
        clock: gives nanoseconds since the epoch.
    """

    def __init__(self, did: str, signer: Signs, origin: Origin, clock: Callable[[], int]) -> None:
        self.origin = origin
        self._did, self._signer, self._clock = did, signer, clock
        self._private = Ed25519PrivateKey.generate()

    def assertion(self, **changed: Any) -> str:
        """Sign who the agent is; ``changed`` claims are for tests."""
        now_s = self._clock() // 10**9
        claims = {
            "iss": self._did,
            "sub": self._did,
            "aud": self.origin.url,
            "iat": now_s,
            "exp": now_s + ASSERTION_SECONDS,
            "jti": secrets.token_hex(16),
        }
        header = {"typ": "JWT", "kid": self._signer.key_id}
        return jose.sign({**claims, **changed}, self._signer, header, algorithms=[_Signed()])

    def proof(self, method: str, url: str, token: str | None = None, **changed: Any) -> str:
        """Prove the key for one request; ``changed`` claims are for tests."""
        claims: JsonObject = {
            "htm": method,
            "htu": url,
            "iat": self._clock() // 10**9,
            "jti": secrets.token_hex(16),
        }
        if token is not None:
            claims["ath"] = dpop.hash_of(token)
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return jose.sign({**claims, **changed}, self._private, {"typ": dpop.TYPE, "jwk": jwk})

    def form(self, **changed: str) -> bytes:
        """Give the body of a token request; ``changed`` fields are for tests."""
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": assertion.ASSERTION_TYPE,
            "client_assertion": self.assertion(),
            "resource": self.origin.resource,
        }
        return urlencode({**fields, **changed}).encode()
