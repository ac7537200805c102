"""Assertions, tokens and proofs: what passes, and each thing that may be wrong with its code and field."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jwt
import jwt.algorithms
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord, did_key_identity
from ledger.key_set import KeyState, Purpose
from ledger.types import Did, SubjectKind
from mcp_server.auth import dpop, jose
from mcp_server.auth.assertion import Assertion, check_key, read_assertion
from mcp_server.auth.holder import Holder
from mcp_server.auth.limits import (
    ASSERTION_SECONDS_MAX,
    CLOCK_SKEW_SECONDS,
    JWS_CHARACTERS_MAX,
    PROOF_SECONDS_MAX,
    TOKEN_SECONDS_MAX,
)
from mcp_server.auth.metadata import Origin, authorization_server, protected_resource
from mcp_server.auth.replay import Replays
from mcp_server.auth.tokens import Mint, Token, check_bound
from tests.support.ledger import ALICE, ROBOT
from tests.support.refusal import refusal_of

NOW_S = 1_700_000_000
ORIGIN = Origin("https://mcp.example:8443")
HOLDER = Holder(ROBOT.did, ROBOT, ORIGIN, lambda: NOW_S * 10**9)
MINT = Mint(ORIGIN.url, ORIGIN.resource, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
TOKEN = Token(Did(ROBOT.did), ROBOT.key_id, "x" * 43)


def read_claims(text: str) -> Assertion:
    return read_assertion(text, issuer=ORIGIN.url, now_s=NOW_S)


def field_of(work: Callable[[], Any], code: Code) -> Any:
    return refusal_of(work, code).facts.get("field")


def resigned(text: str, header: dict[str, Any], claims: dict[str, Any] | bytes, key: Any = None) -> str:
    """Sign other contents: with the robot's key, or another one."""
    given = jwt.get_unverified_header(text)
    given = {k: v for k, v in (given | header).items() if v is not None}
    content = claims if isinstance(claims, bytes) else json.dumps(_claims(text) | claims).encode()
    first, second = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (_dump(given), content))
    signed = (key or ROBOT.sign)(first + b"." + second)
    return b".".join((first, second, base64.urlsafe_b64encode(signed).rstrip(b"="))).decode()


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _claims(text: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(text, options={"verify_signature": False, "verify_aud": False})
    return found


@pytest.mark.requires("mcp.auth-assertion")
def test_an_assertion_says_who_by_which_key() -> None:
    read = read_claims(HOLDER.assertion())
    assert (read.did, read.key_id) == (ROBOT.did, ROBOT.key_id)
    assert read_claims(HOLDER.assertion()).jti != read.jti
    for aud in ([ORIGIN.url], ORIGIN.url + "/"):
        assert read_claims(HOLDER.assertion(aud=aud)).did == ROBOT.did


@pytest.mark.requires("mcp.auth-assertion")
@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"iss": ALICE.did}, "iss"),
        ({"sub": "robot"}, "iss"),
        ({"sub": "robot", "iss": "robot"}, "sub"),
        ({"sub": 7}, "sub"),
        ({"aud": "https://other.example"}, "aud"),
        ({"aud": [ORIGIN.url, "https://other.example"]}, "aud"),
        ({"aud": ORIGIN.resource}, "aud"),
        ({"exp": NOW_S - CLOCK_SKEW_SECONDS}, "exp"),
        ({"exp": NOW_S + ASSERTION_SECONDS_MAX + CLOCK_SKEW_SECONDS + 1}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float(NOW_S)}, "exp"),
        ({"iat": NOW_S + CLOCK_SKEW_SECONDS + 1}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"nbf": NOW_S + CLOCK_SKEW_SECONDS + 1}, "nbf"),
        ({"jti": ""}, "jti"),
        ({"jti": "x" * 129}, "jti"),
        ({"jti": "a b"}, "jti"),
        ({"jti": 5}, "jti"),
    ],
)
def test_each_claim_of_an_assertion_that_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    text = resigned(HOLDER.assertion(), {}, changed)
    assert field_of(lambda: read_claims(text), Code.ASSERTION_INVALID) == field


@pytest.mark.requires("mcp.auth-assertion")
@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"alg": "none"}, "header.alg"),
        ({"alg": "HS256"}, "header.alg"),
        ({"alg": "ES256"}, "header.alg"),
        ({"alg": ["EdDSA"]}, "header.alg"),
        ({"typ": "dpop+jwt"}, "header.typ"),
        ({"typ": None}, "header.typ"),
        ({"kid": None}, "header.kid"),
        ({"kid": "robot"}, "header.kid"),
        ({"kid": "zQm" + "1" * 43}, "header.kid"),
        ({"kid": ALICE.key_id}, "signature"),
        ({"crit": ["exp"], "exp": 1}, "header"),
        ({"b64": False}, "header"),
    ],
)
def test_each_header_of_an_assertion_that_is_wrong_is_named(header: dict[str, Any], field: str) -> None:
    text = resigned(HOLDER.assertion(), header, {})
    assert field_of(lambda: read_claims(text), Code.ASSERTION_INVALID) == field


@pytest.mark.requires("mcp.auth-assertion")
@pytest.mark.parametrize(
    "text",
    ["", ".", "a.b.c", "x" * (JWS_CHARACTERS_MAX + 1), "e30.e30.", "é.é.é", "a.b.c.d.e"],
)
def test_what_is_no_signed_json_is_refused(text: str) -> None:
    assert field_of(lambda: read_claims(text), Code.ASSERTION_INVALID) in ("jws", "header")


@pytest.mark.requires("mcp.auth-assertion")
@pytest.mark.parametrize("content", [b"[]", b"{", b'{"sub":1,"sub":2}', b"[" * 900, b"\xff"])
def test_signed_claims_are_read_strictly(content: bytes) -> None:
    text = resigned(HOLDER.assertion(), {}, content)
    assert field_of(lambda: read_claims(text), Code.ASSERTION_INVALID) == "claims"


@pytest.mark.requires("mcp.auth-assertion")
def test_a_signature_of_another_key_or_over_something_else_is_refused() -> None:
    text = HOLDER.assertion()
    head, _, signature = text.split(".")
    other = HOLDER.assertion(jti="other").split(".")[1]
    for wrong in (resigned(text, {}, {}, ALICE.sign), f"{head}.{other}.{signature}"):
        assert field_of(partial(read_claims, wrong), Code.ASSERTION_INVALID) == "signature"


def robot(**changed: Any) -> IdentityRecord:
    made = did_key_identity(Did(ROBOT.did), "robot", SubjectKind.AGENT, "a", None, 1)
    key = made.keys[0]
    names = {"state", "purposes", "until"}
    key = dataclasses.replace(key, **{n: v for n, v in changed.items() if n in names})
    return dataclasses.replace(made, keys=(key,), **{n: v for n, v in changed.items() if n not in names})


@pytest.mark.requires("mcp.auth-revoked")
@pytest.mark.parametrize(
    ("identity", "code"),
    [
        (None, Code.SIGNER_UNKNOWN),
        (robot(kind=SubjectKind.HUMAN), Code.VERB_NOT_ALLOWED),
        (robot(kind=SubjectKind.NODE), Code.VERB_NOT_ALLOWED),
        (robot(deactivated=5), Code.SIGNER_DEACTIVATED),
        (robot(state=KeyState.REVOKED, until=5), Code.KEY_NOT_ACTIVE),
        (robot(state=KeyState.RETIRED, until=5), Code.KEY_NOT_ACTIVE),
        (robot(purposes=(Purpose.ROTATE,)), Code.KEY_PURPOSE_MISSING),
    ],
)
def test_a_key_counts_as_the_ledger_has_it(identity: IdentityRecord | None, code: Code) -> None:
    refusal_of(lambda: check_key(identity, ROBOT.key_id), code)


@pytest.mark.requires("mcp.auth-revoked")
def test_a_key_that_authenticates_or_proposes_counts() -> None:
    for purpose in (Purpose.AUTHENTICATE, Purpose.PROPOSE):
        check_key(robot(purposes=(purpose,)), ROBOT.key_id)
    refusal_of(lambda: check_key(robot(), ALICE.key_id), Code.KEY_NOT_OF_SIGNER)


@pytest.mark.requires("mcp.auth-token")
def test_a_token_says_what_it_was_given_for() -> None:
    text = MINT.give(TOKEN, jti="1", now_s=NOW_S)
    assert MINT.read(text, now_s=NOW_S) == TOKEN
    assert MINT.read(text, now_s=NOW_S + TOKEN_SECONDS_MAX - 1) == TOKEN
    assert field_of(lambda: MINT.read(text, now_s=NOW_S + TOKEN_SECONDS_MAX), Code.TOKEN_EXPIRED) == "exp"
    check_bound(TOKEN, TOKEN.thumbprint)
    assert field_of(lambda: check_bound(TOKEN, "y" * 43), Code.DPOP_INVALID) == "cnf.jkt"
    assert "private" not in repr(MINT)


@pytest.mark.requires("mcp.auth-token")
@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"iss": "https://other.example"}, Code.TOKEN_INVALID, "iss"),
        ({"aud": "https://other.example/mcp"}, Code.TOKEN_INVALID, "aud"),
        ({"aud": ORIGIN.url}, Code.TOKEN_INVALID, "aud"),
        ({"iat": NOW_S + CLOCK_SKEW_SECONDS + 1}, Code.TOKEN_INVALID, "iat"),
        ({"iat": NOW_S - TOKEN_SECONDS_MAX, "exp": NOW_S + 9999}, Code.TOKEN_EXPIRED, "exp"),
        ({"exp": NOW_S}, Code.TOKEN_EXPIRED, "exp"),
        ({"exp": None}, Code.TOKEN_INVALID, "exp"),
        ({"cnf": None}, Code.TOKEN_INVALID, "cnf"),
        ({"cnf": {}}, Code.TOKEN_INVALID, "jkt"),
        ({"sub": None}, Code.TOKEN_INVALID, "sub"),
        ({"key_id": None}, Code.TOKEN_INVALID, "key_id"),
    ],
)
def test_each_claim_of_a_token_that_is_wrong_is_named(
    changed: dict[str, Any], code: Code, field: str
) -> None:
    text = resigned(MINT.give(TOKEN, jti="1", now_s=NOW_S), {}, changed, MINT.private.sign)
    assert field_of(lambda: MINT.read(text, now_s=NOW_S), code) == field


@pytest.mark.requires("mcp.auth-token")
def test_a_token_of_another_server_or_kind_is_refused() -> None:
    other = Mint(ORIGIN.url, ORIGIN.resource, Ed25519PrivateKey.generate())
    forged = other.give(TOKEN, jti="1", now_s=NOW_S)
    assert other.read(forged, now_s=NOW_S) == TOKEN
    assert field_of(lambda: MINT.read(forged, now_s=NOW_S), Code.TOKEN_INVALID) == "signature"
    unsigned = jwt.encode({"sub": ROBOT.did}, "", algorithm="none", headers={"typ": "at+jwt"})
    assert field_of(lambda: MINT.read(unsigned, now_s=NOW_S), Code.TOKEN_INVALID) == "jws"
    public = MINT.private.public_key().public_bytes_raw()
    mixed = jwt.encode({"sub": ROBOT.did}, public, algorithm="HS256", headers={"typ": "at+jwt"})
    assert field_of(lambda: MINT.read(mixed, now_s=NOW_S), Code.TOKEN_INVALID) == "header.alg"
    assertion = HOLDER.assertion()
    assert field_of(lambda: MINT.read(assertion, now_s=NOW_S), Code.TOKEN_INVALID) == "header.typ"


def proven(text: str) -> dpop.Proof:
    return dpop.read_proof(text, method="POST", url=ORIGIN.resource, now_s=NOW_S, token="t")


@pytest.mark.requires("mcp.auth-proof")
def test_a_proof_names_its_key() -> None:
    first, second = (proven(HOLDER.proof("POST", ORIGIN.resource, "t")) for _ in range(2))
    assert first.thumbprint == second.thumbprint
    assert first.jti != second.jti
    other = Holder(ROBOT.did, ROBOT, ORIGIN, lambda: NOW_S * 10**9)
    assert proven(other.proof("POST", ORIGIN.resource, "t")).thumbprint != first.thumbprint
    for same in ("HTTPS://MCP.example:8443/mcp", ORIGIN.resource + "?a=1", ORIGIN.resource + "#b"):
        assert proven(HOLDER.proof("POST", same, "t")).thumbprint == first.thumbprint


@pytest.mark.requires("mcp.auth-proof")
def test_a_thumbprint_is_that_of_rfc_7638_and_8037() -> None:
    # RFC 8037, appendix A.3.
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert dpop.thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.requires("mcp.auth-proof")
def test_a_proof_may_be_of_a_p256_key() -> None:
    private = generate_private_key(SECP256R1())
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    claims = {"htm": "POST", "htu": ORIGIN.resource, "iat": NOW_S, "jti": "1", "ath": dpop.hash_of("t")}
    text = jwt.encode(claims, private, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": jwk})
    assert len(proven(text).thumbprint) == 43
    off = {**jwk, "y": "A" * 43}
    text = jwt.encode(claims, private, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": off})
    assert field_of(lambda: proven(text), Code.DPOP_INVALID) == "header.jwk"


@pytest.mark.requires("mcp.auth-proof")
@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"htm": "GET"}, "htm"),
        ({"htm": "post"}, "htm"),
        ({"htm": None}, "htm"),
        ({"htu": "https://mcp.example:8443/token"}, "htu"),
        ({"htu": "http://mcp.example:8443/mcp"}, "htu"),
        ({"htu": "https://mcp.example/mcp"}, "htu"),
        ({"htu": "https://mcp.example:8443/MCP"}, "htu"),
        ({"htu": "https://[::1/mcp"}, "htu"),
        ({"htu": "https://mcp.example:x/mcp"}, "htu"),
        ({"htu": 5}, "htu"),
        ({"iat": NOW_S - PROOF_SECONDS_MAX - 1}, "iat"),
        ({"iat": NOW_S + CLOCK_SKEW_SECONDS + 1}, "iat"),
        ({"iat": None}, "iat"),
        ({"ath": dpop.hash_of("other")}, "ath"),
        ({"ath": None}, "ath"),
        ({"jti": None}, "jti"),
        ({"jti": "x" * 129}, "jti"),
    ],
)
def test_each_claim_of_a_proof_that_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    text = HOLDER.proof("POST", ORIGIN.resource, "t", **changed)
    assert field_of(lambda: proven(text), Code.DPOP_INVALID) == field


@pytest.mark.requires("mcp.auth-proof")
@pytest.mark.parametrize(
    "changed",
    [
        None,
        {"kty": "RSA"},
        {"crv": "Ed448"},
        {"x": "short"},
        {"x": 5},
        {"d": "A" * 43},
        {"alg": "ES256"},
        {"more": 1},
    ],
)
def test_a_proof_names_a_public_key_and_nothing_private(changed: dict[str, Any] | None) -> None:
    private = Ed25519PrivateKey.generate()
    jwk = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    header = {"typ": "dpop+jwt"} if changed is None else {"typ": "dpop+jwt", "jwk": {**jwk, **changed}}
    claims = {"htm": "POST", "htu": ORIGIN.resource, "iat": NOW_S, "jti": "1", "ath": dpop.hash_of("t")}
    text = jose.sign(claims, private, header)
    assert field_of(lambda: proven(text), Code.DPOP_INVALID) == "header.jwk"


@pytest.mark.requires("mcp.auth-replay")
def test_an_id_counts_once_for_each_key_as_long_as_it_could_be_used() -> None:
    replays = Replays(120)
    replays.use("key", "1", NOW_S)
    for later in (0, 60, 120):
        assert field_of(partial(replays.use, "key", "1", NOW_S + later), Code.AUTH_REPLAYED) == "jti"
    replays.use("other", "1", NOW_S + 120)
    replays.use("key", "1", NOW_S + 121)


@pytest.mark.requires("mcp.auth-replay")
def test_no_key_fills_the_memory_and_a_full_one_refuses() -> None:
    replays = Replays(120, ids_max=5, ids_per_key_max=3)
    for number in range(3):
        replays.use("greedy", str(number), NOW_S)
    with pytest.raises(Refused) as raised:
        replays.use("greedy", "3", NOW_S)
    assert raised.value.code is Code.LIMIT_EXCEEDED
    replays.use("a", "1", NOW_S)
    replays.use("b", "1", NOW_S)
    with pytest.raises(Refused) as raised:
        replays.use("c", "1", NOW_S)
    assert raised.value.code is Code.LIMIT_EXCEEDED
    assert field_of(lambda: replays.use("greedy", "0", NOW_S), Code.AUTH_REPLAYED) == "jti"
    replays.use("c", "1", NOW_S + 121)
    replays.use("greedy", "3", NOW_S + 121)


@pytest.mark.requires("mcp.auth-replay")
def test_a_clock_set_back_brings_nothing_back() -> None:
    replays = Replays(120)
    replays.use("key", "1", NOW_S)
    assert field_of(lambda: replays.use("key", "1", NOW_S - 3600), Code.AUTH_REPLAYED) == "jti"


@pytest.mark.requires("mcp.auth-metadata")
def test_the_metadata_say_what_is_asked_for() -> None:
    resource, server = protected_resource(ORIGIN), authorization_server(ORIGIN)
    assert resource["resource"] == ORIGIN.resource
    assert resource["authorization_servers"] == [server["issuer"]] == [ORIGIN.url]
    assert resource["dpop_bound_access_tokens_required"] is True
    assert server["token_endpoint"] == "https://mcp.example:8443/token"
    assert server["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
