"""The read tools over a ledger in memory: what they give, from what they prove it, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from consensus.proof_file.form import decode
from consensus.proof_file.judge import judge
from ledger import statekeys
from ledger.bodies import release_body
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.types import sha256
from mcp_server.answering import ANSWER_BYTES_MAX, META_KEY, answer, tool_named
from mcp_server.catalogue import BY_NAME, READ_TOOLS, TOKENS_MAX, TOOLS, TOOLS_MAX
from mcp_server.refusals import error_json
from tests.support.ledger import ALICE, CAROL, Ledger, a_release, envelope
from tests.support.mcp import Speaking, a_story, ask, items, source_of
from tests.unit.consensus.ledgers import root_of

STORY = a_story()
STORY.commit(envelope(ALICE, release_body(a_release(text="three"))))
STORY.commit()
OPEN = 4
READS = [tool.name for tool in READ_TOOLS]
REQUIRED: dict[str, dict[str, Any]] = {
    "get_object": {"kind": "Release", "name": "guestbook"},
    "get_history": {"release": "guestbook"},
    "explain_proposal": {"number": OPEN},
    "get_authority": {"section": "roles"},
    "export_proof": {"what": "release", "name": "guestbook"},
}


def refused(source: Any, tool: str, given: object) -> ConclaveError:
    """Give the error a call ends in."""
    with pytest.raises(ConclaveError) as raised:
        answer(source, tool_named(tool), given)
    return raised.value


@pytest.mark.requires("mcp.read")
@pytest.mark.parametrize("tool", READS)
def test_every_tool_answers_with_what_proves_it(tool: str) -> None:
    given = ask(source_of(Speaking(STORY)), tool, **REQUIRED.get(tool, {}))
    meta = given.meta[META_KEY]
    assert meta["chainId"] == STORY.chain.chain_id
    assert (meta["height"], meta["isStale"]) == (STORY.height - 1, False)
    assert meta["proof"]["provenBy"] == STORY.height
    assert meta["proof"]["keys"]
    assert given.content["readAt"]["height"] == STORY.height - 1
    assert isinstance(given.content["items"], list)


@pytest.mark.requires("mcp.read")
def test_status_tells_what_is_final_and_what_is_applied() -> None:
    (row,) = items(source_of(Speaking(STORY)), "get_releases")
    assert (row["release"], row["cluster"], row["revision"], row["appliedRevision"]) == (
        "guestbook",
        "east",
        3,
        1,
    )
    assert row["approvers"] == ["alice", "carol"]
    assert items(source_of(Speaking(STORY)), "get_releases", problems=True) == []
    assert items(source_of(Speaking(STORY)), "get_releases", cluster="west") == []


@pytest.mark.requires("mcp.read")
def test_an_object_of_a_release_is_what_was_signed() -> None:
    source = source_of(Speaking(STORY))
    (summary,) = items(source, "get_object", kind="Release", name="guestbook", revision=2)
    name = summary["objects"][0]["object"]
    (found,) = items(source, "get_object", kind="Release", name="guestbook", revision=2, object=name)
    assert found["manifest"] == a_release(text="two")["spec"]["manifests"][0]
    assert (
        refused(source, "get_object", {"kind": "Role", "name": "ops", "revision": 1}).code
        is Code.FIELD_UNKNOWN
    )


@pytest.mark.requires("mcp.read")
def test_as_of_an_earlier_height_the_ledger_says_what_it_said_then() -> None:
    source = source_of(Speaking(STORY))
    then = ask(source, "get_history", release="guestbook", at=5)
    assert [item["revision"] for item in then.content["items"]] == [1]
    assert then.content["readAt"] == {
        "height": 5,
        "ageSeconds": then.meta[META_KEY]["ageSeconds"],
        "asOf": True,
    }
    assert refused(source, "get_clusters", {"at": 10_000}).code is Code.HEIGHT_NOT_AVAILABLE


@pytest.mark.requires("mcp.explain")
def test_an_open_proposal_comes_with_its_difference_and_the_nodes_word_marked_as_one() -> None:
    (found,) = items(source_of(Speaking(STORY)), "explain_proposal", number=OPEN)
    (changed,) = found["difference"]["objects"]
    assert changed["paths"] == [{"path": "data.text", "from": "one", "to": "three"}]
    assert found["nodeSays"]["proven"] is False
    assert found["nodeSays"]["missing"]["humans"] == 2
    (done,) = items(source_of(Speaking(STORY)), "explain_proposal", number=2)
    assert "nodeSays" not in done


@pytest.mark.requires("mcp.explain")
def test_a_node_that_babbles_about_a_proposal_spoils_no_proven_answer() -> None:
    node = Speaking(STORY)
    node.lies["dry_run"] = lambda said: dataclasses.replace(said, value=b"approved!")
    (found,) = items(source_of(node), "explain_proposal", number=OPEN)
    assert found["nodeSays"] == {"proven": False, "name": "RPC_ANSWER_INVALID"}
    assert found["state"] == "open"


@pytest.mark.requires("mcp.audit-search")
def test_the_audit_tells_who_did_what_the_newest_first() -> None:
    source = source_of(Speaking(STORY))
    found = items(source, "search_audit", subject="carol", release="guestbook")
    assert [(item["event"], item["number"]) for item in found] == [("approved", n) for n in (3, 2, 1)]
    assert {item["by"] for item in found} == {"carol"}
    narrow = items(source, "search_audit", fromHeight=3, toHeight=4, release="guestbook")
    assert {item["height"] for item in narrow} == {3, 4}
    for nobody in ("nobody", "did:key:z6Mknobody"):
        assert refused(source, "search_audit", {"subject": nobody}).code is Code.OBJECT_UNKNOWN
    assert refused(source, "search_audit", {"subject": "did:key:é"}).code is Code.FIELD_INVALID
    assert items(source, "search_audit", subject=CAROL.did) == items(source, "search_audit", subject="carol")


@pytest.mark.requires("mcp.proof")
def test_a_proof_file_over_mcp_is_judged_by_a_stranger() -> None:
    source = source_of(Speaking(STORY))
    key = statekeys.ledger_object("Cluster", "east").decode()
    (told,) = items(source, "export_proof", what="key", name=key, inline=True)
    content = told["proof"].encode()
    assert told["sha256"] == sha256(content).hex()
    assert judge(decode(content), root_of(STORY), STORY.chain.now_ns).headers[-1].height == STORY.height
    assert "proof" not in items(source, "export_proof", what="key", name=key)[0]


@pytest.mark.requires("mcp.proof")
def test_the_handle_of_an_answer_is_enough_to_prove_it() -> None:
    source = source_of(Speaking(STORY))
    handle = ask(source, "get_clusters", name="east").meta[META_KEY]["proof"]
    assert handle["keyCount"] == len(handle["keys"])
    for key in handle["keys"]:
        (told,) = items(source, "export_proof", what="key", name=key, at=handle["height"])
        assert told["provenBy"]["height"] == handle["provenBy"]


@pytest.mark.requires("mcp.stale")
def test_a_stale_answer_says_so() -> None:
    late = ask(source_of(Speaking(STORY), later_ns=3600 * 10**9), "get_clusters")
    assert late.content["readAt"]["stale"].startswith("STALE")
    assert late.meta[META_KEY]["isStale"] is True
    assert "stale" not in ask(source_of(Speaking(STORY)), "get_clusters").content["readAt"]


@pytest.mark.requires("mcp.proven")
@pytest.mark.parametrize("tool", [name for name in READS if name != "export_proof"])
def test_no_tool_believes_a_value_the_node_changed(tool: str) -> None:
    node = Speaking(STORY)
    node.lies["abci_query"] = lambda said: dataclasses.replace(said, value=said.value + b" ")
    error = refused(source_of(node), tool, REQUIRED.get(tool, {}))
    assert isinstance(error, VerificationFailed)
    assert error.code is Code.PROOF_INVALID


BAD: list[tuple[str, object, Code]] = [
    ("get_clusters", {"nme": "east"}, Code.FIELD_UNKNOWN),
    ("get_clusters", {"name": 7}, Code.FIELD_INVALID),
    ("get_clusters", {"name": "EAST"}, Code.FIELD_INVALID),
    ("get_clusters", {"name": "e\u0430st"}, Code.FIELD_INVALID),
    ("get_clusters", {"name": "../east"}, Code.FIELD_INVALID),
    ("get_clusters", {"name": None}, Code.FIELD_INVALID),
    ("get_clusters", {"limit": "3"}, Code.FIELD_INVALID),
    ("get_clusters", {"limit": 1.0}, Code.FIELD_INVALID),
    ("get_clusters", {"limit": True}, Code.FIELD_INVALID),
    ("get_clusters", {"limit": 0}, Code.FIELD_INVALID),
    ("get_clusters", {"limit": 101}, Code.FIELD_INVALID),
    ("get_clusters", {"at": -1}, Code.FIELD_INVALID),
    ("get_clusters", {"at": 2**64}, Code.FIELD_INVALID),
    ("get_clusters", {"cursor": "1.x"}, Code.FIELD_INVALID),
    ("get_clusters", {"cursor": "9" * 50}, Code.LIMIT_EXCEEDED),
    ("get_clusters", {"fields": ["no"]}, Code.FIELD_UNKNOWN),
    ("get_clusters", {"fields": "name"}, Code.FIELD_INVALID),
    ("get_clusters", {"fields": ["name"] * 17}, Code.LIMIT_EXCEEDED),
    ("get_clusters", [], Code.FIELD_INVALID),
    ("get_clusters", "name", Code.FIELD_INVALID),
    ("get_releases", {"problems": 1}, Code.FIELD_INVALID),
    ("get_object", {"kind": "Release"}, Code.FIELD_MISSING),
    ("get_object", {"kind": "release", "name": "guestbook"}, Code.FIELD_INVALID),
    ("get_object", {"kind": "Secret", "name": "guestbook"}, Code.FIELD_INVALID),
    ("explain_proposal", {"number": "4"}, Code.FIELD_INVALID),
    ("export_proof", {"what": "key"}, Code.FIELD_INVALID),
    ("export_proof", {"what": "headers", "name": "x"}, Code.FIELD_INVALID),
]


@pytest.mark.requires("mcp.strict")
@pytest.mark.parametrize(("tool", "given", "code"), BAD)
def test_arguments_are_refused_never_converted(tool: str, given: object, code: Code) -> None:
    error = refused(source_of(Speaking(STORY)), tool, given)
    assert isinstance(error, Refused)
    assert error.code is code


@pytest.mark.requires("mcp.strict")
def test_every_tool_is_asked_exactly_what_its_schema_says() -> None:
    for tool in READ_TOOLS:
        schema = tool.input_schema
        assert schema["additionalProperties"] is False
        for name in schema["properties"]:
            with pytest.raises(Refused):
                tool.read({**REQUIRED.get(tool.name, {}), name: {"a": 1}})
        with pytest.raises(Refused):
            tool.read({**REQUIRED.get(tool.name, {}), "other": 1})


@pytest.mark.requires("mcp.errors")
@pytest.mark.parametrize(("tool", "given", "code"), BAD)
def test_a_refusal_never_repeats_what_was_got(tool: str, given: object, code: Code) -> None:
    secret = "hunter2-hunter2"
    told = error_json(refused(source_of(Speaking(STORY)), tool, given))
    assert told["name"] == code.name
    assert "got" not in told
    for field in ("name", "cursor", secret):
        assert secret not in json.dumps(
            error_json(refused(source_of(Speaking(STORY)), tool, {field: [secret]}))
        )


@pytest.mark.requires("mcp.errors")
@pytest.mark.parametrize("kind", [EnvironmentFault, VerificationFailed, Refused])
def test_a_refusal_never_tells_where_the_node_is(kind: type[ConclaveError]) -> None:
    node = Speaking(STORY)

    def lie(_: object) -> None:
        raise kind(Code.RPC_UNREACHABLE, got="http://10.0.0.9", expected="a node", file="trust.json")

    node.lies["status"] = lie
    told = error_json(refused(source_of(node), "get_clusters", {}))
    assert told["name"] == "RPC_UNREACHABLE"
    assert "10.0.0.9" not in json.dumps(told)
    assert "trust.json" not in json.dumps(told)


@pytest.mark.requires("mcp.tokens")
def test_the_table_of_tools_is_small_and_in_one_order() -> None:
    listed = [
        {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            "outputSchema": tool.output_schema,
            "annotations": {"destructiveHint": False} if tool.writes else {"readOnlyHint": True},
        }
        for tool in TOOLS
    ]
    content = json.dumps(listed, separators=(",", ":"))
    assert len(TOOLS) <= TOOLS_MAX
    assert len(content) // 4 <= TOKENS_MAX
    assert [tool.name for tool in TOOLS] == list(BY_NAME)


def _many(count: int, characters: int) -> Ledger:
    """A ledger with a release of many large objects."""
    ledger = Ledger()
    ledger.commit()
    release = a_release()
    (manifest,) = release["spec"]["manifests"]
    release["spec"]["manifests"] = [
        {
            **manifest,
            "metadata": {"name": f"m{n:03}", "namespace": "guestbook"},
            "data": {"text": "é" * characters},
        }
        for n in range(count)
    ]
    ledger.approve(envelope(ALICE, release_body(release)), (ALICE, CAROL))
    ledger.commit()
    return ledger


@pytest.mark.requires("mcp.budget")
def test_no_answer_is_larger_than_its_budget_and_what_was_cut_says_so() -> None:
    source = source_of(Speaking(_many(600, 10)))
    given = ask(source, "get_object", kind="Release", name="guestbook")
    assert len(json.dumps(given.content, ensure_ascii=False).encode()) <= ANSWER_BYTES_MAX * 1.1
    assert given.content["items"][0]["truncated"] is True
    large = source_of(Speaking(_many(1, 60_000)))
    name = "v1/ConfigMap/guestbook/m000"
    (item,) = items(large, "get_object", kind="Release", name="guestbook", object=name)
    assert item["truncated"] is True
    assert item["manifest"]["data"]["text"].endswith("characters more]")


@pytest.mark.requires("mcp.budget")
def test_pages_of_a_list_are_of_one_height_and_leave_nothing_out() -> None:
    ledger = a_story()
    source = source_of(Speaking(ledger))
    first = ask(source, "get_proposals", limit=2)
    assert [item["number"] for item in first.content["items"]] == [3, 2]
    ledger.commit(envelope(ALICE, release_body(a_release(text="later"))))
    ledger.commit()
    rest = ask(source, "get_proposals", cursor=first.content["next"])
    assert [item["number"] for item in rest.content["items"]] == [1]
    assert "next" not in rest.content
    assert rest.content["readAt"]["height"] == first.content["readAt"]["height"]


@pytest.mark.requires("mcp.budget")
def test_only_the_fields_asked_for_come_back() -> None:
    found = items(source_of(Speaking(STORY)), "get_proposals", fields=["number", "state"])
    assert all(set(item) == {"number", "state"} for item in found)
    assert len(found) == OPEN


@pytest.mark.requires("mcp.budget")
def test_a_slow_node_costs_a_page_not_the_server() -> None:
    ticks = iter(range(0, 1000, 7))
    found = answer(
        source_of(Speaking(STORY)), tool_named("get_proposals"), {}, clock=lambda: float(next(ticks))
    )
    assert [item["number"] for item in found.content["items"]] == [4, 3]
    assert found.content["next"] == f"{STORY.height - 1}.2"
