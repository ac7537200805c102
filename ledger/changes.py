"""What a proposal can change: a release, or the ledger's own objects.

Owns the strict reading of a proposal's change into frozen records. Whether a change is allowed now is judged
elsewhere. Source: docs/spec/ledger.md §2, authority.md §1, releases.md §1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ledger import health_expression, manifest, release_spec, shape
from ledger.errors import Code, Refused
from ledger.limits import (
    CLUSTERS_PER_RELEASE_MAX,
    LABEL_BYTES_MAX,
    LABELS_MAX,
    OBJECTS_PER_CHANGE_MAX,
    OBJECTS_PER_RELEASE_MAX,
)
from ledger.types import API_VERSION, Json, JsonObject

SOURCES = ("yaml", "kustomize", "helm")
_RENDERER_BYTES_MAX = 256
_SPEC_OPTIONAL = ("clusters", "selector", "rollout", "health", "autoscale", "recreate", "healthRules")

CONSTITUTION_KINDS = ("Role", "RoleBinding", "ApprovalRule", "BreakGlass")
"""Kinds of ledger object by which authority is judged."""
PUT_KINDS = (
    *CONSTITUTION_KINDS,
    "Identity",
    "Cluster",
    "Parameters",
    "Validator",
    "Upgrade",
    "AgentPolicy",
)
"""Kinds of ledger object that a change can put."""
REMOVE_KINDS = (
    *CONSTITUTION_KINDS,
    "Identity",
    "Cluster",
    "Validator",
    "Upgrade",
    "Freeze",
    "AgentPolicy",
    "Suspension",
)
"""Kinds of ledger object that a change can remove."""


@dataclass(frozen=True, slots=True)
class Release:
    """A proposed release: its name, its manifests as signed, and where and how it goes.

    Attributes:
        clusters: the clusters it names; empty where a selector chooses them.
        spec: targets, rollout, health, autoscale, recreate and health rules, as signed and checked.
    """

    name: str
    clusters: tuple[str, ...]
    namespace: str
    manifests: list[JsonObject]
    provenance: JsonObject
    spec: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rollback:
    """A proposed return of a release to the content of an earlier revision."""

    release: str
    to_revision: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A proposed end of a release's rollout: what it has reached stays, nothing new starts."""

    release: str


@dataclass(frozen=True, slots=True)
class Delete:
    """A proposed end of a release; with ``prune`` its objects leave the clusters too."""

    release: str
    prune: bool


@dataclass(frozen=True, slots=True)
class LedgerObject:
    """A ledger object as somebody wants it. Its spec is read by the room of its kind."""

    kind: str
    name: str
    labels: JsonObject
    spec: JsonObject


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A ledger object by kind and name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Configure:
    """A proposed change of ledger objects, as a whole or not at all: first removed, then put, in order."""

    put: tuple[LedgerObject, ...] = ()
    remove: tuple[ObjectName, ...] = ()


Change = Release | Rollback | Withdraw | Delete | Configure


def read_change(value: Json, where: str, *, image_digest_required: bool) -> Change:
    """Read a proposal's change: an object with exactly one field, the kind of change.

    Raises:
        Refused: any code of ``shape``, ``manifest`` and ``release_spec``.
    """
    change = shape.fields(value, where, required=(), optional=("release", *_READERS))
    if len(change) != 1:
        raise shape.invalid(where, sorted(change), f"exactly one of release, {', '.join(_READERS)}")
    (kind,) = change
    if kind == "release":
        return read_release(
            change[kind], image_digest_required=image_digest_required, where=f"{where}.release"
        )
    return _READERS[kind](change[kind], f"{where}.{kind}")


def read_release(value: Json, *, image_digest_required: bool, where: str = "body.change.release") -> Release:
    """Read a ``Release`` object, strictly.

    Raises:
        Refused: any code of ``shape``, ``manifest`` and ``release_spec``.
    """
    release = shape.fields(value, where, required=("apiVersion", "kind", "metadata", "spec"))
    shape.choice(release["apiVersion"], f"{where}.apiVersion", (API_VERSION,))
    shape.choice(release["kind"], f"{where}.kind", ("Release",))
    metadata = shape.fields(release["metadata"], f"{where}.metadata", required=("name",))
    required = ("namespace", "manifests", "provenance")
    spec = shape.fields(release["spec"], f"{where}.spec", required=required, optional=_SPEC_OPTIONAL)
    manifests = shape.array(spec["manifests"], f"{where}.spec.manifests", items_max=OBJECTS_PER_RELEASE_MAX)
    if not manifests:
        raise Refused(
            Code.EMPTY_RELEASE,
            got="no manifests",
            expected="at least one",
            todo="an empty release would remove all",
        )
    manifest.check_all(manifests, image_digest_required=image_digest_required)
    clusters: tuple[str, ...] = ()
    if "selector" not in spec:
        found = shape.fields(spec, f"{where}.spec", required=("clusters",), optional=spec)["clusters"]
        clusters = shape.sorted_names(found, f"{where}.spec.clusters", items_max=CLUSTERS_PER_RELEASE_MAX)
    release_spec.read_targets(spec, f"{where}.spec")
    release_spec.read_rollout(spec, f"{where}.spec")
    release_spec.read_health(spec, f"{where}.spec")
    release_spec.read_autoscale(spec, f"{where}.spec")
    _check_recreate(spec, manifests, f"{where}.spec")
    health_expression.check_rules(
        health_expression.read_rules(spec, f"{where}.spec"), manifests, f"{where}.spec"
    )
    return Release(
        name=shape.name(metadata["name"], f"{where}.metadata.name"),
        clusters=clusters,
        namespace=shape.name(spec["namespace"], f"{where}.spec.namespace"),
        manifests=manifests,
        provenance=_provenance(spec["provenance"], f"{where}.spec.provenance"),
        spec={name: spec[name] for name in _SPEC_OPTIONAL if name in spec},
    )


def _check_recreate(spec: JsonObject, manifests: list[JsonObject], where: str) -> None:
    """Check that what may be made anew is in the release: a misspelt id would do nothing, silently."""
    known = {manifest.object_id(found) for found in manifests}
    for number, wanted in enumerate(release_spec.read_recreate(spec, where)):
        if wanted not in known:
            raise shape.invalid(f"{where}.recreate[{number}]", wanted, "the id of an object of this release")


def _provenance(value: Json, where: str) -> JsonObject:
    provenance = shape.fields(value, where, required=("source", "digest", "renderer"))
    shape.choice(provenance["source"], f"{where}.source", SOURCES)
    shape.digest(provenance["digest"], f"{where}.digest")
    shape.text(provenance["renderer"], f"{where}.renderer", bytes_max=_RENDERER_BYTES_MAX)
    return provenance


def _rollback(value: Json, where: str) -> Rollback:
    rollback = shape.fields(value, where, required=("release", "toRevision"))
    return Rollback(
        shape.name(rollback["release"], f"{where}.release"),
        shape.integer(rollback["toRevision"], f"{where}.toRevision", at_least=1),
    )


def _withdraw(value: Json, where: str) -> Withdraw:
    return Withdraw(
        shape.name(shape.fields(value, where, required=("release",))["release"], f"{where}.release")
    )


def _delete(value: Json, where: str) -> Delete:
    delete = shape.fields(value, where, required=("release", "prune"))
    return Delete(
        shape.name(delete["release"], f"{where}.release"), shape.boolean(delete["prune"], f"{where}.prune")
    )


def _configure(value: Json, where: str) -> Configure:
    change = shape.fields(value, where, required=(), optional=("put", "remove"))
    puts = shape.array(change.get("put", []), f"{where}.put", items_max=OBJECTS_PER_CHANGE_MAX)
    removes = shape.array(change.get("remove", []), f"{where}.remove", items_max=OBJECTS_PER_CHANGE_MAX)
    if not 1 <= len(puts) + len(removes) <= OBJECTS_PER_CHANGE_MAX:
        raise shape.invalid(
            where, len(puts) + len(removes), f"1 to {OBJECTS_PER_CHANGE_MAX} objects put or removed"
        )
    put = tuple(read_ledger_object(v, f"{where}.put[{i}]") for i, v in enumerate(puts))
    remove = tuple(_object_name(v, f"{where}.remove[{i}]") for i, v in enumerate(removes))
    named = [(o.kind, o.name) for o in remove] + [(o.kind, o.name) for o in put]
    if len(set(named)) != len(named):
        raise Refused(Code.OBJECT_DUPLICATE, got="one object twice", expected="each object once", field=where)
    return Configure(put, remove)


def read_ledger_object(value: Json, where: str) -> LedgerObject:
    """Read a ledger object's frame; its spec is some JSON object.

    Raises:
        Refused: any code of ``shape``.
    """
    found = shape.fields(value, where, required=("apiVersion", "kind", "metadata", "spec"))
    shape.choice(found["apiVersion"], f"{where}.apiVersion", (API_VERSION,))
    metadata = shape.fields(found["metadata"], f"{where}.metadata", required=("name",), optional=("labels",))
    spec = found["spec"]
    if type(spec) is not dict:
        raise shape.invalid(f"{where}.spec", spec, "an object")
    return LedgerObject(
        shape.choice(found["kind"], f"{where}.kind", PUT_KINDS),
        shape.name(metadata["name"], f"{where}.metadata.name"),
        read_labels(metadata.get("labels", {}), f"{where}.metadata.labels"),
        spec,
    )


def read_labels(value: Json, where: str) -> JsonObject:
    """Read labels: at most ``LABELS_MAX`` short texts by short texts.

    Raises:
        Refused: FIELD_INVALID or LIMIT_EXCEEDED.
    """
    if type(value) is not dict:
        raise shape.invalid(where, value, "an object")
    if len(value) > LABELS_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=len(value), expected=f"at most {LABELS_MAX}", field=where)
    for name, text in value.items():
        shape.text(name, where, bytes_max=LABEL_BYTES_MAX)
        shape.text(text, f"{where}.{name}", bytes_max=LABEL_BYTES_MAX, empty=True)
    return value


def _object_name(value: Json, where: str) -> ObjectName:
    found = shape.fields(value, where, required=("kind", "name"))
    return ObjectName(
        shape.choice(found["kind"], f"{where}.kind", REMOVE_KINDS), shape.name(found["name"], f"{where}.name")
    )


_READERS: dict[str, Callable[[Json, str], Change]] = {
    "rollback": _rollback,
    "withdraw": _withdraw,
    "delete": _delete,
    "configure": _configure,
}
