"""An agent's policy of the guard, its calls, and a session in which one follows another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ledger.agent_policy import AgentPolicy, read_policy
from ledger.errors import Code
from ledger.types import Did, Json, JsonObject
from mcp_server.guard.calls import Call, Judgement, Verdict
from mcp_server.guard.judge import judge, judge_result
from mcp_server.guard.state import GuardState

AGENT = Did("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS
PLENTY: JsonObject = {"capacity": 1_000_000_000, "perSeconds": 60}
BUDGET: JsonObject = {"calls": PLENTY, "argumentBytes": PLENTY, "answerBytes": PLENTY, "objects": PLENTY}
KINDS = ["*", "ClusterRole.rbac.authorization.k8s.io", "Namespace", "Role.rbac.authorization.k8s.io"]


def policy_json(**changed: Any) -> JsonObject:
    """Give the spec of a policy of three tools, with some of its fields changed."""
    propose = [
        {"path": "clusters[]", "type": "name", "patterns": ["edge-*", "prod"], "usual": ["edge-*"]},
        {
            "path": "manifests",
            "type": "objects",
            "kinds": KINDS,
            "namespaces": ["shop", "team-*"],
            "itemsMax": 64,
        },
        {"path": "reason", "type": "text", "bytesMax": 2000},
        {"path": "release", "type": "name", "patterns": ["*"], "required": True},
    ]
    read = [
        {"path": "cluster", "type": "name", "patterns": ["*"]},
        {"path": "cursor", "type": "digest", "patterns": ["*"]},
        {"path": "kind", "type": "kind", "patterns": ["*", "Secret"]},
        {"path": "limit", "type": "integer", "atLeast": 1, "atMost": 100},
        {"path": "name", "type": "name", "patterns": ["*"], "required": True},
        {"path": "namespace", "type": "name", "patterns": ["shop", "team-*"], "usual": ["shop"]},
        {"path": "wide", "type": "boolean"},
    ]
    spec: JsonObject = {
        "agent": AGENT,
        "budget": BUDGET,
        "openProposalsMax": 4,
        "tools": [
            {"tool": "get_object", "arguments": read, "budget": BUDGET},
            {
                "tool": "get_proposal",
                "arguments": [{"path": "proposal", "type": "digest", "patterns": ["*"], "required": True}],
                "budget": BUDGET,
                "pollSeconds": 5,
            },
            {"tool": "propose_release", "arguments": propose, "budget": BUDGET, "opensProposal": True},
        ],
    }
    return {**spec, **changed}


class Session:
    """One agent's calls, one after another, each a second later unless told otherwise."""

    def __init__(self, policy: AgentPolicy | None = None) -> None:
        self.policy = policy if policy is not None else read_policy(policy_json())
        self.state = GuardState()
        self.now_ns = BEGIN_NS

    def call(self, tool: str, *, after_s: int = 1, open_proposals: int = 0, **arguments: Json) -> Judgement:
        """Judge a call; a namespace that the policy asks for is a usual one where nothing else is said."""
        asked = self.policy.tool(tool)
        if asked is not None and not asked.opens_proposal:
            usual = {"namespace": "shop"} if any(rule.path == "namespace" for rule in asked.arguments) else {}
            arguments = {**usual, **arguments}
        self.now_ns += after_s * SECOND_NS
        self.last = Call(AGENT, tool, arguments, self.now_ns, open_proposals=open_proposals)
        judgement, self.state = judge(self.last, self.policy, self.state)
        return judgement

    def answer(self, result: Json, objects: tuple[str, ...] = ()) -> Judgement:
        """Judge the answer to the last call."""
        judgement, self.state = judge_result(self.last, result, self.policy, self.state, objects)
        return judgement

    def ask(self, tool: str, result: Json, **arguments: Json) -> Judgement:
        """Judge a call and, if it passes, its answer; give the judgement of the call."""
        judgement = self.call(tool, **arguments)
        if judgement.passes:
            assert self.answer(result).passes
        return judgement

    def propose(self, *manifests: JsonObject, **arguments: Json) -> Judgement:
        """Judge a proposal of some objects."""
        return self.call("propose_release", release="web", manifests=list(manifests), **arguments)


def refused(judgement: Judgement, code: Code, *secrets: str) -> Judgement:
    """Say that a judgement refuses with this code and repeats none of these texts."""
    assert judgement.verdict is Verdict.REFUSE, judgement
    assert judgement.code is code, judgement
    said = json.dumps([str(r) for r in judgement.reasons], ensure_ascii=False)
    assert not [s for s in secrets if s in said]
    return judgement


def config_map(content: JsonObject, **more: Any) -> JsonObject:
    """Give a ConfigMap with this content."""
    metadata = {"name": "settings", "namespace": "shop", **more}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}


def objects_in(folder: Path) -> Iterator[tuple[str, JsonObject]]:
    """Give every Kubernetes object in the YAML files of a folder, and the file it is in.

    What only configures kustomize is left out: no cluster ever gets it.
    """
    for file in sorted(folder.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            is_object = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
            if is_object and document["apiVersion"] != "builtin":
                yield file.relative_to(folder).as_posix(), document
