"""The guard in the chain: whose policy judges a call, what lists show, what becomes of a suspension."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from ledger.bodies import revocation_body, suspension_body
from ledger.errors import Code, VerificationFailed
from ledger.standard import ledger_object
from ledger.types import Did, JsonObject
from mcp_server.catalogue import BY_NAME
from mcp_server.chain import Call, Principal
from mcp_server.guard.calls import Reason
from mcp_server.guarding import NOBODY, Guarded, Remembered
from mcp_server.policies import reader_of, reading_policy
from mcp_server.prompts import PROMPTS
from mcp_server.resources import LISTS, TEMPLATES
from mcp_server.server import build
from mcp_server.shown import shown
from mcp_server.standing import Standings, owner_of
from tests.support.ledger import ALICE, ROBOT, Ledger, envelope
from tests.support.mcp import Speaking, a_story, source_of
from tests.support.mcp_process import with_robot
from tests.support.refusal import refusal_of

UNKNOWN = "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
SECOND_NS = 10**9
ROBOTS = Principal(ROBOT.did, ROBOT.key_id)
STORY = a_story()
NAMED = {tool["tool"] for tool in reading_policy(ROBOT.did)["tools"]}
READS = [name for name in BY_NAME if name in NAMED]
MODES = ("legacy", "2026-07-28")
REQUIRED: dict[str, dict[str, Any]] = {
    "get_object": {"kind": "Release", "name": "guestbook"},
    "get_history": {"release": "guestbook"},
    "explain_proposal": {"number": 3},
    "get_authority": {"section": "roles"},
    "export_proof": {"what": "release", "name": "guestbook"},
}


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


def policy_of(**changed: Any) -> JsonObject:
    spec = reading_policy(ROBOT.did)
    return ledger_object("AgentPolicy", ROBOT.name, {**spec, **changed})


def only(*tools: str, **rules: Any) -> JsonObject:
    """Give a policy of some tools alone; ``rules`` replace the rule of an argument."""
    spec = reading_policy(ROBOT.did)
    kept = [tool for tool in spec["tools"] if tool["tool"] in tools]
    for tool in kept:
        tool["arguments"] = [{**rule, **rules.get(rule["path"], {})} for rule in tool["arguments"]]
        for rule in tool["arguments"]:
            if rule["path"] in rules:
                rule.pop("bytesMax", None)
    return policy_of(tools=kept)


def a_ledger(policy: JsonObject | None = None) -> Ledger:
    ledger = a_story()
    if policy is not None:
        ledger.configure(policy)
        ledger.commit()
    return ledger


def guarded(ledger: Ledger, clock: Clock | None = None, **more: Any) -> Guarded:
    return Guarded(Standings(source_of(Speaking(ledger))), clock or Clock(), **more)


def a_call(tool: str, principal: Principal | None = ROBOTS, **given: Any) -> Call:
    if principal is None:
        return Call("tool", tool, given)
    return Call("tool", tool, given, principal.did, principal.key_id)


def served(ledger: Ledger, work: Callable[[Client], Awaitable[None]], who: Principal | None) -> None:
    """Let a client of each era work with a guarded server."""

    async def run(mode: str) -> None:
        source = source_of(Speaking(ledger))
        server = build(source, Guarded(Standings(source), Clock()), local=who)
        async with Client(server, mode=mode) as client:
            await work(client)

    for mode in MODES:
        anyio.run(run, mode)


@pytest.mark.requires("mcp.guarded")
@pytest.mark.parametrize("who", [None, ROBOTS])
def test_who_may_read_gets_every_answer_as_it_is(who: Principal | None) -> None:
    ledger = a_ledger(policy_of())

    async def work(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == READS
        for name in READS:
            found = await client.call_tool(name, REQUIRED.get(name, {}))
            assert not found.is_error, found
        assert len((await client.list_resources()).resources) > len(LISTS)
        assert len((await client.list_resource_templates()).resource_templates) == len(TEMPLATES)
        assert len((await client.list_prompts()).prompts) == len(PROMPTS)
        assert (await client.get_prompt("triage", {})).messages
        await client.read_resource("conclave://release/guestbook")

    served(ledger, work, who)


@pytest.mark.requires("guard.left-out")
def test_what_patterns_leave_out_is_not_got_by_naming_nothing() -> None:
    rule = {"type": "name", "patterns": ["other-*"]}
    ledger = a_ledger(only("get_releases", "get_proposals", "search_audit", release=rule))

    async def work(client: Client) -> None:
        for tool in ("get_releases", "get_proposals", "search_audit"):
            assert _name(await client.call_tool(tool, {})) == "FIELD_MISSING"
            assert _name(await client.call_tool(tool, {"release": "guestbook"})) == "ARGUMENT_NOT_ALLOWED"
        for uri in ("conclave://releases", "conclave://proposals"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
        assert [str(each.uri) for each in (await client.list_resources()).resources] == []

    served(ledger, work, ROBOTS)


@pytest.mark.requires("guard.left-out")
def test_a_policy_cannot_call_a_reading_tool_one_that_proposes_or_the_other_way_round() -> None:
    rule = {"path": "release", "type": "name", "patterns": ["other-*"]}
    spec = reading_policy(ROBOT.did)
    (tool,) = (each for each in spec["tools"] if each["tool"] == "get_releases")
    reading = {**tool, "arguments": [rule], "opensProposal": True}
    proposing = {"tool": "request_change", "arguments": [rule], "budget": tool["budget"]}
    chain = guarded(a_ledger(policy_of(tools=[reading, proposing])))
    refusal_of(lambda: chain.before(a_call("get_releases")), Code.FIELD_MISSING)
    asked = a_call("request_change", release="other-1")
    refusal_of(lambda: chain.before(asked), Code.OPEN_PROPOSALS_EXCEEDED)


@pytest.mark.requires("mcp.lists")
def test_lists_show_what_the_policy_allows_in_their_order() -> None:
    ledger = a_ledger(only("get_releases", "get_clusters", name={"type": "name", "patterns": ["east"]}))

    async def work(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["get_clusters", "get_releases"]
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        # All clusters at once are more than the one that the policy lets it ask for.
        assert listed == ["conclave://releases", "conclave://cluster/east"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["conclave://cluster/{cluster}"]
        assert (await client.list_prompts()).prompts == []
        reference = types.ResourceTemplateReference(type="ref/resource", uri="conclave://cluster/{cluster}")
        completed = await client.complete(reference, {"name": "cluster", "value": ""})
        assert list(completed.completion.values) == ["east"]
        for refused in (
            client.get_prompt("triage", {}),
            client.read_resource("conclave://cluster/west"),
            client.read_resource("conclave://release/guestbook"),
        ):
            with pytest.raises(MCPError):
                await refused
        denied = await client.call_tool("get_clusters", {"name": "west"})
        assert denied.is_error
        assert _name(denied) == "ARGUMENT_NOT_ALLOWED"
        assert _name(await client.call_tool("get_authority", {"section": "roles"})) == "TOOL_NOT_ALLOWED"

    served(ledger, work, ROBOTS)


def _name(found: types.CallToolResult) -> str:
    (text,) = found.content
    assert isinstance(text, types.TextContent)
    name: str = json.loads(text.text)["error"]["name"]
    return name


@pytest.mark.requires("mcp.guarded")
def test_an_agent_without_a_policy_has_no_tool() -> None:
    async def work(client: Client) -> None:
        for listing in (client.list_tools(), client.list_resources(), client.list_prompts()):
            found = (await listing).model_dump()
            assert [] in found.values()
        assert _name(await client.call_tool("get_clusters", {})) == "TOOL_NOT_ALLOWED"
        with pytest.raises(MCPError):
            await client.read_resource("conclave://clusters")

    served(STORY, work, ROBOTS)


@pytest.mark.requires("mcp.anonymous")
def test_who_is_nobody_may_read_and_nothing_else() -> None:
    policy = reader_of(NOBODY)
    assert policy.open_proposals_max == 0
    assert {tool.tool for tool in policy.tools} == NAMED
    assert not [name for name in READS if BY_NAME[name].opens_proposal]
    chain = guarded(STORY)
    refusal_of(lambda: chain.before(a_call("propose_release", None)), Code.TOOL_NOT_ALLOWED)
    refusal_of(lambda: chain.before(a_call("get_clusters", None, more=1)), Code.FIELD_UNKNOWN)


@pytest.mark.requires("mcp.anonymous")
def test_who_is_nobody_has_a_budget_and_cuts_nobody_off() -> None:
    chain = guarded(STORY)
    for _ in range(4):
        for _ in range(60):
            refusal_of(lambda: chain.before(a_call("no_such_tool", None)), Code.TOOL_NOT_ALLOWED)
    chain.before(a_call("get_clusters", None))
    codes = set()
    for number in range(400):
        try:
            chain.before(
                a_call("get_history", None, release=f"r{chr(97 + number // 26)}{chr(97 + number % 26)}")
            )
        except Exception as error:  # noqa: BLE001 - whatever comes is told apart by its code
            codes.add(getattr(error, "code", None))
    assert codes == {Code.BUDGET_EXCEEDED}


@pytest.mark.requires("mcp.principal")
def test_a_principal_is_nobody_else_and_its_key_is_its_own() -> None:
    chain = guarded(a_ledger(policy_of()))
    chain.before(a_call("get_clusters"))
    spoofed = {
        Code.SIGNER_UNKNOWN: Principal(f"did:key:{UNKNOWN}", ROBOT.key_id),
        Code.VERB_NOT_ALLOWED: Principal(ALICE.did, ALICE.key_id),
        Code.KEY_NOT_OF_SIGNER: Principal(ROBOT.did, ALICE.key_id),
    }
    for code, principal in spoofed.items():
        refusal_of(partial(chain.before, a_call("get_clusters", principal)), code)
        assert not chain.shows(a_call("get_clusters", principal))


@pytest.mark.requires("mcp.principal")
def test_the_owner_of_a_key_is_read_from_the_ledger() -> None:
    source = source_of(Speaking(STORY))
    assert owner_of(source, ROBOT.key_id) == ROBOT.did
    refusal_of(lambda: owner_of(source, UNKNOWN), Code.SIGNER_UNKNOWN)


@pytest.mark.requires("mcp.auth-revoked")
def test_a_revocation_counts_with_the_block_after_it() -> None:
    ledger = a_ledger(policy_of())
    chain = guarded(ledger)
    chain.before(a_call("get_clusters"))
    ledger.commit(envelope(ALICE, revocation_body(ROBOT.did, (ROBOT.key_id,))))
    ledger.commit()
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.KEY_NOT_ACTIVE)


@pytest.mark.requires("mcp.guarded")
def test_a_new_policy_counts_with_the_block_after_it() -> None:
    ledger = a_ledger(policy_of())
    chain = guarded(ledger)
    chain.before(a_call("get_clusters"))
    ledger.configure(only("get_releases"))
    ledger.commit()
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.TOOL_NOT_ALLOWED)
    ledger.configure(remove=(("AgentPolicy", ROBOT.name),))
    ledger.commit()
    refusal_of(lambda: chain.before(a_call("get_releases")), Code.TOOL_NOT_ALLOWED)


@pytest.mark.requires("mcp.suspended")
def test_a_suspension_on_the_ledger_counts_until_it_is_lifted() -> None:
    ledger = a_ledger(policy_of())
    chain = guarded(ledger)
    assert [r.code for r in ledger.commit(envelope(ALICE, suspension_body(ROBOT.did)))] == [0]
    ledger.commit()
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)
    assert not chain.shows(a_call("get_clusters"))
    ledger.configure(remove=(("Suspension", ROBOT.name),))
    ledger.commit()
    chain.before(a_call("get_clusters"))


class Telling(Remembered):
    """Remembers, and then fails."""

    def suspended(self, principal: Any, reason: Reason, call: Call) -> None:
        super().suspended(principal, reason, call)
        raise RuntimeError("no way to the ledger")


def tripped(chain: Guarded) -> Iterator[Code]:
    """Give the codes of one smuggled token after another."""
    for number in range(6):
        secret = f"ghp_{number}{'a1B2' * 8}xyz"
        with pytest.raises(Exception) as raised:
            chain.before(a_call("get_authority", section=secret))
        yield raised.value.code  # type: ignore[attr-defined]


@pytest.mark.requires("mcp.suspended")
def test_a_suspension_of_the_guard_is_told_once_and_stands() -> None:
    ledger, told = a_ledger(policy_of()), Telling()
    chain = guarded(ledger, on_suspend=told)
    codes = list(tripped(chain))
    assert codes == [Code.SECRET_FOUND] * 3 + [Code.AGENT_SUSPENDED] * 3
    assert [(did, reason.facts["cause"]) for did, reason in told.seen] == [(ROBOT.did, "SECRET_FOUND")]
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)
    listing = Call("list", "tools", None, ROBOT.did, ROBOT.key_id)
    refusal_of(lambda: chain.before(listing), Code.AGENT_SUSPENDED)
    chain.before(a_call("get_clusters", None))


@pytest.mark.requires("mcp.suspended")
def test_what_the_ledger_lifted_is_lifted_here() -> None:
    ledger = a_ledger(policy_of())
    chain = guarded(ledger)
    assert list(tripped(chain))[-1] is Code.AGENT_SUSPENDED
    ledger.commit()
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)
    ledger.commit(envelope(ALICE, suspension_body(ROBOT.did)))
    ledger.configure(remove=(("Suspension", ROBOT.name),))
    ledger.commit()
    # The agent said nothing in between: whoever told the ledger says that it has it.
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)
    chain.noted(Did(ROBOT.did), ledger.height)
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)
    ledger.commit()
    chain.before(a_call("get_clusters"))


@pytest.mark.requires("mcp.suspended")
def test_a_suspension_that_the_gate_read_is_lifted_here_too() -> None:
    ledger = a_ledger(policy_of())
    standings = Standings(source_of(Speaking(ledger)))
    chain = Guarded(standings, Clock())
    assert list(tripped(chain))[-1] is Code.AGENT_SUSPENDED
    ledger.commit(envelope(ALICE, suspension_body(ROBOT.did)))
    ledger.commit()
    assert standings.of(ROBOT.did).suspension is not None
    ledger.configure(remove=(("Suspension", ROBOT.name),))
    ledger.commit()
    chain.before(a_call("get_clusters"))
    assert list(tripped(chain))[-1] is Code.AGENT_SUSPENDED
    refusal_of(lambda: chain.before(a_call("get_clusters")), Code.AGENT_SUSPENDED)


@pytest.mark.requires("mcp.guarded")
def test_warnings_stand_beside_the_answer() -> None:
    usual = {"type": "name", "patterns": ["*"], "usual": ["west"]}
    ledger = a_ledger(only("get_clusters", name=usual))

    async def work(client: Client) -> None:
        await client.list_tools()
        found = await client.call_tool("get_clusters", {"name": "east"})
        assert found.meta is not None
        (warning,) = found.meta["conclave.internal/warnings"]
        assert (warning["name"], warning["field"]) == ("FIRST_TOUCH", "name")
        again = await client.call_tool("get_clusters", {"name": "east"})
        assert "conclave.internal/warnings" not in (again.meta or {})

    served(ledger, work, ROBOTS)


@pytest.mark.requires("mcp.guarded")
def test_an_answer_is_judged_too() -> None:
    chain = guarded(a_ledger(policy_of()))
    call = a_call("get_clusters")
    chain.before(call)
    token = "ghp_" + "a1B2" * 9
    refusal_of(lambda: chain.after(call, {"items": [{"name": token}]}), Code.SECRET_FOUND)
    spent = a_ledger(policy_of(budget={**reading_policy(ROBOT.did)["budget"], "objects": RATE}))
    chain = guarded(spent)
    call = a_call("get_releases")
    chain.before(call)
    entries = tuple(f"release/r{number}" for number in range(4))
    chain.after(call, {"items": []}, entries[:3])
    chain.before(call)
    refusal_of(lambda: chain.after(call, {"items": []}, entries), Code.BUDGET_EXCEEDED)


RATE = {"capacity": 3, "perSeconds": 3600}


def few(tool: str, capacity: int) -> JsonObject:
    """Give a policy by which a tool may show so many different objects."""
    spec = reading_policy(ROBOT.did)
    for each in spec["tools"]:
        if each["tool"] == tool:
            each["budget"] = {**each["budget"], "objects": {"capacity": capacity, "perSeconds": 3600}}
    return policy_of(tools=spec["tools"])


@pytest.mark.requires("mcp.objects")
@pytest.mark.parametrize("fields", [None, ["did", "keys"], ["keys[0].keyId"], []])
def test_what_an_answer_shows_counts_whatever_was_chosen_of_it(fields: list[str] | None) -> None:
    chosen = {} if fields is None else {"fields": fields}

    async def work(client: Client) -> None:
        said = await client.call_tool("get_authority", {"section": "identities", **chosen})
        assert "BUDGET_EXCEEDED" in said.model_dump_json()

    async def small(client: Client) -> None:
        # Two at a time, of which each counts once.
        for limit in (2, 1, 2):
            given = {"section": "identities", "limit": limit, **chosen}
            assert not (await client.call_tool("get_authority", given)).is_error

    served(a_ledger(few("get_authority", 2)), small, ROBOTS)
    served(a_ledger(few("get_authority", 2)), work, ROBOTS)


@pytest.mark.requires("mcp.objects")
def test_each_manifest_of_a_release_counts_and_so_does_what_is_guessed() -> None:
    chain = guarded(a_ledger(few("get_object", 3)))
    asked: dict[str, Any] = {"kind": "Release", "name": "guestbook"}
    chain.before(a_call("get_object", **asked))
    chain.before(a_call("get_object", **asked, object="v1/ConfigMap/guestbook/greeting"))
    chain.before(a_call("get_object", **asked, object="v1/ConfigMap/guestbook/other"))
    chain.before(a_call("get_object", **asked, object="v1/ConfigMap/guestbook/other"))
    third = a_call("get_object", **asked, object="v1/ConfigMap/guestbook/third")
    refusal_of(lambda: chain.before(third), Code.BUDGET_EXCEEDED)
    role = a_call("get_object", kind="Role", name="approver")
    refusal_of(lambda: chain.before(role), Code.BUDGET_EXCEEDED)


@pytest.mark.requires("mcp.objects")
@pytest.mark.parametrize(
    ("tool", "given", "item", "expected"),
    [
        ("get_releases", {}, {"release": "a", "cluster": "east"}, ("release/a", "cluster/east")),
        ("get_clusters", {}, {"name": "east"}, ("cluster/east",)),
        ("get_clusters", {"name": "east"}, {"name": "east"}, ("cluster/east",)),
        ("get_object", {"kind": "Release", "name": "a"}, {"name": "a"}, ("release/a",)),
        ("get_object", {"kind": "Role", "name": "a"}, {"name": "a"}, ("Role/a",)),
        ("get_authority", {"section": "roles"}, {"name": "a"}, ("Role/a",)),
        ("get_authority", {"section": "identities"}, {"name": "a", "kind": "human"}, ("identity/a",)),
        ("get_proposals", {}, {"number": 3}, ("proposal/3",)),
        ("explain_proposal", {"number": 3}, {"number": 3}, ("proposal/3",)),
        ("get_incidents", {}, {"number": 3, "kind": "x"}, ("incident/3",)),
        ("search_audit", {}, {"event": "incident frozen", "number": 3}, ("incident/3",)),
        ("search_audit", {}, {"event": "approved", "number": 3}, ("proposal/3",)),
        ("get_incidents", {}, {"kind": "freeze", "name": "f"}, ("get_incidents/f",)),
    ],
)
def test_an_object_has_one_spelling_whichever_tool_shows_it(
    tool: str, given: JsonObject, item: JsonObject, expected: tuple[str, ...]
) -> None:
    assert shown(tool, given, item) == expected


@pytest.mark.requires("mcp.objects")
def test_what_has_no_name_counts_as_what_it_says() -> None:
    one, other = (shown("get_authority", {"section": "parameters"}, {"a": n}) for n in (1, 2))
    assert len({*one, *other}) == 2


@pytest.mark.requires("mcp.guarded")
def test_nobody_is_believed_to_stand_well_by_a_stale_state() -> None:
    source = source_of(Speaking(a_ledger(policy_of())), later_ns=3600 * SECOND_NS)
    chain = Guarded(Standings(source), Clock())
    with pytest.raises(VerificationFailed) as raised:
        chain.before(a_call("get_clusters"))
    assert raised.value.code is Code.STALE
    chain.before(a_call("get_clusters", None))


@pytest.mark.requires("mcp.lists")
def test_lists_cost_nothing_of_what_may_be_called_and_are_bounded() -> None:
    clock = Clock()
    chain = guarded(with_robot(), clock)
    listing = Call("list", "tools", None, ROBOT.did, ROBOT.key_id)
    for _ in range(600):
        chain.before(listing)
    refused = refusal_of(lambda: chain.before(listing), Code.BUDGET_EXCEEDED)
    assert refused.facts["retryAfterSeconds"] == 1
    chain.before(a_call("get_clusters"))
    clock.now_ns += SECOND_NS
    chain.before(listing)


@pytest.mark.requires("mcp.lists")
def test_what_there_is_not_costs_what_a_list_does() -> None:
    chain = guarded(with_robot())
    unknown = Call("resource", "conclave://nothing/here", None, ROBOT.did, ROBOT.key_id)
    assert not chain.shows(unknown)
    for _ in range(600):
        refusal_of(lambda: chain.before(unknown), Code.NAME_UNKNOWN)
    refusal_of(lambda: chain.before(unknown), Code.BUDGET_EXCEEDED)
