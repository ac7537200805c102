"""Which kinds live in a namespace and which do not.

Owns the table of the kinds built into Kubernetes 1.36 and the scopes that a release's own CRDs tell.
Pure: the same release gives the same answer without a cluster to ask.

Source: API reference of Kubernetes v1.36 (kinds that can be stored).
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.manifest import group_of
from ledger.types import JsonObject

GroupKind = tuple[str, str]

_CLUSTER: dict[str, str] = {
    "": "Namespace Node PersistentVolume",
    "admissionregistration.k8s.io": "MutatingWebhookConfiguration ValidatingWebhookConfiguration "
    "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
    "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "apiregistration.k8s.io": "APIService",
    "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle",
    "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
    "networking.k8s.io": "IngressClass IPAddress ServiceCIDR",
    "node.k8s.io": "RuntimeClass",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding",
    "resource.k8s.io": "DeviceClass ResourceSlice DeviceTaintRule",
    "scheduling.k8s.io": "PriorityClass",
    "storage.k8s.io": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    "storagemigration.k8s.io": "StorageVersionMigration",
}
_NAMESPACED: dict[str, str] = {
    "": "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController "
    "ResourceQuota Secret Service ServiceAccount",
    "apps": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "autoscaling": "HorizontalPodAutoscaler",
    "batch": "CronJob Job",
    "certificates.k8s.io": "PodCertificateRequest",
    "coordination.k8s.io": "Lease LeaseCandidate",
    "discovery.k8s.io": "EndpointSlice",
    "events.k8s.io": "Event",
    "networking.k8s.io": "Ingress NetworkPolicy",
    "policy": "PodDisruptionBudget",
    "rbac.authorization.k8s.io": "Role RoleBinding",
    "resource.k8s.io": "ResourceClaim ResourceClaimTemplate",
    "scheduling.k8s.io": "Workload",
    "storage.k8s.io": "CSIStorageCapacity",
}


def _table(text: dict[str, str]) -> frozenset[GroupKind]:
    return frozenset((group, kind) for group, kinds in text.items() for kind in kinds.split())


CLUSTER_SCOPED = _table(_CLUSTER)
NAMESPACED = _table(_NAMESPACED)


def is_namespaced(group_kind: GroupKind, told: dict[GroupKind, bool]) -> bool | None:
    """Tell the scope of a kind: True in a namespace, False cluster-scoped, None unknown.

    Args:
        group_kind: API group ("" for core) and kind.
        told: what the release itself tells (``told_scopes``), judged after the built-in table.
    """
    if group_kind in CLUSTER_SCOPED:
        return False
    if group_kind in NAMESPACED:
        return True
    return told.get(group_kind)


def told_scopes(manifests: Iterable[JsonObject]) -> dict[GroupKind, bool]:
    """Read the scopes of the kinds that CustomResourceDefinitions among ``manifests`` define."""
    told: dict[GroupKind, bool] = {}
    for manifest in manifests:
        if manifest.get("kind") != "CustomResourceDefinition" or group_of(manifest) != "apiextensions.k8s.io":
            continue
        spec = manifest.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        if not isinstance(spec, dict) or not isinstance(names, dict):
            continue
        if spec.get("scope") in {"Namespaced", "Cluster"}:
            told[str(spec.get("group")), str(names.get("kind"))] = spec["scope"] == "Namespaced"
    return told
