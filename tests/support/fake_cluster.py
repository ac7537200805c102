"""An API server in memory behind ``k8s_bridge.cluster.Cluster``.

Keeps the parts of the real one that decisions rest on: UIDs, resource versions that move only on change,
field ownership by manager, namespaces and definitions that cascade, UID preconditions. The integration tests
run the same stories on the real one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from k8s_bridge.cluster import Applied, Kind
from k8s_bridge.field_sets import FieldSet, common, minus
from k8s_bridge.objects import Identity, ObjectKey, field, key_of, uid_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

_CLUSTER_KINDS = {
    ("v1", "Namespace"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
}
_NAMESPACED_KINDS = {
    ("v1", "ConfigMap"),
    ("v1", "Endpoints"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("rbac.authorization.k8s.io/v1", "Role"),
}


_NOT_OWNED = frozenset({"name", "namespace", "uid", "resourceVersion", "managedFields", "deletionTimestamp"})


class Crash(BaseException):
    """The bridge's process dies here."""


class FakeCluster:
    """One cluster in memory."""

    def __init__(self) -> None:
        self.objects: dict[Identity, JsonObject] = {}
        self.faults: dict[Identity, EnvironmentFault] = {}
        self.writes: list[str] = []
        self.crash_before_write: int | None = None
        self.immutable: dict[str, tuple[str, ...]] = {}
        """By kind, the path of what may not be changed, the bridge's own records aside."""
        self.admitted: JsonObject = {}
        """Annotations that admission adds to whatever is applied."""
        self.attempts: list[str] = []
        self.invalid: Callable[[JsonObject], bool] = lambda _: False
        """What no object may be."""
        self.refuses_new = False
        """Nothing that is not there yet is accepted."""
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
        self.attempts.append(f"{'try' if dry_run else 'apply'} {key}")
        if key.identity in self.faults:
            raise self.faults[key.identity]
        live = self.objects.get(key.identity)
        _check_conditions(manifest, live)
        self._check_immutable(key, live, manifest)
        if self.refuses_new and live is None:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="422 invalid", status=422, permanent=True)
        if key.namespace and ("", "Namespace", "", key.namespace) not in self.objects:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="404 no namespace", status=404)
        result = self._merged(key, live, manifest)
        if self.invalid(result):
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="422 invalid", status=422, permanent=True)
        if dry_run:
            return Applied(result, created=live is None)
        self._write(f"apply {key}")
        if live is None or {**result, "metadata": {**result["metadata"], "resourceVersion": ""}} != {
            **live,
            "metadata": {**live["metadata"], "resourceVersion": ""},
        }:
            result["metadata"]["resourceVersion"] = str(self._next())
            self.objects[key.identity] = result
        return Applied(copy.deepcopy(self.objects[key.identity]), created=live is None)

    def take_over(self, key: ObjectKey, live: JsonObject, managed_fields: Sequence[JsonObject]) -> None:
        held = self.objects[key.identity]["metadata"]
        if held["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="409 changed", status=409)
        self._write(f"take over {key}")
        held.update(managedFields=copy.deepcopy(list(managed_fields)), resourceVersion=str(self._next()))

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
        changed = minus(_owned(manifest), _same_fields(manifest, known or {}))
        kept = [
            {**entry, "fieldsV1": left}
            for entry in (known["metadata"]["managedFields"] if known else [])
            if (left := minus(entry["fieldsV1"], changed))
        ]
        theirs = {"manager": manager, "operation": "Update", "apiVersion": key.api_version}
        uid = uid_of(known) or f"uid-{self._next()}"
        live["metadata"].update(
            uid=uid,
            resourceVersion=str(self._next()),
            managedFields=[*kept, {**theirs, "fieldsV1": changed}],
        )
        self.objects[key.identity] = live
        return live

    def remove(self, key: ObjectKey) -> None:
        """Delete an object, and what goes with it."""
        gone = self.objects.pop(key.identity)
        if key.is_namespace:
            inside = [identity for identity in self.objects if identity[2] == key.name]
        elif key.is_definition:
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
            for (group, kind, _, _), live in self.objects.items()
            if (group, kind) == ("apiextensions.k8s.io", "CustomResourceDefinition")
            for version in live["spec"]["versions"]
        }

    def _merged(self, key: ObjectKey, live: JsonObject | None, manifest: JsonObject) -> JsonObject:
        entries = live["metadata"]["managedFields"] if live else []
        before: JsonObject = next((e["fieldsV1"] for e in entries if _is_ours(e)), {})
        result: JsonObject = _merge(copy.deepcopy(live) if live else {}, before, manifest)
        metadata = result["metadata"]
        metadata.setdefault("uid", f"uid-{self._next()}")
        metadata.setdefault("resourceVersion", "0")
        others = [e for e in entries if not _is_ours(e)]
        if self.admitted:
            metadata["annotations"] = {**metadata.get("annotations", {}), **self.admitted}
            added = _owned({"metadata": {"annotations": self.admitted}})
            others = [{"manager": "conclave", "operation": "Update", "fieldsV1": added}]
        ours = {"manager": "conclave", "operation": "Apply", "apiVersion": key.api_version}
        # The real one keeps no entry for an apply that owns no field.
        metadata["managedFields"] = (
            [{**ours, "fieldsV1": owned}, *others] if (owned := _owned(manifest)) else others
        )
        return result

    def _check_immutable(self, key: ObjectKey, live: JsonObject | None, manifest: JsonObject) -> None:
        path = self.immutable.get(key.kind)
        ruled = path and key.namespace != "conclave-system"
        if path and ruled and live is not None and field(live, *path) != field(manifest, *path):
            got = f"422 {'.'.join(path)}: field is immutable"
            raise EnvironmentFault(Code.KUBERNETES_REFUSED, got=got, status=422, permanent=True)

    def _write(self, what: str) -> None:
        if self.crash_before_write is not None:
            if self.crash_before_write == 0:
                raise Crash
            self.crash_before_write -= 1
        self.writes.append(what)

    def _next(self) -> int:
        self._counter += 1
        return self._counter


def _check_conditions(manifest: JsonObject, live: JsonObject | None) -> None:
    """Refuse an apply to another object, or version, than it names; version 1 is no object's."""
    uid, version = (field(manifest, "metadata", name) for name in ("uid", "resourceVersion"))
    if uid and uid != uid_of(live):
        raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="409 uid mismatch", status=409)
    if version and live is not None and version != live["metadata"]["resourceVersion"]:
        raise EnvironmentFault(Code.KUBERNETES_REFUSED, got="409 changed", status=409)


def _is_ours(entry: JsonObject) -> bool:
    return (entry["manager"], entry["operation"]) == ("conclave", "Apply")


def _merge(live: Any, before: JsonObject, manifest: Any) -> Any:
    """Apply ``manifest`` over ``live``; what we owned before, and do not name now, goes."""
    if not isinstance(manifest, dict) or not isinstance(live, dict):
        return copy.deepcopy(manifest)
    merged = {}
    for name, value in live.items():
        owned = before.get(f"f:{name}")
        if name in manifest:
            merged[name] = _merge(value, owned or {}, manifest[name])
        elif owned is None:
            merged[name] = value
        elif owned and isinstance(value, dict) and (left := _merge(value, owned, {})):
            merged[name] = left
    return merged | {name: copy.deepcopy(value) for name, value in manifest.items() if name not in live}


def _same_fields(one: JsonObject, other: JsonObject) -> FieldSet:
    return common(_owned(one), _owned(other), one, other)


def _owned(manifest: JsonObject) -> Any:
    names = {"apiVersion", "kind", "metadata"}
    metadata = {n: v for n, v in manifest.get("metadata", {}).items() if n not in _NOT_OWNED}
    owned = _fields({n: v for n, v in manifest.items() if n not in names})
    return {**owned, **({"f:metadata": _fields(metadata)} if metadata else {})}


def _fields(value: Any) -> Any:
    return {f"f:{name}": _fields(inner) for name, inner in value.items()} if isinstance(value, dict) else {}
