"""From a path and options to the Release object of docs/spec/ledger.md §2.

Owns the order of the steps: find, render, expand, clean, place, pin, check. Promises that the result
passes the ledger's own reading of a release, that the same files and options give the same canonical
bytes, and that a refusal lists every offender of its kind. Never signs, never sends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from conclave.render import helm, kustomize, yaml_files
from conclave.render.admissible import check_kinds, check_objects
from conclave.render.objects import (
    Placed,
    expand,
    namespace_object,
    with_namespaces,
    without_artefacts,
)
from conclave.render.pin import pinned, read_pins
from conclave.render.release_file import ReleaseFile, find
from conclave.render.sources import (
    CHART_NAME,
    KUSTOMIZATION_NAMES,
    SourceFile,
    collect,
    digest,
    is_file,
    is_folder,
    missing,
)
from conclave.render.strict_yaml import Document
from k8s_bridge.inventory import check_room
from k8s_bridge.objects import key_of
from ledger import canonical, shape
from ledger.changes import read_release
from ledger.errors import Code, Refused
from ledger.limits import BODY_BYTES_MAX, KIB
from ledger.manifest import group_of, object_id
from ledger.types import API_VERSION, JsonObject

DEFAULT_NAMESPACE = "default"
"""As kubectl has it, where neither release.yaml nor a flag says otherwise."""
RELEASE_BYTES_MAX = BODY_BYTES_MAX - 4 * KIB
"""What is left of a body for the release itself."""


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What flags say; each overrides release.yaml.

    Attributes:
        name: of the release.
        clusters: targets.
        namespace: default namespace of namespaced objects.
        create_namespace: add a Namespace object; None leaves it to release.yaml.
        values: values files for a chart.
        pins: pin files.
        default_clusters: used where neither flag nor file names clusters.
        image_digest_required: the ledger's parameter.
    """

    name: str | None = None
    clusters: tuple[str, ...] = ()
    namespace: str | None = None
    create_namespace: bool | None = None
    values: tuple[Path, ...] = ()
    pins: tuple[Path, ...] = ()
    default_clusters: tuple[str, ...] = ()
    image_digest_required: bool = True


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    namespace: str
    delivery: JsonObject


@dataclass(frozen=True, slots=True)
class _Rendered:
    documents: list[Document]
    files: tuple[SourceFile, ...]
    source: str
    renderer: str


FindTool = Callable[[str], tuple[Path, str]]
"""Gives the program and the version of ``helm`` or ``kustomize``."""


def render(path: Path, options: RenderOptions, find_tool: FindTool | None = None) -> JsonObject:
    """Render ``path`` into a Release object.

    Args:
        path: a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml.
        options: what flags say.
        find_tool: finds helm and kustomize; the built ones of ``runtime.tools`` by default.

    Raises:
        Refused: see ``conclave.render``'s parts; IMAGE_NOT_PINNED and SECRET_WITH_DATA list every offender.
        EnvironmentFault: TOOL_MISSING, SOURCE_MISSING.
    """
    if not (is_file(path) or is_folder(path)):
        raise missing(path)
    if path.name in {*KUSTOMIZATION_NAMES, CHART_NAME}:
        path = path.parent
    spec = find(path)
    pins = read_pins(options.pins)
    target = _target(path, spec, options)
    rendered = _render_source(spec, options, target, find_tool or built_tool)
    placed = without_artefacts(expand(rendered.documents))
    check_kinds(placed)
    create = spec.create_namespace if options.create_namespace is None else options.create_namespace
    if create and not any(_is_namespace(item.manifest, target.namespace) for item in placed):
        placed = [namespace_object(target.namespace), *placed]
    placed = with_namespaces(placed, target.namespace, spec.cluster_scoped)
    manifests = [pinned(item.manifest, pins) for item in placed]
    _refuse_secrets(placed)
    check_objects(placed)
    release = _release(target, manifests, rendered)
    read_release(release, image_digest_required=options.image_digest_required, where="release")
    _check_size(release)
    return release


def built_tool(name: str) -> tuple[Path, str]:
    """Give helm or kustomize as ``runtime.tools`` builds them, and the version.

    Raises:
        EnvironmentFault: TOOL_MISSING or TOOL_BUILD_FAILED.
    """
    from conclave.programs import Tool, program

    tool = {"helm": Tool.HELM, "kustomize": Tool.KUSTOMIZE}[name]
    return program(tool), tool.value.version


def _target(path: Path, spec: ReleaseFile, options: RenderOptions) -> _Target:
    name = options.name or spec.name or (path.resolve().name if is_folder(path) else path.stem)
    delivery = _delivery(spec, options)
    try:
        shape.name(name, "name")
    except Refused as error:
        raise Refused(
            error.code,
            got=f"release name {name!r}",
            expected=error.expected,
            todo="give it by --name, or metadata.name in release.yaml",
            field="metadata.name",
        ) from error
    return _Target(name, options.namespace or spec.namespace or DEFAULT_NAMESPACE, delivery)


def _delivery(spec: ReleaseFile, options: RenderOptions) -> JsonObject:
    """Give the release's targets and how it goes there; clusters named by a flag replace a selector."""
    delivery = dict(spec.delivery)
    if options.clusters:
        delivery.pop("selector", None)
    default = () if "selector" in delivery else options.default_clusters
    clusters = sorted(set(options.clusters or spec.clusters or default))
    if clusters:
        delivery["clusters"] = clusters
    elif "selector" not in delivery:
        raise Refused(
            Code.FIELD_MISSING,
            got="no target cluster",
            expected="at least one cluster",
            todo="add --cluster NAME, or spec.clusters or spec.selector in release.yaml",
            field="spec.clusters",
        )
    return delivery


def _render_source(
    spec: ReleaseFile, options: RenderOptions, target: _Target, find_tool: FindTool
) -> _Rendered:
    source = spec.source
    is_chart = is_folder(source) and is_file(source / CHART_NAME)
    if (options.values or spec.values is not None) and not is_chart:
        raise Refused(
            Code.USAGE,
            got=f"values for {source}, which is no Helm chart",
            expected="values for a chart only",
            todo="leave --values and spec.values out",
        )
    with tempfile.TemporaryDirectory(prefix="conclave-render-") as scratch:
        if is_chart:
            program, version = find_tool("helm")
            values = tuple(file for path in options.values for file in _values(path))
            chart = helm.ChartOptions(target.name, target.namespace, values, spec.values, spec.omit_hooks)
            documents, files = helm.template(source, program, chart, Path(scratch))
            return _Rendered(documents, files, "helm", f"helm {version}")
        if is_folder(source) and kustomize.find_kustomization(source):
            kustomize.reached(source)
            program, version = find_tool("kustomize")
            documents, files = kustomize.build(source, program, Path(scratch))
            return _Rendered(documents, files, "kustomize", f"kustomize {version}")
    documents, files = yaml_files.read(source, spec.skip)
    return _Rendered(documents, files, "yaml", f"conclave {metadata.version('conclave')}")


def _values(path: Path) -> tuple[SourceFile, ...]:
    if not is_file(path):
        raise missing(path, "--values")
    return collect(path)


def _release(target: _Target, manifests: list[JsonObject], rendered: _Rendered) -> JsonObject:
    return {
        "apiVersion": API_VERSION,
        "kind": "Release",
        "metadata": {"name": target.name},
        "spec": {
            **target.delivery,
            "namespace": target.namespace,
            "manifests": manifests,
            "provenance": {
                "source": rendered.source,
                "digest": digest(rendered.files),
                "renderer": rendered.renderer,
            },
        },
    }


def _is_namespace(manifest: JsonObject, name: str) -> bool:
    return (group_of(manifest), manifest["kind"], manifest["metadata"]["name"]) == ("", "Namespace", name)


def _refuse_secrets(placed: list[Placed]) -> None:
    """Name every Secret with data at once; the ledger's own rule would stop at the first."""
    found = [
        {"object": object_id(item.manifest), "origin": item.origin}
        for item in placed
        if (group_of(item.manifest), item.manifest["kind"]) == ("", "Secret")
        and (item.manifest.get("data") or item.manifest.get("stringData"))
    ]
    if found:
        raise Refused(
            Code.SECRET_WITH_DATA,
            got=", ".join(f"{item['object']} ({item['origin']})" for item in found),
            expected="Secrets without data or stringData: every node reads the ledger",
            todo="make the Secret's data on the cluster itself, and take it out of the release",
            objects=found,
        )


def _check_size(release: JsonObject) -> None:
    size = len(canonical.dump(release))
    if size > RELEASE_BYTES_MAX:
        raise Refused(
            Code.BODY_TOO_LARGE,
            got=f"{size} bytes of canonical JSON",
            expected=f"at most {RELEASE_BYTES_MAX}",
            todo="split the release",
        )
    check_room(release["metadata"]["name"], map(key_of, release["spec"]["manifests"]))
