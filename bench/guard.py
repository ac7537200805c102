"""What the guard adds to a call, beside the peer: ``json.dumps`` and one regular expression over its text.

Owns the calls measured: a read of a few names, Deployments with images by digest and a ConfigMap of base64,
of 1 KB and of 80 KB, and the former as answers. The peer serialises the same arguments and searches them for
the head of a private key: the least that any filter does. Prints one line a case,
``guard us=… p99=… peer=… unit=us case=… bytes=…``: medians of elapsed time.
"""

from __future__ import annotations

import base64
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from ledger.agent_policy import AgentPolicy, read_policy
from ledger.types import Json, JsonObject, sha256
from mcp_server.guard.calls import Call
from mcp_server.guard.judge import judge, judge_result
from mcp_server.guard.state import GuardState
from tests.support.guarding import AGENT, BEGIN_NS, config_map, policy_json

ROUNDS = 200
_HEAD = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_WARM = 10


def wide_policy() -> AgentPolicy:
    """Give a policy under which any object may be proposed, and much: what is left are the looks for harm."""
    spec = policy_json(openProposalsMax=256)
    rule = spec["tools"][2]["arguments"][1]
    rule |= {"namespaces": ["*"], "itemsMax": 4096}
    return read_policy(spec)


POLICY = wide_policy()


def deployment(number: int) -> JsonObject:
    """Give a Deployment of about a kilobyte."""
    name = f"web-{number}"
    labels = {"app": name, "tier": "frontend"}
    image = f"registry.internal/shop/web@sha256:{sha256(bytes([number % 8])).hex()}"
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 2}
    container = {
        "name": "web",
        "image": image,
        "args": ["--listen=:8080", "--log-level=info"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": probe,
        "livenessProbe": probe,
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
        "securityContext": {"runAsNonRoot": True, "readOnlyRootFilesystem": True},
    }
    pod = {"containers": [container], "serviceAccountName": name, "terminationGracePeriodSeconds": 30}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def proposal(*manifests: JsonObject) -> tuple[str, JsonObject]:
    """Give the call that proposes these objects."""
    return "propose_release", {"release": "web", "manifests": list(manifests)}


def cases() -> dict[str, tuple[str, JsonObject]]:
    """Give (tool, arguments) by name."""
    random_bytes = b"".join(sha256(n.to_bytes(4, "big")) for n in range(1875))
    blob = {n: base64.b64encode(random_bytes[:n]).decode() for n in (600, 60_000)}
    many = [deployment(n) for n in range(82)]
    return {
        "read": (
            "get_object",
            {"name": "web-1", "namespace": "shop", "kind": "Deployment.apps", "limit": 10},
        ),
        "web-1k": proposal(many[0]),
        "web-80k": proposal(*many),
        "configmap-1k": ("propose_release", {"release": "web", "manifests": [config_map({"f": blob[600]})]}),
        "configmap-80k": (
            "propose_release",
            {"release": "web", "manifests": [config_map({"f": blob[60_000]})]},
        ),
    }


def judging(tool: str, arguments: JsonObject) -> Callable[[], object]:
    """Give the judging of a call that passes, by somebody who has called before."""
    call = Call(AGENT, tool, arguments, BEGIN_NS)
    judgement, asked = judge(call, POLICY, GuardState())
    assert judgement.passes
    known = GuardState(buckets=asked.buckets, pieces=asked.pieces, touches=asked.touches)
    return partial(judge, call, POLICY, known)


def timed(work: Callable[[], object]) -> tuple[int, int]:
    """Give the median and the 99th percentile of ``work`` in microseconds, after some rounds to warm up."""
    found = []
    for _ in range(ROUNDS + _WARM):
        began = time.perf_counter_ns()
        work()
        found.append(time.perf_counter_ns() - began)
    counted = sorted(found[_WARM:])
    return int(statistics.median(counted)) // 1000, counted[len(counted) * 99 // 100] // 1000


def peer(value: Json) -> object:
    """Do the least that any filter does."""
    return _HEAD.search(json.dumps(value))


def main() -> int:
    """Measure and print; give the exit status."""
    for name, (tool, arguments) in cases().items():
        call = Call(AGENT, tool, arguments, BEGIN_NS)
        judgement, asked = judge(call, POLICY, GuardState())
        assert judgement.passes
        size = len(json.dumps(arguments))
        floor, _ = timed(partial(peer, arguments))
        say(name, size, timed(judging(tool, arguments)), floor)
        if name.startswith("web"):
            say(f"answer-{name}", size, timed(partial(judge_result, call, arguments, POLICY, asked)), floor)
    return 0


def say(case: str, size: int, ours: tuple[int, int], floor: int) -> None:
    """Print one line."""
    print(f"guard us={ours[0]} p99={ours[1]} peer={floor} unit=us case={case} bytes={size}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
