"""Helm charts: checked for what would be fetched, then rendered by ``helm template`` offline, twice.

Owns chart rendering. Promises: dependencies come from the chart's own ``charts/`` folder or not at all; a
chart that renders differently each time (random or time functions) is refused; hooks are never applied
silently as ordinary objects. Never talks to a cluster: ``lookup`` finds nothing and DNS functions are
off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from conclave.render import offline, remote
from conclave.render.sources import CHART_NAME, SourceFile, collect, copy_to
from conclave.render.strict_yaml import Document, read_documents
from ledger.errors import Code, Refused
from ledger.types import Json, JsonObject

KUBE_VERSION = "1.36.3"
"""What charts see as the cluster's version: fixed, so that rendering does not depend on where it happens."""
_HOOK = "helm.sh/hook"


@dataclass(frozen=True, slots=True)
class ChartOptions:
    """How a chart is rendered.

    Attributes:
        name: the release's name.
        namespace: the release's namespace.
        values: further values files, later ones win.
        inline: values of release.yaml; they come before ``values``.
        omit_hooks: leave hooks out instead of refusing them.
    """

    name: str
    namespace: str
    values: tuple[SourceFile, ...] = ()
    inline: JsonObject | None = None
    omit_hooks: bool = False


def template(
    folder: Path, program: Path, options: ChartOptions, scratch: Path
) -> tuple[list[Document], tuple[SourceFile, ...]]:
    """Render the chart in ``folder``.

    Args:
        folder: holds Chart.yaml.
        program: the helm binary.
        options: name, namespace and values.
        scratch: an empty temporary folder of ours.

    Returns:
        the documents, and the files the rendering saw (for the digest).

    Raises:
        Refused: REMOTE_SOURCE, RENDER_FAILED, YAML_INVALID, LIMIT_EXCEEDED.
    """
    files = collect(folder)
    _refuse_remote(folder, files)
    tree, home, given = scratch / "chart", scratch / "home", scratch / "values"
    for path in (tree, home, given):
        path.mkdir()
    copy_to(files, tree)
    values = _values(options)
    copy_to(values, given)
    argv = [str(program), "template", options.name, str(tree), "--namespace", options.namespace]
    argv += ["--include-crds", "--skip-tests", "--kube-version", KUBE_VERSION]
    for value in values:
        argv += ["--values", str(given / value.path)]
    output = offline.run(argv, cwd=tree, home=home, what=str(folder))
    if offline.run(argv, cwd=tree, home=home, what=str(folder)) != output:
        raise _failed(
            folder,
            "two renderings differ",
            "remove random and time functions from the chart, or set the values they stand in for",
        )
    documents = read_documents(output, f"{folder.name} (rendered)")
    seen = files + tuple(SourceFile(f"values/{value.path}", value.content) for value in values)
    return _without_hooks(folder, documents, options), seen


def _values(options: ChartOptions) -> tuple[SourceFile, ...]:
    contents = [json.dumps(options.inline, sort_keys=True).encode()] if options.inline else []
    for file in options.values:
        read_documents(file.content, file.path)
        contents.append(file.content)
    return tuple(SourceFile(f"{index:03d}.yaml", content) for index, content in enumerate(contents))


def _refuse_remote(folder: Path, files: tuple[SourceFile, ...]) -> None:
    """Refuse a chart, or a chart vendored in it, that names a dependency it does not carry."""
    paths = {file.path for file in files}
    for file in files:
        if file.path.rpartition("/")[2] != CHART_NAME:
            continue
        shown = str(folder / file.path)
        documents = read_documents(file.content, shown)
        value = documents[0].value if documents else None
        if not isinstance(value, dict):
            raise Refused(
                Code.YAML_INVALID, got=f"{shown}: not a map", expected="a chart", file=shown, line=1
            )
        home = file.path.removesuffix(CHART_NAME)
        for entry in _dependencies(value.get("dependencies")):
            name, repository = str(entry.get("name", "")), str(entry.get("repository") or "")
            prefix = f"{home}charts/{name}"
            vendored = any(path.startswith((f"{prefix}/", f"{prefix}-")) for path in paths)
            if not vendored and repository:
                raise remote.refusal(shown, f"{name} from {repository}", "dependencies")
            if not vendored:
                raise _failed(folder, f"{shown}: dependency {name} is not in charts/", "put it into charts/")


def _dependencies(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _without_hooks(folder: Path, documents: list[Document], options: ChartOptions) -> list[Document]:
    kept: list[Document] = []
    hooks: list[str] = []
    for document in documents:
        metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        if isinstance(annotations, dict) and _HOOK in annotations:
            name = metadata.get("name") if isinstance(metadata, dict) else ""
            hooks.append(f"{document.value.get('kind')} {name} ({annotations[_HOOK]})")
        else:
            kept.append(document)
    if hooks and not options.omit_hooks:
        raise _failed(
            folder,
            "hooks, which no release can run: " + ", ".join(hooks[:20]),
            "switch them off by the chart's values, or leave them out by spec.hooks: omit in release.yaml",
        )
    return kept


def _failed(folder: Path, problem: str, todo: str) -> Refused:
    return Refused(
        Code.RENDER_FAILED,
        got=f"{folder}: {problem}",
        expected="a chart that renders the same way every time",
        todo=todo,
        source=str(folder),
        tool="helm",
    )
