"""The order in which kinds are applied, and its reverse for pruning.

Owns one table of kinds. Promises that whatever others refer to comes first (namespaces and definitions in a
stage of their own), unknown kinds after the known ones, and admission webhooks and API services last, where
they cannot refuse the very objects that serve them. Never looks at a cluster.

Source: notes on the appliers (Flux sorts 23 kinds first and webhooks last; Argo CD 35 kinds).
"""

from __future__ import annotations

from collections.abc import Iterable

from k8s_bridge.objects import ObjectKey

STAGE_FOUNDATION = 0
"""Namespaces and definitions: the next stage waits until they serve."""
STAGE_REST = 1

_FOUNDATION = {("", "Namespace"): 0, ("apiextensions.k8s.io", "CustomResourceDefinition"): 1}

_KINDS = (
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("networking.k8s.io", "IngressClass"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("apps", "ReplicaSet"),
    ("", "ReplicationController"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "Ingress"),
)

_LAST = (
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
)

_UNKNOWN = len(_KINDS)
_RANKS = (
    {kind: rank for rank, kind in enumerate(_KINDS)}
    | {kind: _UNKNOWN + 1 + rank for rank, kind in enumerate(_LAST)}
    | _FOUNDATION
)


def stage_of(key: ObjectKey) -> int:
    """Give the stage: ``STAGE_FOUNDATION`` or ``STAGE_REST``."""
    return STAGE_FOUNDATION if (key.group, key.kind) in _FOUNDATION else STAGE_REST


def rank(key: ObjectKey) -> tuple[int, int, ObjectKey]:
    """Give the sort key of an object: stage, kind's place in the table, then its name."""
    return (stage_of(key), _RANKS.get((key.group, key.kind), _UNKNOWN), key)


def apply_order(keys: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Sort for applying: what others refer to first."""
    return sorted(keys, key=rank)


def prune_order(keys: Iterable[ObjectKey]) -> list[ObjectKey]:
    """Sort for deleting: the reverse of applying."""
    return sorted(keys, key=rank, reverse=True)
