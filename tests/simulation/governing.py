"""Random changes of the ledger's own objects: meant well, useless, and some that would lock everybody out.

Owns ``governing_change`` and the pieces of a release that make rollouts interesting. Only its chance decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ledger import standard
from ledger.types import JsonObject
from tests.simulation.world import HIRED, HUMANS, ROSE, VALIDATORS, Speaker

GLASS = "night"
FREEZES = ("stop-0", "stop-1", "stop-2")
ROLES = ("operator", "governor", "guardian", "deployer")
Objects = tuple[list[JsonObject], list[tuple[str, str]]]


def governing_change(chance: random.Random, height: int, time: int) -> Objects:
    """Give objects to put and (kind, name) of others to remove."""
    makers: dict[Callable[[random.Random, int, int], Objects], int] = {
        _rule: 4, _second_rule: 2, _role: 2, _bind: 4, _unbind: 2, _hire: 3, _parameters: 2, _cluster: 2,
        _glass: 2, _validator: 5, _upgrade: 3, _unfreeze: 6, _lock_out: 3, _dismiss: 1,
    }  # fmt: skip
    (maker,) = chance.choices(list(makers), list(makers.values()))
    return maker(chance, height, time)


def _rule(chance: random.Random, _height: int, _time: int) -> Objects:
    return [_approval_rule("default", chance, humans=chance.choice((1, 2, 2, 3)))], []


def _second_rule(chance: random.Random, _height: int, _time: int) -> Objects:
    if chance.randrange(2):
        return [], [("ApprovalRule", "strict")]
    found = _approval_rule("strict", chance, humans=2)
    found["spec"]["match"] |= {"clusters": ["w*"], "operations": ["apply", "rollback"]}
    found["spec"]["require"]["quorum"] = [{"role": "operator", "count": chance.choice((1, 2))}]
    return [found], []


def _approval_rule(name: str, chance: random.Random, humans: int) -> JsonObject:
    found = standard.approval_rule(name, humans, chance.choice((1, 1, 2)))
    found["spec"]["require"] |= {
        "delaySeconds": chance.choice((0, 0, 0, 20, 60)),
        "denyThreshold": chance.choice((1, 1, 2)),
    }
    return found


def _role(chance: random.Random, _height: int, _time: int) -> Objects:
    rule = {
        "effect": chance.choice(("allow", "allow", "deny")),
        "verbs": sorted(chance.sample(("approve", "pause", "propose"), chance.randrange(1, 4))),
        "kinds": ["*"],
        "namespaces": [chance.choice(("*", "demo", "d*"))],
        "clusters": [chance.choice(("*", "west", "e*"))],
        "names": ["*"],
    }
    return [standard.ledger_object("Role", "deployer", {"rules": [rule]})], []


def _bind(chance: random.Random, height: int, _time: int) -> Objects:
    subjects: tuple[Speaker, ...] = (*HUMANS, ROSE, *HIRED)
    who, role = chance.choice(subjects), chance.choice(ROLES)
    found = standard.binding(f"{role}-{who.name}", str(who.did), role)
    if chance.randrange(4) == 0:
        found["spec"]["notAfter"] = height + chance.randrange(5, 60)
    if chance.randrange(6) == 0:
        found["spec"]["parent"] = f"{role}-{chance.choice(HUMANS).name}"
    return [found], []


def _unbind(chance: random.Random, _height: int, _time: int) -> Objects:
    who, role = chance.choice((*HUMANS, *HIRED)), chance.choice(ROLES)
    return [], [("RoleBinding", f"{role}-{who.name}")]


def _hire(chance: random.Random, _height: int, _time: int) -> Objects:
    who = chance.choice(HIRED)
    spec: JsonObject = {
        "kind": "human",
        "organisation": chance.choice("abc"),
        "cluster": None,
        "did": who.did,
        "inception": None,
        "proofs": [],
    }
    bindings = [standard.binding(f"{role}-{who.name}", str(who.did), role) for role in ROLES[:3]]
    return [standard.ledger_object("Identity", who.name, spec), *bindings], []


def _parameters(chance: random.Random, _height: int, _time: int) -> Objects:
    spec = {
        "imageDigestRequired": True,
        "proposalTtlBlocks": chance.randrange(8, 20),
        "openProposalsMax": chance.randrange(8, 16),
        "rollbacksPerWindowMax": chance.randrange(3),
        "rollbackWindowSeconds": chance.choice((60, 600, 3600)),
    }
    return [standard.ledger_object("Parameters", "parameters", spec)], []


def _cluster(chance: random.Random, _height: int, _time: int) -> Objects:
    name = chance.choice(("south", "south", "west"))
    if chance.randrange(2):
        return [], [("Cluster", name)]
    return [standard.ledger_object("Cluster", name, {}, {"ring": chance.choice("ab")})], []


def _glass(chance: random.Random, _height: int, time: int) -> Objects:
    spec = {
        "members": sorted(str(who.did) for who in chance.sample(HUMANS, 3)),
        "count": chance.choice((1, 2)),
        "operations": ["apply", "rollback"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "notAfterTime": time + chance.choice((30, 10_000)),
        "usesMax": chance.choice((1, 3)),
    }
    return [standard.ledger_object("BreakGlass", GLASS, spec)], []


def _validator(chance: random.Random, _height: int, _time: int) -> Objects:
    who = chance.choice(VALIDATORS)
    if chance.randrange(4) == 0:
        return [], [("Validator", who.name)]
    power = chance.choice((5, 10, 20, 30, 30, 40, 90))
    spec = {"node": who.did, "keyId": who.key_id, "power": power}
    return [standard.ledger_object("Validator", who.name, spec)], []


def _upgrade(chance: random.Random, height: int, _time: int) -> Objects:
    if chance.randrange(5) == 0:
        return [], [("Upgrade", "upgrade")]
    spec = {"height": height + chance.randrange(4, 30), "version": chance.choice((2, 2, 2, 3))}
    return [standard.ledger_object("Upgrade", "upgrade", spec)], []


def _unfreeze(chance: random.Random, _height: int, _time: int) -> Objects:
    return [], [("Freeze", chance.choice((*FREEZES, f"machine-{chance.randrange(1, 8)}")))]


def _lock_out(chance: random.Random, _height: int, _time: int) -> Objects:
    everybody = standard.approval_rule("default", 9, 1)
    nobody: Any = {"rules": [_denial()]}
    return chance.choice(
        (
            ([everybody], []),
            ([], [("ApprovalRule", "default")]),
            ([], [("RoleBinding", f"governor-{who.name}") for who in (*HUMANS, ROSE)]),
            ([standard.ledger_object("Role", "governor", nobody)], []),
        )
    )


def _denial() -> JsonObject:
    return {
        "effect": "deny",
        "verbs": ["approve"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "names": ["*"],
    }


def _dismiss(chance: random.Random, _height: int, _time: int) -> Objects:
    return [], [("Identity", chance.choice(HIRED).name)]


def rollout_parts(chance: random.Random, name: str) -> JsonObject:
    """Give the parts of the spec of the release ``name`` that say how it is rolled out and scaled."""
    parts: JsonObject = {}
    if chance.randrange(3):
        waves = [{"clusters": ["east"]}, {"clusters": ["west"]}][: chance.randrange(3)]
        parts["rollout"] = {
            "waves": waves,
            "maxUnavailable": chance.choice((1, 2)),
            "progressDeadlineSeconds": chance.choice((60, 300, 600)),
            "failureThreshold": chance.choice((1, 1, 2)),
        }
        parts["health"] = {
            "healthyPercent": chance.choice((50, 100)),
            "settleSeconds": chance.choice((0, 0, 15)),
        }
    if chance.randrange(2):
        low = chance.randrange(1, 4)
        parts["autoscale"] = [
            {
                "object": deployment_id(name),
                "minReplicas": low,
                "maxReplicas": low + 6,
                "initialReplicas": low + 1,
                "metrics": [{"name": "load", "target": 10}],
            }
        ]
    return parts


def deployment_id(name: str) -> str:
    """Give the id of what can be scaled of the release ``name``."""
    return f"apps/v1/Deployment/demo/{name}"


def deployment(name: str) -> JsonObject:
    """Give a manifest that can be scaled."""
    metadata = {"name": name, "namespace": "demo"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}}
