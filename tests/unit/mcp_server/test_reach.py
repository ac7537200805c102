"""A proposal is judged by what would become of it: its clusters, and every object that it touches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ledger.agent_policy import ToolPolicy, read_policy
from ledger.bodies import release_body
from ledger.changes import Release, read_release
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject
from mcp_server.answering import Caller, answer, tool_named
from mcp_server.guard.reach import check_reach, reach_of
from mcp_server.policies import Scope, proposing_policy
from mcp_server.proposer import Proposer
from tests.support.ledger import ALICE, CAROL, ROBOT, Ledger, a_release, envelope
from tests.support.mcp import Speaking, a_story, let_propose, source_of

OURS = "registry.internal/web@sha256:" + "ab" * 32
THEIRS = "evil.example/x@sha256:" + "cd" * 32
SCOPE = Scope(["guestbook"], ["east"], ["ConfigMap", "Deployment.apps"], images=["registry.internal/*"])
LABELS: JsonObject = {"matchLabels": {"a": "b"}}
WEB = "apps/v1/Deployment/{}/web"


def config_map(name: str, namespace: str = "guestbook") -> JsonObject:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def deployment(image: str = OURS, namespace: str = "guestbook") -> JsonObject:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "web", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }


def signed(*manifests: JsonObject, **spec: Any) -> Release:
    release = a_release()
    release["spec"] |= {"manifests": copy.deepcopy(list(manifests)), **spec}
    if "selector" in spec:
        del release["spec"]["clusters"]
    return read_release(release, image_digest_required=False, where="release")


def tool(scope: Scope = SCOPE, name: str = "propose_release", without: str = "") -> ToolPolicy:
    spec = proposing_policy(ROBOT.did, scope, [])
    for each in spec["tools"]:
        each["arguments"] = [rule for rule in each["arguments"] if rule["path"] != without]
    found = read_policy(spec).tool(name)
    assert found is not None
    return found


def refused(work: Callable[[], object]) -> tuple[Code, str]:
    with pytest.raises(ConclaveError) as raised:
        work()
    return raised.value.code, raised.value.facts.get("field", "")


def judged(old: Release | None, new: Release, clusters: tuple[str, ...], policy: ToolPolicy) -> None:
    check_reach(reach_of(old, new, clusters), policy)


@pytest.mark.requires("mcp.leash")
def test_only_what_changes_is_judged_and_unchanged_neighbours_are_not() -> None:
    foreign = config_map("foreign", "kube-system")
    old = signed(config_map("a"), deployment(THEIRS), foreign)
    new = signed(config_map("a"), config_map("b"), deployment(THEIRS), foreign)
    reach = reach_of(old, new, ("east",))
    assert [(each.kind, each.name) for each in reach.objects] == [("ConfigMap", "b")]
    assert reach.images == ()
    check_reach(reach, tool())


@pytest.mark.requires("mcp.leash")
@pytest.mark.parametrize(
    ("old", "new", "clusters", "field"),
    [
        (signed(config_map("a"), config_map("b", "kube-system")), signed(config_map("a")), (), "objects"),
        (signed(config_map("a")), signed(config_map("a"), config_map("b", "default")), (), "objects"),
        (signed(config_map("a")), signed(config_map("a"), {**config_map("b"), "kind": "Pod"}), (), "objects"),
        (signed(config_map("a")), signed(config_map("a"), deployment(THEIRS)), (), "images"),
        (signed(deployment(OURS)), signed(deployment(THEIRS)), (), "images"),
        (signed(config_map("a")), signed(config_map("b")), ("east", "west"), "clusters"),
        (signed(config_map("a")), signed(config_map("a"), clusters=["east", "west"]), (), "clusters"),
        (
            signed(config_map("a")),
            signed(config_map("b"), selector={"matchLabels": {"a": "b"}}),
            (),
            "clusters",
        ),
        (signed(config_map("a")), signed(config_map("a"), namespace="kube-system"), (), "namespace"),
        (None, signed(config_map("a", "kube-system")), (), "objects"),
        (
            signed(config_map("a"), config_map("b", "kube-system")),
            signed(config_map("a"), config_map("b", "kube-system"), rollout={"maxUnavailable": 9}),
            (),
            "objects",
        ),
        (
            signed(config_map("a"), config_map("b", "kube-system") | {"data": {"a": "1"}, "immutable": True}),
            signed(config_map("a"), config_map("b", "kube-system") | {"data": {"a": "1"}, "immutable": 1}),
            (),
            "objects",
        ),
    ],
)
def test_whatever_of_the_result_is_outside_the_policy_is_refused(
    old: Release | None, new: Release, clusters: tuple[str, ...], field: str
) -> None:
    for name in ("propose_release", "request_change"):
        found = refused(lambda name=name: judged(old, new, clusters, tool(name=name)))  # type: ignore[misc]
        assert found == (Code.ARGUMENT_NOT_ALLOWED, f"proposal.{field}")
    everywhere = Scope(["*"], ["*"], ["*"])
    judged(old, new, clusters, tool(everywhere))


@pytest.mark.requires("mcp.leash")
@pytest.mark.parametrize("rule", ["release", "namespace", "clusters[]", "objects", "images[].image"])
def test_what_no_rule_of_the_tool_names_is_refused(rule: str) -> None:
    old, new = signed(config_map("a")), signed(deployment())
    judged(old, new, ("east",), tool())
    found = refused(lambda: judged(old, new, ("east",), tool(without=rule)))
    assert found == (Code.ARGUMENT_NOT_ALLOWED, f"proposal.{rule.partition('[')[0]}")


@pytest.mark.requires("mcp.leash")
def test_a_release_outside_the_patterns_and_a_prefix_that_only_looks_alike_are_refused() -> None:
    named = Scope(["guestbook"], ["east"], ["ConfigMap"], releases=["shop-*"])
    assert refused(lambda: judged(None, signed(config_map("a")), (), tool(named)))[1] == "proposal.release"
    near = OURS.replace("registry.internal", "registry.internal.evil.example")
    assert refused(lambda: judged(None, signed(deployment(near)), (), tool()))[1] == "proposal.images"


def others(ledger: Ledger) -> None:
    """Let people put a release in another namespace, on two clusters, in two revisions."""
    release = a_release("payments", clusters=("east", "west"))
    spec = release["spec"]
    spec["namespace"] = "kube-system"
    spec["manifests"] = [config_map(name, "kube-system") for name in ("one", "two")]
    spec["manifests"].append(deployment(namespace="kube-system"))
    for revision in (0, 1):
        spec["manifests"][2]["spec"]["replicas"] = 3 + revision
        body = release_body(release, reason="x", against=revision)
        ledger.approve(envelope(ALICE, body), (ALICE, CAROL))
        ledger.commit()


@pytest.mark.requires("mcp.leash")
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("propose_release", {"remove": ["v1/ConfigMap/kube-system/two"]}),
        (
            "propose_release",
            {"images": [{"object": WEB.format("kube-system"), "container": "web", "image": THEIRS}]},
        ),
        ("request_change", {"operation": "scale", "object": WEB.format("kube-system"), "replicas": 0}),
        ("request_change", {"operation": "rollback", "toRevision": 1}),
        ("propose_release", {"release": "wide", "objects": [config_map("more")]}),
    ],
)
def test_no_tool_reaches_a_release_of_others_and_nothing_is_sent(name: str, given: JsonObject) -> None:
    ledger = let_propose(a_story(), SCOPE)
    others(ledger)
    wide = a_release("guestbook", clusters=("east", "west"))
    wide["metadata"]["name"] = "wide"
    wide["spec"]["manifests"] = [config_map("wide")]
    ledger.approve(envelope(ALICE, release_body(wide, reason="x")), (ALICE, CAROL))
    ledger.commit()
    source, height = source_of(Speaking(ledger)), ledger.height
    caller = Caller(ROBOT.did, Proposer(source.rpc, source.reader, {ROBOT.did: [ROBOT]}))
    asked = {"release": "payments", "reason": "r", **given}
    found = refused(lambda: answer(source, tool_named(name), asked, caller=caller))
    assert found[0] is Code.ARGUMENT_NOT_ALLOWED
    assert found[1].startswith("proposal.")
    assert ledger.height == height


@pytest.mark.requires("mcp.leash")
def test_without_a_policy_on_the_ledger_nothing_is_signed() -> None:
    ledger = a_story()
    source, height = source_of(Speaking(ledger)), ledger.height
    caller = Caller(ROBOT.did, Proposer(source.rpc, source.reader, {ROBOT.did: [ROBOT]}))
    given = {"release": "guestbook", "reason": "r", "objects": [config_map("more")]}
    found = refused(lambda: answer(source, tool_named("propose_release"), given, caller=caller))
    assert found[0] is Code.TOOL_NOT_ALLOWED
    assert ledger.height == height
