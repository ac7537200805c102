"""What a model gets to see of an object: no nulls, no secrets, no invisible characters, no more than fits."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from ledger.agent_policy import ExfiltrationLimits
from ledger.bodies import freeze_body
from mcp_server.chain import Call
from mcp_server.guard import exfiltration, shape
from mcp_server.guarding import NOBODY, Guarded
from mcp_server.policies import reader_of
from mcp_server.pruning import clean, fit, size
from mcp_server.standing import Standings
from tests.support.ledger import ALICE, Ledger, envelope
from tests.support.mcp import Speaking, ask, source_of

KEY = b"key"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SECRETS = {
    "password": "correct horse",
    "apiKey": "0123456789",
    "DB_PASSWORD": "x",
    "tls.key": "-----BEGIN EC PRIVATE KEY-----\nabc",
    "note": "use ghp_" + "a" * 36,
    "url": "postgres://user:pa55@db/x",
    "session": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig",
}
ORDINARY = {
    "image": "registry.example/app@sha256:" + "ab" * 32,
    "secretName": "tls",
    "url": "https://example.org/a:b",
    "digest": "ab" * 32,
    "tokenReview": True,
    "text": "-----BEGIN CERTIFICATE-----\nabc",
}


@pytest.mark.requires("mcp.secrets")
@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_is_a_keyed_digest(name: str) -> None:
    found = clean({"data": {name: SECRETS[name]}}, KEY)["data"][name]
    assert found.startswith("[secret ")
    assert SECRETS[name] not in found
    assert found == clean({name: SECRETS[name]}, KEY)[name]
    assert found != clean({name: SECRETS[name]}, b"other")[name]


FORMS = {
    "google": "AIza" + "A1b2C3d4E" * 4,
    "npm": "npm_" + "a" * 36,
    "vault": "hvs." + "a" * 24,
    "slack": "xapp-1-ABCDEFGHIJ",
    "stripe": "sk_live_" + "a" * 24,
    "azure": "AccountKey=" + "a" * 44,
    "kubeconfig": "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJ",
    "base64": base64.b64encode(b"-----BEGIN RSA PRIVATE KEY-----\nMIIEabc").decode(),
    "hex": b"-----BEGIN RSA PRIVATE KEY-----".hex(),
    "registry": json.dumps({"auths": {"r": {"auth": "dXNlcjpwYXNzd29yZA=="}}}),
    "several lines": "first\nthen ghp_" + "a" * 36 + "\nlast",
    "quoted": 'say "sk_live_' + "a" * 24 + '"',
    **{name: SECRETS[name] for name in ("tls.key", "note", "url", "session")},
}


@pytest.mark.requires("mcp.secrets")
@pytest.mark.parametrize("name", FORMS)
def test_what_the_guard_would_withhold_an_answer_for_is_a_digest_before(name: str) -> None:
    secret = FORMS[name]
    found = clean(
        {
            "reason": secret,
            "list": [f"see {secret} there"],
            secret: "a key",
            "auth": "dXNlcjpwYXNzd29yZA==",
            "aws_secret_access_key": "a1B2" * 10,
            "client-key-data": "LS0tLS1CRUdJTiBSU0EgUFJJ",
            "DB_PASSWORD": "hunter2hunter1",
            "env": [{"name": "API_TOKEN", "value": "abc123def456"}],
        },
        KEY,
    )
    text = json.dumps(found)
    assert json.dumps(secret)[1:-1] not in text
    tool = reader_of(NOBODY).tool("get_incidents")
    assert tool is not None
    answer = {"items": [found]}
    read = shape.read(answer, "answer", bytes_max=2**20)
    assert exfiltration.check_answer(answer, read, tool, ExfiltrationLimits()) == ""


@pytest.mark.requires("mcp.secrets")
def test_a_secret_in_the_reason_of_a_freeze_blinds_nobody() -> None:
    ledger = Ledger()
    ledger.commit()
    body = freeze_body("incident", releases=("other",), reason=f"key {FORMS['google']} leaked")
    ledger.commit(envelope(ALICE, body))
    ledger.commit()
    chain = Guarded(Standings(source_of(Speaking(ledger))), lambda: 1)
    for tool in ("get_incidents", "search_audit"):
        call = Call("tool", tool, {})
        chain.before(call)
        found = ask(source_of(Speaking(ledger)), tool).content
        assert "[secret " in json.dumps(chain.after(call, found).content)


@pytest.mark.requires("mcp.secrets")
def test_an_environment_variable_is_known_by_its_name() -> None:
    given = {"env": [{"name": "API_TOKEN", "value": "abc"}, {"name": "COLOUR", "value": "blue"}]}
    one, other = clean(given, KEY)["env"]
    assert one["value"].startswith("[secret ")
    assert other["value"] == "blue"


@pytest.mark.requires("mcp.secrets")
def test_ordinary_manifests_pass_as_they_are() -> None:
    assert clean(ORDINARY, KEY) == ORDINARY


@pytest.mark.requires("mcp.secrets")
def test_the_examples_pass_as_they_are() -> None:
    seen = 0
    for file in sorted(EXAMPLES.rglob("*.yaml")):
        if "templates" in file.parts:
            continue
        for manifest in yaml.safe_load_all(file.read_text()):
            seen += 1
            assert clean(manifest, KEY) == manifest, file
    assert seen > 10


@pytest.mark.requires("mcp.pruning")
def test_nulls_managed_fields_and_invisible_characters_do_not_reach_a_model() -> None:
    given = {"a": None, "managedFields": [1], "b": [None, "x\u200b\u202ey\U000e0041", "ö\n"]}
    assert clean(given, KEY) == {"b": ["x\\u{200b}\\u{202e}y\\u{e0041}", "ö\n"]}


@pytest.mark.requires("mcp.pruning")
@pytest.mark.parametrize("budget", [100, 1000, 10_000, 100_000])
def test_whatever_is_given_fits(budget: int) -> None:
    deep: dict[str, object] = {"end": "x" * 5000}
    for _ in range(20):
        deep = {"in": deep, "list": ["ü" * 300] * 300}
    item = {"name": "n", **deep, **{f"field{n}": "y" * 50 for n in range(400)}}
    found = fit(item, budget)
    assert size(found) <= budget
    assert found["truncated"] is True
    assert found == fit(item, budget)
    assert fit({"a": 1}, budget) == {"a": 1}
