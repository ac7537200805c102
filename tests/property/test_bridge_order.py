"""The order of any plan, against what must come before what, written down here and nowhere else."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s_bridge.inventory import Entry, Inventory
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.plan import World, plan
from ledger.types import JsonObject
from tests.support.manifests import definition
from tests.support.verified import CHAIN_ID, release

RBAC, ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
WORKLOADS = (
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
)
_FIRST_FOR_PODS = (
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "PriorityClass",
    "RuntimeClass",
)
BEFORE: list[tuple[str, str]] = [
    *((first, workload) for first in _FIRST_FOR_PODS for workload in WORKLOADS),
    *(
        (limit, workload)
        for limit in ("ResourceQuota", "LimitRange", "NetworkPolicy")
        for workload in WORKLOADS
    ),
    ("Role", "RoleBinding"),
    ("ClusterRole", "ClusterRoleBinding"),
    ("ClusterRole", "RoleBinding"),
    ("ServiceAccount", "RoleBinding"),
    ("ServiceAccount", "ClusterRoleBinding"),
    ("StorageClass", "PersistentVolumeClaim"),
    ("StorageClass", "PersistentVolume"),
    ("PersistentVolume", "PersistentVolumeClaim"),
    ("Deployment", "HorizontalPodAutoscaler"),
    ("StatefulSet", "HorizontalPodAutoscaler"),
    ("IngressClass", "Ingress"),
    ("Service", "Ingress"),
    ("Service", "APIService"),
    *(
        (serving, webhook)
        for serving in ("Service", "Deployment", "Secret", "Widget")
        for webhook in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
]
"""Kinds of which the one is referred to by the other, or would be refused by it."""

_GROUPS = {
    "v1": "Pod ReplicationController ServiceAccount Secret ConfigMap PersistentVolumeClaim ResourceQuota "
    "LimitRange Service",
    "apps/v1": "ReplicaSet Deployment StatefulSet DaemonSet",
    "batch/v1": "Job CronJob",
    "networking.k8s.io/v1": "NetworkPolicy Ingress",
    f"{RBAC}/v1": "Role RoleBinding",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "shop.test/v1": "Widget Aardvark",
}
_CLUSTER_GROUPS = {
    "v1": "PersistentVolume",
    "scheduling.k8s.io/v1": "PriorityClass",
    "node.k8s.io/v1": "RuntimeClass",
    "storage.k8s.io/v1": "StorageClass",
    "networking.k8s.io/v1": "IngressClass",
    "apiregistration.k8s.io/v1": "APIService",
    f"{RBAC}/v1": "ClusterRole ClusterRoleBinding",
    f"{ADMISSION}/v1": "ValidatingWebhookConfiguration MutatingWebhookConfiguration "
    "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
    "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
}


def _manifest(api_version: str, kind: str, namespace: str, name: str) -> JsonObject:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


OBJECTS: list[JsonObject] = [
    *(
        _manifest(version, kind, namespace, name)
        for groups, spaces in ((_GROUPS, ("shop", "zoo")), (_CLUSTER_GROUPS, ("",)))
        for version, kinds in groups.items()
        for kind, namespace, name in itertools.product(kinds.split(), spaces, "az")
    ),
    *(_manifest("v1", "Namespace", "", name) for name in ("shop", "zoo")),
    *(definition(kind) for kind in ("Widget", "Aardvark")),
]


def _must(one: ObjectKey, other: ObjectKey) -> bool:
    """Whether ``one`` must be applied before ``other``."""
    if (one.kind, other.kind) in BEFORE:
        return True
    if one.kind == "Namespace":
        return other.namespace == one.name
    return one.kind == "CustomResourceDefinition" and one.name == f"{other.kind.lower()}s.{other.group}"


some = st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=25).map(
    lambda found: list({key_of(made): made for made in found}.values())
)


def _out_of_order(
    keys: list[ObjectKey], must: Callable[[ObjectKey, ObjectKey], bool]
) -> list[tuple[str, str]]:
    return [(str(one), str(other)) for one, other in itertools.combinations(keys, 2) if must(other, one)]


@pytest.mark.requires("bridge.order")
@settings(max_examples=150, deadline=None)
@given(some, some)
def test_the_order_of_a_plan_respects_dependencies(
    wanted: list[JsonObject], before: list[JsonObject]
) -> None:
    entries = {key.identity: Entry(key, f"uid of {key}", created=True) for key in map(key_of, before)}
    world = World(Inventory(CHAIN_ID, "guestbook", 1, entries), {})
    steps = plan(release(wanted, revision=2), world).steps
    applied = [step.key for step in steps if step.wanted]
    pruned = [step.key for step in steps if not step.wanted]
    assert set(applied) == set(map(key_of, wanted))
    assert set(pruned) == set(map(key_of, before)) - set(applied)
    assert [step.key for step in steps] == applied + pruned
    assert _out_of_order(applied, _must) == []
    assert _out_of_order(pruned, lambda one, other: _must(other, one)) == []
