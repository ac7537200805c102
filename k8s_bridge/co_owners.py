"""Which fields of a signed object others may set beside us, and what everybody else added.

Owns the declared list of co-owned fields (docs/spec/bridge.md §2) and the reading of the API server's record
of field ownership against it. Promises that whatever the record gives to anybody else, and neither the list
nor our manifest names, is found, whoever calls themselves what. Never writes; never trusts a manager's name:
anybody may call themselves anything, ``conclave`` included.

Source: Kubernetes server-side apply, field management; kubernetes notes, trap 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from k8s_bridge.compare import FIELD_MANAGER
from k8s_bridge.field_sets import FieldSet, common, members, minus, shown, union
from k8s_bridge.objects import ObjectKey, field
from ledger.types import JsonObject

NAMES_SHOWN_MAX = 8
UNRECORDED = "somebody the record does not name"

Path = tuple[str, ...]
ANY_ITEM = "k:*"
_ANNOTATIONS = ("f:metadata", "f:annotations")
_CLIENT_BUNDLE = ("f:clientConfig", "f:caBundle")

CO_OWNED: tuple[Path, ...] = (("f:status",), ("f:metadata", "f:finalizers"))
"""Of every object."""

CO_OWNED_OF_KIND: dict[tuple[str, str], tuple[Path, ...]] = {
    ("", "Namespace"): (
        ("f:metadata", "f:labels", "f:kubernetes.io/metadata.name"),
        ("f:spec", "f:finalizers"),
    ),
    ("", "Pod"): (("f:spec",), ("f:metadata", "f:ownerReferences")),
    ("apps", "ReplicaSet"): (("f:metadata", "f:ownerReferences"),),
    ("apps", "Deployment"): ((*_ANNOTATIONS, "f:deployment.kubernetes.io/revision"),),
    ("apps", "DaemonSet"): ((*_ANNOTATIONS, "f:deprecated.daemonset.template.generation"),),
    ("batch", "Job"): (
        ("f:spec", "f:selector"),
        *(
            ("f:spec", "f:template", "f:metadata", "f:labels", f"f:{name}")
            for name in (
                "controller-uid",
                "job-name",
                "batch.kubernetes.io/controller-uid",
                "batch.kubernetes.io/job-name",
            )
        ),
    ),
    ("", "Secret"): (("f:data",), (*_ANNOTATIONS, "f:kubernetes.io/service-account.uid")),
    ("", "ServiceAccount"): (("f:secrets",),),
    ("", "Service"): (
        *(("f:spec", f"f:{name}") for name in ("clusterIP", "clusterIPs", "healthCheckNodePort")),
        ("f:spec", "f:ports", ANY_ITEM, "f:nodePort"),
    ),
    ("", "PersistentVolumeClaim"): (
        ("f:spec", "f:volumeName"),
        ("f:spec", "f:storageClassName"),
        *(
            (*_ANNOTATIONS, f"f:{name}")
            for name in (
                "pv.kubernetes.io/bind-completed",
                "pv.kubernetes.io/bound-by-controller",
                "volume.kubernetes.io/storage-provisioner",
                "volume.beta.kubernetes.io/storage-provisioner",
                "volume.kubernetes.io/selected-node",
            )
        ),
    ),
    ("", "PersistentVolume"): (
        ("f:spec", "f:claimRef"),
        (*_ANNOTATIONS, "f:pv.kubernetes.io/bound-by-controller"),
        (*_ANNOTATIONS, "f:pv.kubernetes.io/provisioned-by"),
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        ("f:spec", "f:conversion", "f:webhook", *_CLIENT_BUNDLE),
    ),
    ("apiregistration.k8s.io", "APIService"): (("f:spec", "f:caBundle"),),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): (
        ("f:webhooks", ANY_ITEM, *_CLIENT_BUNDLE),
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): (
        ("f:webhooks", ANY_ITEM, *_CLIENT_BUNDLE),
    ),
}
"""By group and kind. A path names everything below it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What others added to an object of ours.

    Attributes:
        fields: what they own, we do not, and nobody may.
        managers: who they say they are.
        takeover: the record of ownership in which those fields are ours, and an apply removes them.
    """

    fields: FieldSet
    managers: tuple[str, ...]
    takeover: tuple[JsonObject, ...]

    @property
    def reason(self) -> str:
        """Name the fields and who added them, for people."""
        names = shown(self.fields)
        more = [f"{len(names) - NAMES_SHOWN_MAX} more"] if len(names) > NAMES_SHOWN_MAX else []
        return f"{', '.join(names[:NAMES_SHOWN_MAX] + more)} added by {', '.join(self.managers)}"


def foreign_of(key: ObjectKey, live: JsonObject) -> Foreign | None:
    """Find what others added to an object that we apply; None where nothing."""
    ours = our_fields(live)
    kept: list[JsonObject] = []
    taken: FieldSet = {}
    managers: list[str] = []
    added: FieldSet = {}
    for entry in _entries(live):
        if _is_ours(entry):
            continue
        fields = _fields(entry)
        if fields is None or field(entry, "subresource"):
            kept.append(entry)
            continue
        theirs, allowed = _divided(key, fields, ours)
        new = minus(minus(members(fields), allowed), ours)
        if new:
            managers.append(str(field(entry, "manager")))
        added, taken = union(added, new), union(taken, theirs)
        if allowed:
            kept.append({**entry, "fieldsV1": allowed})
    if not added:
        return None
    mine: JsonObject = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": str(live.get("apiVersion")),
        "fieldsType": "FieldsV1",
        "fieldsV1": union(ours, taken),
    }
    return Foreign(added, tuple(sorted(set(managers))), (mine, *kept))


def without_admitted(foreign: Foreign, live: JsonObject, fresh: JsonObject) -> Foreign | None:
    """Leave out what the cluster's own admission adds to our manifest whenever it is applied.

    Args:
        foreign: what others added.
        live: the object.
        fresh: what the API server answered to a dry run that makes our manifest anew, under another name.
    """
    admitted: FieldSet = {}
    for entry in _entries(fresh):
        fields = _fields(entry)
        if fields is not None and not _is_ours(entry):
            admitted = union(admitted, fields)
    left = minus(foreign.fields, common(foreign.fields, admitted, live, fresh))
    return Foreign(left, foreign.managers, foreign.takeover) if left else None


def with_all_owned(live: JsonObject, fields: FieldSet) -> JsonObject:
    """Give an object whose record gives every one of these fields to somebody unknown.

    What its record says of subresources stays.
    """
    entry: JsonObject = {
        "manager": UNRECORDED,
        "operation": "Update",
        "apiVersion": str(live.get("apiVersion")),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    kept = [known for known in _entries(live) if field(known, "subresource")]
    return {**live, "metadata": {**live["metadata"], "managedFields": [*kept, entry]}}


def our_fields(live: JsonObject) -> FieldSet:
    """Give the fields that we applied."""
    found = (_fields(entry) for entry in _entries(live) if _is_ours(entry))
    return next((fields for fields in found if fields is not None), {})


def managers_of(live: JsonObject, wanted: FieldSet) -> tuple[str, ...]:
    """Name who else, by the record, has set any of these fields of an object."""
    found = []
    for entry in _entries(live):
        fields = _fields(entry)
        if fields is None or _is_ours(entry) or field(entry, "subresource"):
            continue
        if minus(members(fields), wanted) != members(fields):
            found.append(str(field(entry, "manager")))
    return tuple(sorted(set(found)))


def _divided(key: ObjectKey, fields: FieldSet, ours: FieldSet) -> tuple[FieldSet, FieldSet]:
    """Divide somebody's fields into those that are not theirs to set and those that are."""
    allowed: FieldSet = {}
    for rule in _rules(key, ours):
        for path in _matching(rule, fields, ours):
            allowed = union(allowed, _only(fields, path))
    return minus(fields, allowed), allowed


def _rules(key: ObjectKey, ours: FieldSet) -> Iterator[Path]:
    yield from CO_OWNED
    yield from CO_OWNED_OF_KIND.get((key.group, key.kind), ())
    # A role that is put together of others has its rules from the controller that does so.
    if (key.group, key.kind) == ("rbac.authorization.k8s.io", "ClusterRole") and "f:aggregationRule" in ours:
        yield ("f:rules",)


def _matching(rule: Path, fields: FieldSet, ours: FieldSet) -> Iterator[Path]:
    """Give where a rule leads among somebody's fields; of list items, only into those that are ours."""
    found: list[tuple[Path, FieldSet, FieldSet]] = [((), fields, ours)]
    for step in rule:
        following = []
        for path, node, mine in found:
            if step != ANY_ITEM:
                names = [step] if step in node else []
            else:
                names = [name for name in node if name.startswith("k:") and name in mine]
            following += [((*path, name), node[name], mine.get(name) or {}) for name in names]
        found = following
    yield from (path for path, _, _ in found)


def _only(fields: FieldSet, path: Path) -> FieldSet:
    if not path:
        return fields
    return {path[0]: _only(fields[path[0]], path[1:])}


def _entries(live: JsonObject) -> list[JsonObject]:
    entries = field(live, "metadata", "managedFields")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _is_ours(entry: JsonObject) -> bool:
    ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    return ours and not entry.get("subresource")


def _fields(entry: JsonObject) -> FieldSet | None:
    fields = entry.get("fieldsV1")
    return fields if isinstance(fields, dict) else None
