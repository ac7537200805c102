"""The constitution a new ledger begins with, unless its founders write another.

Owns the standard roles and the rule that judges everything. ``conclave init`` uses it. It is plain data:
the ledger knows no role by name. Source: docs/spec/authority.md §1.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.authority.patterns import LEDGER_GROUP
from ledger.types import API_VERSION, JsonObject

ANY = ["*"]
GUARDED_KINDS = (
    "APIService.apiregistration.k8s.io",
    "ClusterRole.rbac.authorization.k8s.io",
    "ClusterRoleBinding.rbac.authorization.k8s.io",
    "CustomResourceDefinition.apiextensions.k8s.io",
    "IngressClass.networking.k8s.io",
    "MutatingWebhookConfiguration.admissionregistration.k8s.io",
    "Namespace",
    "PersistentVolume",
    "PriorityClass.scheduling.k8s.io",
    "Role.rbac.authorization.k8s.io",
    "RoleBinding.rbac.authorization.k8s.io",
    "RuntimeClass.node.k8s.io",
    "Secret",
    "StorageClass.storage.k8s.io",
    "ValidatingAdmissionPolicy.admissionregistration.k8s.io",
    "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
)
"""Kubernetes kinds that no ``*`` covers and that a platform's releases need."""
LEDGER_KINDS = tuple(
    f"{kind}{LEDGER_GROUP}"
    for kind in (
        "AgentPolicy",
        "ApprovalRule",
        "BreakGlass",
        "Cluster",
        "Freeze",
        "Identity",
        "Parameters",
        "Role",
        "RoleBinding",
        "Suspension",
        "Upgrade",
        "Validator",
    )
)
_GUARDIANS_KINDS = ("Freeze", "Identity", "Suspension")


def objects(
    humans: Iterable[tuple[str, str]],
    agents: Iterable[tuple[str, str]] = (),
    *,
    approvals: int = 2,
    organisations: int = 2,
) -> list[JsonObject]:
    """Give roles, bindings and the approval rule of a new ledger.

    Args:
        humans: (name, did) of those who govern and operate it.
        agents: (name, did) of those who may propose.
        approvals: distinct humans each change needs.
        organisations: distinct organisations they come from.
    """
    roles = {
        "operator": _rule(["propose", "approve", "pause"], ["*", *GUARDED_KINDS]),
        "governor": _rule(["propose", "approve", "grant"], list(LEDGER_KINDS)),
        "guardian": _rule(["freeze", "revoke"], [f"{kind}{LEDGER_GROUP}" for kind in _GUARDIANS_KINDS]),
        "proposer": _rule(["propose"], ANY),
    }
    made = [ledger_object("Role", name, {"rules": [rule]}) for name, rule in sorted(roles.items())]
    for name, did in humans:
        made += [binding(f"{role}-{name}"[:63], did, role) for role in ("governor", "guardian", "operator")]
    made += [binding(f"proposer-{name}"[:63], did, "proposer") for name, did in agents]
    return [*made, approval_rule("default", approvals, organisations)]


def ledger_object(kind: str, name: str, spec: JsonObject, labels: JsonObject | None = None) -> JsonObject:
    """Give a ledger object."""
    metadata: JsonObject = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def binding(name: str, subject: str, role: str) -> JsonObject:
    """Give a root binding without bounds."""
    spec = {
        "subject": subject,
        "role": role,
        "namespaces": ANY,
        "clusters": ANY,
        "parent": None,
        "notBefore": None,
        "notAfter": None,
    }
    return ledger_object("RoleBinding", name, spec)


def approval_rule(name: str, humans: int, organisations: int, *, ttl_blocks: int = 100_000) -> JsonObject:
    """Give a rule that judges every change alike, at once when the last approval comes."""
    match = {
        "operations": ["apply", "configure", "delete", "rollback", "withdraw"],
        "kinds": ANY,
        "namespaces": ANY,
        "clusters": ANY,
        "risks": ["constitution", "high", "low"],
    }
    require = {
        "humans": humans,
        "organisations": organisations,
        "quorum": [],
        "delaySeconds": 0,
        "ttlBlocks": ttl_blocks,
        "denyThreshold": 1,
    }
    return ledger_object("ApprovalRule", name, {"match": match, "require": require})


def _rule(verbs: list[str], kinds: list[str]) -> JsonObject:
    return {
        "effect": "allow",
        "verbs": sorted(verbs),
        "kinds": sorted(kinds),
        "namespaces": ANY,
        "clusters": ANY,
        "names": ANY,
    }
