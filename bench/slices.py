"""Slices of shared API servers: a namespace, a service account with rights to it, and its kubeconfig.

Owns the making of them, by the administrator. A slice stands for the cluster of one bridge.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from k8s_bridge.connection import Connection, connect
from ledger.types import JsonObject

ACCOUNT = "conclave-bridge"
_RBAC = "rbac.authorization.k8s.io"
_INSIDE = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
]
_OUTSIDE = [
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingadmissionpolicies"],
        "verbs": ["get"],
    },
]


@dataclass(frozen=True, slots=True)
class Slice:
    """One bridge's part of an API server."""

    cluster: str
    namespace: str
    kubeconfig: Path


def make_slices(folder: Path, servers: list[str], clusters: list[str]) -> list[Slice]:
    """Make one slice a cluster, shared out among the API servers whose kubeconfigs are ``servers``."""
    makers = [_Maker(folder, kubeconfig) for kubeconfig in servers]
    return [makers[number % len(makers)].make(cluster) for number, cluster in enumerate(clusters)]


class _Maker:
    """Makes slices of one API server."""

    def __init__(self, folder: Path, kubeconfig: str) -> None:
        self._folder, self._given = folder, yaml.safe_load(Path(kubeconfig).read_text())
        self._connection: Connection = connect(kubeconfig, os.environ)
        for name, rules in (("p4-inside", _INSIDE), ("p4-outside", _OUTSIDE)):
            role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}}
            self._post(f"/apis/{_RBAC}/v1/clusterroles", role | {"rules": rules})
        everyone = [{"kind": "Group", "name": "system:serviceaccounts", "apiGroup": _RBAC}]
        self._post(
            f"/apis/{_RBAC}/v1/clusterrolebindings", _binding("ClusterRoleBinding", "p4-outside", everyone)
        )

    def make(self, cluster: str) -> Slice:
        """Make the slice of a cluster."""
        inside = f"/api/v1/namespaces/{cluster}/serviceaccounts"
        self._post("/api/v1/namespaces", _object("Namespace", cluster))
        self._post(inside, _object("ServiceAccount", ACCOUNT))
        account = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": cluster}]
        self._post(
            f"/apis/{_RBAC}/v1/namespaces/{cluster}/rolebindings",
            _binding("RoleBinding", "p4-inside", account),
        )
        token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self._post(f"{inside}/{ACCOUNT}/token", token)
        return Slice(cluster, cluster, self._kubeconfig(cluster, answer["status"]["token"]))

    def _post(self, path: str, body: JsonObject) -> JsonObject:
        return self._connection.ask("post", path, body=body)[1]

    def _kubeconfig(self, cluster: str, token: str) -> Path:
        context = {"name": "slice", "context": {"cluster": "slice", "user": "slice"}}
        clusters = [{"name": "slice", "cluster": self._given["clusters"][0]["cluster"]}]
        users = [{"name": "slice", "user": {"token": token}}]
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters,
            "users": users,
            "contexts": [context],
            "current-context": "slice",
        }
        path = self._folder / f"{cluster}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path


def _object(kind: str, name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _binding(kind: str, role: str, subjects: list[JsonObject]) -> JsonObject:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    made = {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": role}}
    return made | {"roleRef": reference, "subjects": subjects}
