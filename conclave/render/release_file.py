"""``release.yaml``: what an operator writes beside the manifests to say how they become a release.

Owns its strict reading. Promises that an unknown field is refused, so that a misspelt one is never ignored.
Never reads the manifests themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from conclave.render.sources import RELEASE_NAMES, is_file, is_folder, missing, read_file
from conclave.render.strict_yaml import Document, read_documents
from ledger import shape
from ledger.errors import Code, Refused
from ledger.types import API_VERSION, Json, JsonObject

_SPEC = ("source", "clusters", "namespace", "createNamespace", "values", "clusterScopedKinds", "hooks")
_DELIVERY = ("selector", "rollout", "health", "autoscale", "recreate", "healthRules")
"""Where and how a release goes; read strictly by the ledger's own rules (docs/spec/releases.md §1)."""
KINDS_MAX = 256


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """The content of a release.yaml; None or empty where it is silent.

    Attributes:
        source: the folder or file with the manifests.
        skip: relative paths inside ``source`` that are not manifests: the file itself.
        name: of the release.
        clusters: target clusters.
        namespace: default namespace.
        create_namespace: add a Namespace object.
        values: for a chart.
        cluster_scoped: kinds declared cluster-scoped.
        omit_hooks: leave chart hooks out.
        delivery: selector, rollout, health, autoscale, recreate and health rules, as written.
    """

    source: Path
    skip: frozenset[str] = frozenset()
    name: str | None = None
    clusters: tuple[str, ...] = ()
    namespace: str | None = None
    create_namespace: bool = False
    values: JsonObject | None = None
    cluster_scoped: frozenset[str] = frozenset()
    omit_hooks: bool = False
    delivery: JsonObject = field(default_factory=dict)


def find(path: Path) -> ReleaseFile:
    """Read the release.yaml in the folder ``path``, or ``path`` itself if it is one; else give an empty one.

    Raises:
        Refused: YAML_INVALID, or a field code naming file and field.
    """
    if is_folder(path):
        file = next((path / name for name in RELEASE_NAMES if is_file(path / name)), None)
    else:
        file = path if is_file(path) and path.suffix in {".yaml", ".yml", ".json"} else None
    if file is None:
        return ReleaseFile(path)
    documents = read_documents(read_file(file, str(file)), str(file))
    if not any(_is_release(document) for document in documents):
        return ReleaseFile(path)
    if len(documents) != 1:
        raise Refused(
            Code.YAML_INVALID,
            got=f"{file}: a Release and {len(documents) - 1} other documents",
            expected="one Release alone in its file",
            todo="move the manifests to files of their own",
            file=str(file),
            line=documents[1].line,
        )
    return _read(file, documents[0].value)


def _is_release(document: Document) -> bool:
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "Release":
        return False
    return str(value.get("apiVersion", "")).partition("/")[0] == API_VERSION.partition("/")[0]


def _read(file: Path, value: Json) -> ReleaseFile:
    where = str(file)
    top = shape.fields(value, where, required=("apiVersion", "kind", "metadata"), optional=("spec",))
    shape.choice(top["apiVersion"], f"{where}: apiVersion", (API_VERSION,))
    metadata = shape.fields(top["metadata"], f"{where}: metadata", required=("name",))
    spec = shape.fields(top.get("spec") or {}, f"{where}: spec", required=(), optional=(*_SPEC, *_DELIVERY))
    source, skip = _source(file, spec)
    clusters = shape.array(spec.get("clusters", []), f"{where}: spec.clusters", items_max=1000)
    kinds = shape.array(
        spec.get("clusterScopedKinds", []), f"{where}: spec.clusterScopedKinds", items_max=KINDS_MAX
    )
    values = spec.get("values")
    if values is not None and not isinstance(values, dict):
        raise shape.invalid(f"{where}: spec.values", values, "a map")
    create = spec.get("createNamespace", False)
    if not isinstance(create, bool):
        raise shape.invalid(f"{where}: spec.createNamespace", create, "true or false")
    namespace = spec.get("namespace")
    return ReleaseFile(
        source=source,
        skip=skip,
        name=shape.name(metadata["name"], f"{where}: metadata.name"),
        clusters=tuple(shape.name(item, f"{where}: spec.clusters[{i}]") for i, item in enumerate(clusters)),
        namespace=None if namespace is None else shape.name(namespace, f"{where}: spec.namespace"),
        create_namespace=create,
        values=values,
        cluster_scoped=frozenset(
            shape.text(item, f"{where}: spec.clusterScopedKinds[{i}]", bytes_max=253)
            for i, item in enumerate(kinds)
        ),
        omit_hooks=shape.choice(spec.get("hooks", "refuse"), f"{where}: spec.hooks", ("refuse", "omit"))
        == "omit",
        delivery={name: spec[name] for name in _DELIVERY if name in spec},
    )


def _source(file: Path, spec: JsonObject) -> tuple[Path, frozenset[str]]:
    where = f"{file}: spec.source"
    source = shape.fields(spec.get("source") or {}, where, required=(), optional=("path",))
    path = shape.text(source.get("path", "."), f"{where}.path", bytes_max=4096)
    if Path(path).is_absolute():
        raise shape.invalid(f"{where}.path", path, "a path relative to this file")
    target = file.parent / path
    if not (is_file(target) or is_folder(target)):
        raise missing(target, where)
    if target.resolve() == file.parent.resolve():
        return file.parent, frozenset((file.name,))
    return target, frozenset()
