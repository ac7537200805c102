"""An API server in memory behind ``k8s_bridge.cluster.Cluster``.

Keeps the parts of the real one that decisions rest on: UIDs, resource versions that move only on change,
field ownership by manager, namespaces and definitions that cascade, UID preconditions. The integration tests
run the same stories on the real one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from k8s_bridge.cluster import Applied, Kind
from k8s_bridge.objects import Identity, ObjectKey, key_of, uid_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

_CLUSTER_KINDS = {
    ("v1", "Namespace"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
}
_NAMESPACED_KINDS = {
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("rbac.authorization.k8s.io/v1", "Role"),
}


class Crash(BaseException):
    """The bridge's process dies here."""


class FakeCluster:
    """One cluster in memory."""

    def __init__(self) -> None:
        self.objects: dict[Identity, JsonObject] = {}
        self.faults: dict[Identity, EnvironmentFault] = {}
        self.writes: list[str] = []
        self.crash_before_write: int | None = None
        self._applied: dict[Identity, JsonObject] = {}
        self._counter = 0

    # -- the seam ---------------------------------------------------------------------------------

    def kind_of(self, api_version: str, kind: str) -> Kind:
        if (api_version, kind) in _CLUSTER_KINDS:
            return Kind(api_version, kind, kind.lower() + "s", namespaced=False, listable=True)
        if (api_version, kind) in _NAMESPACED_KINDS or (api_version, kind) in self._defined():
            return Kind(api_version, kind, kind.lower() + "s", namespaced=True, listable=True)
        raise EnvironmentFault(Code.OBJECT_KIND_UNKNOWN, got=f"{api_version} {kind}")

    def forget_kinds(self) -> None:
        pass

    def namespaced_kinds(self) -> Iterator[Kind]:
        for api_version, kind in sorted(_NAMESPACED_KINDS | self._defined()):
            yield self.kind_of(api_version, kind)

    def get(self, key: ObjectKey) -> JsonObject | None:
        self.kind_of(key.api_version, key.kind)
        return copy.deepcopy(self.objects.get(key.identity))

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        key = key_of(manifest)
        self.kind_of(key.api_version, key.kind)
        if key.identity in self.faults:
            raise self.faults[key.identity]
        live = self.objects.get(key.identity)
        if key.namespace and ("", "Namespace", "", key.namespace) not in self.objects:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="404 no namespace", status=404)
        result = self._merged(key, live, manifest)
        if dry_run:
            return Applied(result, created=live is None)
        self._write(f"apply {key}")
        if live is None or {**result, "metadata": {**result["metadata"], "resourceVersion": ""}} != {
            **live,
            "metadata": {**live["metadata"], "resourceVersion": ""},
        }:
            result["metadata"]["resourceVersion"] = str(self._next())
            self.objects[key.identity] = result
        self._applied[key.identity] = copy.deepcopy(manifest)
        return Applied(copy.deepcopy(self.objects[key.identity]), created=live is None)

    def delete(self, key: ObjectKey, uid: str) -> None:
        live = self.objects.get(key.identity)
        if live is None:
            return
        if key.identity in self.faults:
            raise self.faults[key.identity]
        if uid_of(live) != uid:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="409 UID", status=409)
        self._write(f"delete {key}")
        self.remove(key)

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None, metadata_only: bool = False
    ) -> tuple[list[JsonObject], str]:
        found = [
            copy.deepcopy(live)
            for (group, name, where, _), live in self.objects.items()
            if (group, name) == (kind.api_version.rpartition("/")[0], kind.kind)
            and where == (namespace or where)
            and (
                label is None
                or dict([label.split("=")]).items() <= live["metadata"].get("labels", {}).items()
            )
        ]
        return found, str(self._counter)

    def watch(self, kind: Kind, namespace: str, resource_version: str) -> Iterator[JsonObject]:
        yield from ()

    def wait_established(self, key: ObjectKey, timeout_s: float) -> None:
        assert key.identity in self.objects

    # -- other people's hands -----------------------------------------------------------------------

    def put(self, manifest: JsonObject, manager: str = "kubectl-edit") -> JsonObject:
        """Create or replace an object as somebody else."""
        key = key_of(manifest)
        live = copy.deepcopy(manifest)
        known = self.objects.get(key.identity)
        kept = known["metadata"]["managedFields"] if known else []
        uid = uid_of(known) or f"uid-{self._next()}"
        live["metadata"].update(
            uid=uid,
            resourceVersion=str(self._next()),
            managedFields=[*kept, {"manager": manager, "operation": "Update", "fieldsV1": {}}],
        )
        self.objects[key.identity] = live
        return live

    def remove(self, key: ObjectKey) -> None:
        """Delete an object, and what goes with it."""
        gone = self.objects.pop(key.identity)
        self._applied.pop(key.identity, None)
        if key.kind == "Namespace":
            inside = [identity for identity in self.objects if identity[2] == key.name]
        elif key.kind == "CustomResourceDefinition":
            defined = (gone["spec"]["group"], gone["spec"]["names"]["kind"])
            inside = [identity for identity in self.objects if identity[:2] == defined]
        else:
            inside = []
        for identity in inside:
            self.objects.pop(identity)

    def content(self) -> dict[Identity, JsonObject]:
        """Everything but the bridge's own records."""
        return {i: o for i, o in self.objects.items() if "conclave-system" not in {i[2], i[3]}}

    # -- inside -------------------------------------------------------------------------------------

    def _defined(self) -> set[tuple[str, str]]:
        return {
            (f"{live['spec']['group']}/{version['name']}", live["spec"]["names"]["kind"])
            for (_, kind, _, _), live in self.objects.items()
            if kind == "CustomResourceDefinition"
            for version in live["spec"]["versions"]
        }

    def _merged(self, key: ObjectKey, live: JsonObject | None, manifest: JsonObject) -> JsonObject:
        before = self._applied.get(key.identity, {})
        result: JsonObject = _merge(copy.deepcopy(live) if live else {}, before, manifest)
        metadata = result["metadata"]
        metadata.setdefault("uid", f"uid-{self._next()}")
        metadata.setdefault("resourceVersion", "0")
        others = [e for e in metadata.get("managedFields", []) if e["manager"] != "conclave"]
        ours = {"manager": "conclave", "operation": "Apply", "apiVersion": key.api_version}
        # The real one keeps no entry for an apply that owns no field.
        metadata["managedFields"] = (
            [{**ours, "fieldsV1": owned}, *others] if (owned := _owned(manifest)) else others
        )
        return result

    def _write(self, what: str) -> None:
        if self.crash_before_write is not None:
            if self.crash_before_write == 0:
                raise Crash
            self.crash_before_write -= 1
        self.writes.append(what)

    def _next(self) -> int:
        self._counter += 1
        return self._counter


def _merge(live: Any, before: Any, manifest: Any) -> Any:
    if not isinstance(manifest, dict) or not isinstance(live, dict):
        return copy.deepcopy(manifest)
    before = before if isinstance(before, dict) else {}
    merged = {name: value for name, value in live.items() if name in manifest or name not in before}
    for name, value in manifest.items():
        merged[name] = (
            _merge(live.get(name), before.get(name), value) if name in live else copy.deepcopy(value)
        )
    return merged


def _owned(manifest: JsonObject) -> Any:
    names = {"apiVersion", "kind", "metadata"}
    metadata = {n: v for n, v in manifest["metadata"].items() if n not in {"name", "namespace"}}
    owned = _fields({n: v for n, v in manifest.items() if n not in names})
    return {**owned, **({"f:metadata": _fields(metadata)} if metadata else {})}


def _fields(value: Any) -> Any:
    return {f"f:{name}": _fields(inner) for name, inner in value.items()} if isinstance(value, dict) else {}
