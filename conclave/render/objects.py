"""From YAML documents to the release's manifests.

Owns expansion of ``List``, removal of generator artefacts and the explicit namespace of every object.
Promises that nothing an author meant is lost: only null creation times and empty status are dropped, and a
namespace on a built-in cluster-scoped kind, which the API server ignores too. Null values elsewhere stay as
they are: ``admissible`` judges them. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from conclave.render.scopes import GroupKind, is_namespaced, told_scopes
from conclave.render.strict_yaml import Document
from ledger.errors import Code, Refused
from ledger.limits import OBJECTS_PER_RELEASE_MAX
from ledger.manifest import group_of
from ledger.types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Placed:
    """A manifest and where it came from (``file:line``)."""

    manifest: JsonObject
    origin: str


def expand(documents: list[Document]) -> list[Placed]:
    """Give the objects of the documents in order, the items of lists in their place.

    Raises:
        Refused: OBJECT_INVALID for what is no Kubernetes object, with file and line; LIMIT_EXCEEDED.
    """
    placed: list[Placed] = []
    for document in documents:
        origin = f"{document.file}:{document.line}"
        for value, where in _items(document.value, origin):
            placed.append(Placed(_object(value, document, where), where))
            if len(placed) > OBJECTS_PER_RELEASE_MAX:
                raise Refused(
                    Code.LIMIT_EXCEEDED,
                    got=f"more than {OBJECTS_PER_RELEASE_MAX} objects",
                    todo="split the release",
                    file=document.file,
                )
    return placed


def without_artefacts(placed: list[Placed]) -> list[Placed]:
    """Drop what generators leave behind: ``creationTimestamp: null`` and an empty ``status``."""
    return [Placed(_clean(item.manifest), item.origin) for item in placed]


def with_namespaces(placed: list[Placed], namespace: str, cluster_scoped: frozenset[str]) -> list[Placed]:
    """Write the namespace into every namespaced object that names none.

    Args:
        placed: the objects.
        namespace: the release's default.
        cluster_scoped: kinds (``Kind`` or ``Kind.group``) the author declares to be cluster-scoped.

    Raises:
        Refused: NAMESPACE_UNKNOWN listing each object whose scope nothing tells.
    """
    told = told_scopes(item.manifest for item in placed)
    unknown: list[JsonObject] = []
    result: list[Placed] = []
    for item in placed:
        group_kind: GroupKind = (group_of(item.manifest), item.manifest["kind"])
        declared = group_kind[1] in cluster_scoped or ".".join(group_kind[::-1]) in cluster_scoped
        scope = False if declared else is_namespaced(group_kind, told)
        has_namespace = bool(item.manifest["metadata"].get("namespace"))
        if scope is None and not has_namespace:
            unknown.append(_name_of(item))
        result.append(Placed(_in_namespace(item.manifest, scope, namespace), item.origin))
    if unknown:
        first = unknown[0]
        raise Refused(
            Code.NAMESPACE_UNKNOWN,
            got=f"{len(unknown)} objects of kinds that are neither built in nor defined in the release, "
            f"first {first['kind']} {first['name']} ({first['origin']})",
            expected="a known scope for every object",
            todo="write metadata.namespace into them, or list them as spec.clusterScopedKinds",
            objects=unknown,
        )
    return result


def namespace_object(name: str) -> Placed:
    """Give the Namespace object that ``createNamespace`` adds."""
    return Placed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, "createNamespace")


def _items(value: Json, origin: str) -> list[tuple[Json, str]]:
    """Expand a List (also nested and typed ones such as ConfigMapList) without recursion."""
    pending: list[tuple[Json, str]] = [(value, origin)]
    found: list[tuple[Json, str]] = []
    while pending:
        item, where = pending.pop()
        kind = item.get("kind") if isinstance(item, dict) else None
        items = item.get("items") if isinstance(item, dict) else None
        if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
            pending.extend((items[index], f"{where} items[{index}]") for index in reversed(range(len(items))))
        else:
            found.append((item, where))
    return found


def _object(value: Json, document: Document, where: str) -> JsonObject:
    missing = ["a map"] if not isinstance(value, dict) else []
    if isinstance(value, dict):
        missing = [field for field in ("apiVersion", "kind") if not isinstance(value.get(field), str)]
        metadata = value.get("metadata")
        if not missing and not isinstance(metadata, dict):
            missing = ["metadata"]
        if not missing and isinstance(metadata, dict) and not isinstance(metadata.get("name"), str):
            missing = ["metadata.name"]
    if missing:
        raise Refused(
            Code.OBJECT_INVALID,
            got=f"{where}: no Kubernetes object, {missing[0]} is missing",
            expected="apiVersion, kind and metadata.name as text",
            todo="take the file out of the release, or complete it",
            file=document.file,
            line=document.line,
            field=missing[0],
        )
    result: JsonObject = value
    return result


def _clean(manifest: JsonObject) -> JsonObject:
    cleaned = {key: value for key, value in manifest.items() if key != "status" or value not in (None, {})}
    cleaned["metadata"] = _clean_metadata(cleaned["metadata"])
    _clean_templates(cleaned.get("spec"))
    return cleaned


def _clean_metadata(metadata: JsonObject) -> JsonObject:
    return {
        key: value for key, value in metadata.items() if not (key == "creationTimestamp" and value is None)
    }


def _clean_templates(spec: Json) -> None:
    """Drop the null creation time of embedded templates, in place: pods, jobs and volume claims."""
    pending = [spec]
    while pending:
        node = pending.pop()
        if not isinstance(node, dict):
            continue
        inner = [node.get("template"), node.get("jobTemplate")]
        claims = node.get("volumeClaimTemplates")
        inner += claims if isinstance(claims, list) else []
        for template in inner:
            if isinstance(template, dict) and isinstance(template.get("metadata"), dict):
                template["metadata"] = _clean_metadata(template["metadata"])
                pending.append(template.get("spec"))


def _in_namespace(manifest: JsonObject, scope: bool | None, namespace: str) -> JsonObject:
    metadata = manifest["metadata"]
    if scope is False and "namespace" in metadata:
        metadata = {key: value for key, value in metadata.items() if key != "namespace"}
    elif scope is True and not metadata.get("namespace"):
        metadata = metadata | {"namespace": namespace}
    return manifest | {"metadata": metadata}


def _name_of(item: Placed) -> JsonObject:
    manifest = item.manifest
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "name": manifest["metadata"]["name"],
        "origin": item.origin,
    }
