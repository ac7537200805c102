"""How kinds are spelled in the API's paths and in permissions.

Owns the table of the kinds built into Kubernetes 1.36 and the reading of a release's own definitions.
Promises the same answer without a cluster to ask, and a refusal for a kind that neither table nor definition
knows. Never guesses a plural.

Source: discovery of Kubernetes v1.36.3 (kinds that can be stored); apiextensions/v1 CustomResourceDefinition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from k8s_bridge.objects import field
from ledger.errors import Code, Refused
from ledger.types import JsonObject


class Resource(NamedTuple):
    """A kind as paths and permissions name it."""

    group: str
    plural: str
    namespaced: bool


Resources = Mapping[str, Resource]
"""By full kind, as touches spell it: ``Deployment.apps``, ``ConfigMap``."""

_NAMESPACED = {
    "": "ConfigMap:configmaps Endpoints:endpoints Event:events LimitRange:limitranges "
    "PersistentVolumeClaim:persistentvolumeclaims Pod:pods PodTemplate:podtemplates "
    "ReplicationController:replicationcontrollers ResourceQuota:resourcequotas Secret:secrets "
    "Service:services ServiceAccount:serviceaccounts",
    "apps": "ControllerRevision:controllerrevisions DaemonSet:daemonsets Deployment:deployments "
    "ReplicaSet:replicasets StatefulSet:statefulsets",
    "autoscaling": "HorizontalPodAutoscaler:horizontalpodautoscalers",
    "batch": "CronJob:cronjobs Job:jobs",
    "coordination.k8s.io": "Lease:leases",
    "discovery.k8s.io": "EndpointSlice:endpointslices",
    "events.k8s.io": "Event:events",
    "networking.k8s.io": "Ingress:ingresses NetworkPolicy:networkpolicies",
    "policy": "PodDisruptionBudget:poddisruptionbudgets",
    "rbac.authorization.k8s.io": "Role:roles RoleBinding:rolebindings",
    "resource.k8s.io": "ResourceClaim:resourceclaims ResourceClaimTemplate:resourceclaimtemplates",
    "storage.k8s.io": "CSIStorageCapacity:csistoragecapacities",
}
_CLUSTER = {
    "": "Namespace:namespaces Node:nodes PersistentVolume:persistentvolumes",
    "admissionregistration.k8s.io": "MutatingAdmissionPolicy:mutatingadmissionpolicies "
    "MutatingAdmissionPolicyBinding:mutatingadmissionpolicybindings "
    "MutatingWebhookConfiguration:mutatingwebhookconfigurations "
    "ValidatingAdmissionPolicy:validatingadmissionpolicies "
    "ValidatingAdmissionPolicyBinding:validatingadmissionpolicybindings "
    "ValidatingWebhookConfiguration:validatingwebhookconfigurations",
    "apiextensions.k8s.io": "CustomResourceDefinition:customresourcedefinitions",
    "apiregistration.k8s.io": "APIService:apiservices",
    "certificates.k8s.io": "CertificateSigningRequest:certificatesigningrequests",
    "flowcontrol.apiserver.k8s.io": "FlowSchema:flowschemas "
    "PriorityLevelConfiguration:prioritylevelconfigurations",
    "networking.k8s.io": "IPAddress:ipaddresses IngressClass:ingressclasses ServiceCIDR:servicecidrs",
    "node.k8s.io": "RuntimeClass:runtimeclasses",
    "rbac.authorization.k8s.io": "ClusterRole:clusterroles ClusterRoleBinding:clusterrolebindings",
    "resource.k8s.io": "DeviceClass:deviceclasses ResourceSlice:resourceslices",
    "scheduling.k8s.io": "PriorityClass:priorityclasses",
    "storage.k8s.io": "CSIDriver:csidrivers CSINode:csinodes StorageClass:storageclasses "
    "VolumeAttachment:volumeattachments VolumeAttributesClass:volumeattributesclasses",
}


def full_kind(group: str, kind: str) -> str:
    """Spell a kind as touches do (docs/spec/authority.md §2)."""
    return f"{kind}.{group}" if group else kind


def _table() -> dict[str, Resource]:
    found = {}
    for namespaced, groups in ((True, _NAMESPACED), (False, _CLUSTER)):
        for group, kinds in groups.items():
            for entry in kinds.split():
                kind, _, plural = entry.partition(":")
                found[full_kind(group, kind)] = Resource(group, plural, namespaced)
    return found


BUILT_IN: Resources = _table()


def defined_by(manifests: Iterable[JsonObject]) -> dict[str, Resource]:
    """Read the kinds that the CustomResourceDefinitions among ``manifests`` define."""
    found = {}
    for manifest in manifests:
        if manifest.get("kind") != "CustomResourceDefinition" or not _is_extension(manifest):
            continue
        group, kind = field(manifest, "spec", "group"), field(manifest, "spec", "names", "kind")
        plural, scope = field(manifest, "spec", "names", "plural"), field(manifest, "spec", "scope")
        if all(isinstance(text, str) and text for text in (group, kind, plural)):
            found[full_kind(group, kind)] = Resource(group, plural, scope == "Namespaced")
    return found


def _is_extension(manifest: JsonObject) -> bool:
    return str(manifest.get("apiVersion")).startswith("apiextensions.k8s.io/")


def resource_of(kind: str, known: Resources) -> Resource:
    """Find how a full kind is spelled in permissions; a built-in kind is never another one.

    Raises:
        Refused: OBJECT_KIND_UNKNOWN.
    """
    found = BUILT_IN.get(kind) or known.get(kind)
    if found is None:
        raise Refused(
            Code.OBJECT_KIND_UNKNOWN,
            got=kind,
            expected="a kind built into Kubernetes, or defined in a release of the cluster",
            todo="name its plural: --resource Kind.group=plural, or --resource Kind.group=plural:Cluster",
        )
    return found
