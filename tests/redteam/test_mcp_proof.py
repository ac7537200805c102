"""A proof file is no way round the digests that stand for secrets, nor round the patterns of a policy."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import pytest

from ledger import statekeys
from ledger.bodies import release_body
from ledger.errors import Code
from ledger.standard import ledger_object
from ledger.types import Json, JsonObject
from mcp_server.audit.records import Verdict
from mcp_server.chain import Call
from mcp_server.guarding import Guarded
from mcp_server.policies import Scope, proposing_policy, reading_policy
from mcp_server.standing import Standings
from tests.redteam.mcp_target import Target
from tests.support.ledger import ALICE, CAROL, EAST, ROBOT, a_release, envelope
from tests.support.mcp import Speaking, source_of
from tests.support.refusal import refusal_of

SECRET = "hunter2hunter1"
NAME = "guestbook"
KEY = statekeys.ledger_object("Cluster", "east").decode()
OBJECT = f"v1/ConfigMap/{NAME}/greeting"
ANY_TEXT = {"type": "text", "bytesMax": 512, "required": True}
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}")


def loosened() -> JsonObject:
    """Give the policy that was printed once: any state key, and the file in the answer."""
    spec = reading_policy(ROBOT.did)
    for tool in spec["tools"]:
        if tool["tool"] == "export_proof":
            rules = [rule for rule in tool["arguments"] if rule["path"] != "what"]
            rules += [{"path": "what", **ANY_TEXT}, {"path": "inline", "type": "boolean"}]
            tool["arguments"] = sorted(rules, key=lambda rule: str(rule["path"]))
    return spec


def put(target: Target, spec: JsonObject) -> None:
    target.ledger.configure(ledger_object("AgentPolicy", ROBOT.name, spec))
    target.ledger.commit()


def hide(target: Target, data: JsonObject) -> None:
    """Make a revision whose ConfigMap holds ``data``, as it may be by the ledger's own rules."""
    release = a_release(NAME, text="x")
    release["spec"]["manifests"][0]["data"] |= data
    target.ledger.approve(envelope(ALICE, release_body(release, reason="x", against=3)), (ALICE, CAROL))
    target.ledger.commit()


def stands_in(content: Json) -> bool:
    """Tell whether the secret stands in an answer, as it is or in base64."""
    text = json.dumps(content)
    parts = [base64.b64decode(run[: len(run) // 4 * 4]) for run in _BASE64.findall(text)]
    return SECRET in text or any(SECRET.encode() in part for part in parts)


@pytest.mark.requires("mcp.red-proof")
@pytest.mark.parametrize(
    "data",
    [{"DB_PASSWORD": SECRET}, {"app.env": f"url=postgres://app:{SECRET}@db.internal/app"}],
    ids=["by its name", "by its form"],
)
def test_no_proof_file_brings_out_what_is_a_digest_elsewhere(target: Target, data: JsonObject) -> None:
    put(target, loosened())
    hide(target, data)
    said = target.call("get_object", kind="Release", name=NAME, object=OBJECT)
    assert said.item["manifest"]["data"].keys() >= data.keys()
    assert not stands_in(said.content)
    proposal = target.call("get_history", release=NAME).item["proposal"]
    signed = target.call("get_proposals", release=NAME).item["id"]
    asked: list[tuple[str, str]] = [
        ("release", NAME),
        ("proposal", str(proposal)),
        ("key", statekeys.envelope(signed).decode()),
    ]
    with target.nothing_written():
        for what, name in asked:
            said = target.call("export_proof", what=what, name=name, inline=True)
            target.expect(said, Code.SECRET_FOUND, Verdict.ALLOW)
            assert not stands_in(said.content)
            whole = target.call("export_proof", what=what, name=name)
            assert whole.code is None
            assert not stands_in(whole.content)


@pytest.mark.requires("mcp.red-proof")
def test_a_proof_file_of_what_others_show_whole_comes_with_the_answer(target: Target) -> None:
    put(target, loosened())
    for key in sorted(target.ledger.values[target.ledger.height]):
        said = target.call("export_proof", what="key", name=key.decode(), inline=True)
        assert said.code is None, (key, said.content)
        assert json.loads(said.item["proof"])["question"]["name"] == key.decode()


@pytest.mark.requires("mcp.red-proof")
@pytest.mark.parametrize("is_proposer", [False, True], ids=["reader", "proposer"])
def test_by_the_printed_policies_no_file_comes_with_an_answer_and_none_is_of_a_key(
    target: Target, is_proposer: bool
) -> None:
    scope = Scope([NAME], ["east"], ["ConfigMap"])
    spec = reading_policy(ROBOT.did)
    put(target, proposing_policy(ROBOT.did, scope, [EAST.did]) if is_proposer else spec)
    hide(target, {"DB_PASSWORD": SECRET})
    with target.nothing_written():
        said = target.call("export_proof", what="release", name=NAME, inline=True)
        target.expect(said, Code.FIELD_UNKNOWN)
        said = target.call("export_proof", what="key", name=KEY)
        target.expect(said, Code.ARGUMENT_NOT_ALLOWED)
        assert target.call("export_proof", what="release", name=NAME).item["sha256"]


@pytest.mark.requires("mcp.red-proof")
def test_nobody_gets_no_file_and_no_proof_of_a_key(target: Target) -> None:
    guard = Guarded(Standings(source_of(Speaking(target.ledger))), target.time.now_ns)

    def asks(**given: Json) -> Callable[[], object]:
        return lambda: guard.before(Call("tool", "export_proof", given))

    refusal_of(asks(what="release", name=NAME, inline=True), Code.FIELD_UNKNOWN)
    refusal_of(asks(what="key", name=KEY), Code.ARGUMENT_NOT_ALLOWED)
    assert asks(what="release", name=NAME)() == ()
