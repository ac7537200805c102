"""The guard's judgement: policies, budgets, loops, first touches, memory, and no alarm about the ordinary."""
# ruff: noqa: S311 - repeatable traffic

from __future__ import annotations

import base64
import copy
import hashlib
import random
from typing import Any

import pytest

from ledger.agent_policy import AgentPolicy, read_policy, to_json
from ledger.errors import Code
from ledger.limits import LOOP_CALLS_MAX
from ledger.types import JsonObject
from mcp_server.guard import limits, secret_patterns
from mcp_server.guard.calls import Verdict
from mcp_server.guard.state import GuardMemory, GuardState
from tests.support.guarding import (
    AGENT,
    BUDGET,
    Session,
    config_map,
    policy_json,
    refused,
)
from tests.support.refusal import refusal_of


@pytest.mark.requires("guard.policy")
def test_a_policy_reads_back_as_it_was_written() -> None:
    policy = read_policy(policy_json())
    assert read_policy(to_json(policy)) == policy
    assert to_json(read_policy(to_json(policy))) == to_json(policy)


def _set(path: str, value: Any) -> JsonObject:
    spec = copy.deepcopy(policy_json())
    *steps, last = path.split(".")
    at: Any = spec
    for step in steps:
        at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
    at[last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("agent", "me", Code.FIELD_INVALID),
        ("extra", 1, Code.FIELD_UNKNOWN),
        ("openProposalsMax", True, Code.FIELD_INVALID),
        ("openProposalsMax", 257, Code.FIELD_INVALID),
        ("tools.0.tool", "Get Object", Code.FIELD_INVALID),
        ("tools.0.tool", "zzz", Code.FIELD_INVALID),
        ("tools.0.budget.calls.capacity", -1, Code.FIELD_INVALID),
        ("tools.0.budget.calls.perSeconds", 0, Code.FIELD_INVALID),
        ("tools.0.arguments.0.path", "a..b", Code.FIELD_INVALID),
        ("tools.0.arguments.0.path", "name", Code.FIELD_INVALID),
        ("tools.0.arguments.0.type", "any", Code.FIELD_INVALID),
        ("tools.0.arguments.0.patterns", [], Code.FIELD_INVALID),
        ("tools.0.arguments.0.patterns", ["b", "a"], Code.FIELD_INVALID),
        ("tools.0.arguments.0.patterns", ["a*b"], Code.FIELD_INVALID),
        ("tools.0.arguments.0.atLeast", 1, Code.FIELD_UNKNOWN),
        ("tools.0.arguments.3.atMost", 0, Code.FIELD_INVALID),
        ("tools.0.opaquePaths", ["a.(b"], Code.FIELD_INVALID),
        ("tools.0.arguments", [{"path": f"p{n:03}", "type": "boolean"} for n in range(65)],
         Code.LIMIT_EXCEEDED),
        ("tools.0.arguments", [{"path": "a", "type": "boolean"}, {"path": "a.b", "type": "boolean"}],
         Code.FIELD_INVALID),
        ("tools.0.arguments", [{"path": "a"}], Code.FIELD_MISSING),
        ("loop.sameRefuseCalls", 3, Code.FIELD_INVALID),
        ("loop.windowSeconds", 0, Code.FIELD_INVALID),
        ("exfiltration.valueCharactersMax", "128", Code.FIELD_INVALID),
        ("trips", {"capacity": 3}, Code.FIELD_MISSING),
        ("guards", ["me"], Code.FIELD_INVALID),
        ("guards", [AGENT, AGENT], Code.FIELD_INVALID),
        ("guards", [f"did:key:z{n:02}" for n in range(17)], Code.LIMIT_EXCEEDED),
    ],
)  # fmt: skip
@pytest.mark.requires("guard.policy")
def test_each_broken_field_of_a_policy_is_refused_with_its_path(path: str, value: Any, code: Code) -> None:
    refusal = refusal_of(lambda: read_policy(_set(path, value)), code)
    assert str(refusal.facts["field"]).startswith("spec")


@pytest.mark.requires("guard.policy")
def test_nested_arguments_and_lists_are_judged_item_by_item() -> None:
    rules = [{"path": "targets[].cluster", "type": "name", "patterns": ["edge-*"], "required": True}]
    session = Session(read_policy(_set("tools.0.arguments", rules)))
    assert session.call("get_object", targets=[{"cluster": "edge-1"}]).passes
    assert session.call("get_object", targets=[]).passes
    refused(
        session.call("get_object", targets=[{"cluster": "edge-1"}, {"cluster": "prod"}]),
        Code.ARGUMENT_NOT_ALLOWED,
    )
    refused(session.call("get_object", targets=[{"cluster": "edge-1", "x": 1}]), Code.FIELD_UNKNOWN)
    refused(session.call("get_object", targets=[{}]), Code.FIELD_MISSING)
    refused(session.call("get_object", targets={"cluster": "edge-1"}), Code.FIELD_INVALID)


def _limited(quantity: str, capacity: int, *, of_tool: bool) -> AgentPolicy:
    budget = {**BUDGET, quantity: {"capacity": capacity, "perSeconds": 60}}
    return read_policy(_set("tools.0.budget" if of_tool else "budget", budget))


@pytest.mark.parametrize("of_tool", [True, False])
@pytest.mark.requires("guard.budgets")
def test_calls_are_counted_by_tool_and_by_agent(of_tool: bool) -> None:
    session = Session(_limited("calls", 3, of_tool=of_tool))
    for number in range(3):
        assert session.call("get_object", after_s=0, name=f"web{number}x").passes
    why = refused(session.call("get_object", after_s=0, name="a"), Code.BUDGET_EXCEEDED).reasons[0]
    assert (why.facts["scope"], why.facts["retryAfterSeconds"]) == ("tool" if of_tool else "agent", 20)
    assert session.call("propose_release", after_s=0, release="web").passes == of_tool
    assert session.call("get_object", after_s=20, name="a").passes


@pytest.mark.requires("guard.budgets")
def test_bytes_and_new_objects_are_charged() -> None:
    session = Session(_limited("argumentBytes", 100, of_tool=True))
    assert session.call("get_object", name="a" * 50).passes
    refused(session.call("get_object", name="b" * 50), Code.BUDGET_EXCEEDED)
    session = Session(_limited("answerBytes", 100, of_tool=False))
    assert session.call("get_object", name="a").passes
    why = refused(session.answer("x" * 200), Code.BUDGET_EXCEEDED).reasons[0]
    assert why.facts["retryAfterSeconds"] is None, "no wait would ever be enough"
    session = Session(_limited("objects", 3, of_tool=False))
    for name in "aabbc":
        assert session.call("get_object", name=name).passes
        assert session.answer({"of": name}, (f"Deployment/{name}",)).passes
    session.call("get_object", name="d")
    refused(session.answer({"of": "d"}, ("Deployment/d",)), Code.BUDGET_EXCEEDED)


def _kinds(session: Session, calls: list[tuple[JsonObject, Any]]) -> list[tuple[str, Verdict]]:
    found = []
    for arguments, answer in calls:
        judgement = session.ask("get_object", answer, **arguments)
        kind = str(judgement.reasons[0].facts.get("loop", "")) if judgement.reasons else ""
        found.append((kind, judgement.verdict))
    return found


@pytest.mark.requires("guard.loops")
def test_the_same_call_is_warned_of_then_refused() -> None:
    found = _kinds(Session(), [({"name": "web"}, {"phase": "Failed"})] * 7)
    assert [v for _, v in found] == [Verdict.ALLOW] * 3 + [Verdict.WARN] * 2 + [Verdict.REFUSE] * 2
    assert found[3][0] == "same-call"


@pytest.mark.requires("guard.loops")
def test_two_calls_in_turns_are_a_loop() -> None:
    found = _kinds(Session(), [({"name": "a"}, {"x": 1}), ({"name": "b"}, {"x": 2})] * 5)
    assert ("ping-pong", Verdict.WARN) in found
    first = next(i for i, (_, v) in enumerate(found) if v is Verdict.REFUSE)
    assert found[first][0] == "ping-pong"
    assert first == 7


@pytest.mark.requires("guard.loops")
def test_progress_is_no_loop() -> None:
    changing = [({"name": "web"}, {"ready": n}) for n in range(30)]
    pages = [({"name": "web", "cursor": f"{n:064x}"}, {"items": [f"pod-{n}"]}) for n in range(30)]
    turns = [({"name": "ab"[n % 2]}, {"ready": n}) for n in range(30)]
    for calls in (changing, pages, turns):
        assert {v for _, v in _kinds(Session(), calls)} == {Verdict.ALLOW}
    fan_out = Session()
    assert all(
        fan_out.call("get_object", after_s=0, name=f"web-{n}").verdict is Verdict.ALLOW for n in range(30)
    )


@pytest.mark.requires("guard.loops")
def test_an_old_loop_is_forgotten_and_polling_as_told_is_none() -> None:
    session = Session()
    for _ in range(30):
        assert session.call("get_object", after_s=60, name="web").verdict is Verdict.ALLOW
    digest = "ab" * 32
    for _ in range(50):
        assert session.call("get_proposal", after_s=5, proposal=digest).verdict is Verdict.ALLOW
        assert session.answer({"state": "open"}).passes
    hasty = [session.call("get_proposal", after_s=1, proposal=digest).verdict for _ in range(9)]
    assert Verdict.REFUSE in hasty


X = "aB3dE6gH9j" * 10
"""Stands for the secret part of a form; no token of anybody's."""


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("private-key", "-----BEGIN OPENSSH PRIVATE KEY"), ("private-key", "AGE-SECRET-KEY-1" + "Q" * 20),
        ("private-key", "PuTTY-User-Key-File-3"), ("private-key", "openssh-key-v1"),
        ("jwt", f"eyJ{X[:20]}.eyJ{X[:20]}.{X[:20]}"), ("jwt", f"eyJ{X[:20]}..{X[:16]}.{X}"),
        ("aws-key", "ASIA" + "Q" * 16), ("aws-key", "aws_secret_access_key = " + X[:40]),
        ("google-key", "AIza" + X[:35]), ("google-key", "ya29." + X), ("google-key", "GOCSPX-" + X),
        ("azure-key", "AccountKey=" + X), ("azure-key", "SharedAccessKey=" + X), ("azure-key", "?sig=" + X),
        *(("github-token", f"gh{c}_{X[:36]}") for c in "pousr"), ("github-token", "github_pat_" + X),
        *(("gitlab-token", f"gl{c}-{X[:20]}") for c in ("pat", "dt", "rt", "cbt", "ptt", "soat")),
        ("slack-token", "xoxb-" + X), ("slack-token", "xapp-1-" + X), ("package-token", "npm_" + X),
        ("package-token", "pypi-AgE" + X), ("package-token", "dckr_pat_" + X),
        ("service-token", "sk_live_" + X),
        ("service-token", "dop_v1_" + "0a" * 32), ("service-token", f"SG.{X[:22]}.{X}"),
        ("service-token", "hf_" + X), ("service-token", "sk-" + X), ("service-token", "sk-ant-" + X),
        *(("vault-token", f"hv{c}.{X}") for c in "sbr"), ("cluster-token", f"K10{'0a' * 32}::node"),
        ("cluster-token", "client-key-data: " + X), ("cluster-token", " token: " + X),
        ("registry-login", '{"auth": "' + X), ("url-login", "https://me:" + X[:9] + "@host"),
    ],
)  # fmt: skip
@pytest.mark.requires("guard.secrets")
def test_each_published_form_of_a_secret_is_known(kind: str, form: str) -> None:
    assert secret_patterns.find(f"before {form} after") == kind
    assert secret_patterns.find(f"before {form[:6]} after") == ""


@pytest.mark.requires("guard.left-out")
@pytest.mark.parametrize(
    ("rule", "good"),
    [
        ({"path": "release", "type": "name", "patterns": ["a", "shop-*"]}, {"release": "shop-1"}),
        ({"path": "subject", "type": "did", "patterns": [AGENT]}, {"subject": AGENT}),
        ({"path": "kind", "type": "kind", "patterns": ["ConfigMap"]}, {"kind": "ConfigMap"}),
        ({"path": "fields[]", "type": "name", "patterns": ["name"]}, {"fields": ["name"]}),
        ({"path": "of.cluster", "type": "name", "patterns": ["east"]}, {"of": {"cluster": "east"}}),
    ],
)
def test_an_argument_with_patterns_is_asked_for(rule: JsonObject, good: JsonObject) -> None:
    def session(**changed: Any) -> Session:
        tool = {"tool": "get_object", "arguments": [rule], "budget": BUDGET, **changed}
        return Session(read_policy(policy_json(tools=[tool])))

    assert session().call("get_object", **good).passes
    refused(session().call("get_object"), Code.FIELD_MISSING)
    # What a proposal leaves out is judged in what becomes of it.
    assert session(opensProposal=True).call("get_object").passes
    wide = {**rule, "patterns": ["*"]}
    tool = {"tool": "get_object", "arguments": [wide], "budget": BUDGET}
    assert Session(read_policy(policy_json(tools=[tool]))).call("get_object").passes


@pytest.mark.requires("guard.first-touch")
def test_what_is_outside_the_usual_is_flagged_once() -> None:
    session = Session()
    assert session.call("get_object", name="web", namespace="shop").verdict is Verdict.ALLOW
    first = session.call("get_object", name="web", namespace="team-a")
    assert (first.verdict, first.code) == (Verdict.WARN, Code.FIRST_TOUCH)
    assert first.reasons[0].facts == {"field": "namespace", "value": "team-a"}
    assert session.call("get_object", name="web2", namespace="team-a").verdict is Verdict.ALLOW
    assert session.propose(clusters=["prod"]).code is Code.FIRST_TOUCH
    assert session.propose(clusters=["edge-1"]).verdict is Verdict.ALLOW


@pytest.mark.requires("guard.memory")
def test_a_judgement_changes_no_earlier_state() -> None:
    session = Session()
    before = session.state
    session.ask("get_object", {"a": 1}, name="web", namespace="team-a")
    assert before == GuardState()
    assert session.state != before


@pytest.mark.requires("guard.memory")
def test_memory_is_bounded_whatever_is_called() -> None:
    wide = {"capacity": 10**9, "perSeconds": 60}
    much = {"opaqueCharacters": wide, "identifiers": wide}
    session, source = Session(read_policy(policy_json(exfiltration=much))), random.Random(1)
    for number in range(2200):
        name = f"{source.randbytes(4).hex()}-{number}"
        session.call("get_object", name=name, namespace=f"team-{number}", cursor=source.randbytes(32).hex())
        session.answer({"n": number}, tuple(f"{number}/{n}" for n in range(5)))
    state = session.state
    assert len(state.history) == LOOP_CALLS_MAX
    assert len(state.objects) == limits.SEEN_OBJECTS_MAX
    assert len(state.touches) == limits.SEEN_TOUCHES_MAX
    assert len(state.pieces) == limits.SEEN_PIECES_MAX
    assert len(state.buckets) <= limits.BUCKETS_MAX
    memory = GuardMemory(1)
    memory.put(AGENT, state)
    assert memory.of(AGENT) is state
    refusal_of(lambda: memory.put(type(AGENT)("did:key:z6Two"), state), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("guard.no-false-alarm")
def test_ordinary_content_passes() -> None:
    logo = base64.b64encode(random.Random(1).randbytes(3000)).decode()
    session = Session()
    checksum = {"checksum/config": hashlib.sha256(b"x").hexdigest()}
    assert session.propose(
        config_map({"logo.png": logo, "a.conf": "key = value"}, annotations=checksum)
    ).passes
    reason = (
        f"roll back web to sha256:{'ab' * 32}, commit {'0f' * 20}, asked by {AGENT} (RFC3339, utf-8, v1beta1)"
    )
    assert session.call("propose_release", release="web", reason=reason).verdict is Verdict.ALLOW
