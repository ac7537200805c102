"""Plain YAML and JSON files as a release's source.

Owns the choice of files in a folder. Promises a fixed order (sorted relative paths, then order in the
file) and that a folder which is really several kustomizations or charts is refused instead of half read.
"""

from __future__ import annotations

from pathlib import Path

from conclave.render import kustomize
from conclave.render.sources import (
    CHART_NAME,
    KUSTOMIZATION_NAMES,
    YAML_SUFFIXES,
    SourceFile,
    collect,
    is_folder,
)
from conclave.render.strict_yaml import Document, read_documents
from ledger.errors import Code, Refused


def read(source: Path, skip: frozenset[str]) -> tuple[list[Document], tuple[SourceFile, ...]]:
    """Read all YAML and JSON files of a folder, or the one file ``source``.

    Args:
        source: folder or file.
        skip: relative paths that are no manifests (release.yaml).

    Returns:
        the documents in order, and the files they came from.

    Raises:
        Refused: SOURCE_MISSING, YAML_INVALID, REMOTE_SOURCE, LIMIT_EXCEEDED.
    """
    files = collect(source, skip)
    if is_folder(source):
        _refuse_nested(source, files)
        files = tuple(file for file in files if _is_manifest(file.path))
    if not files:
        raise Refused(
            Code.SOURCE_MISSING,
            got=f"{source}: no YAML or JSON file in it",
            expected="at least one manifest",
            todo="name the folder that holds the manifests",
            file=str(source),
        )
    documents: list[Document] = []
    for file in files:
        documents += read_documents(file.content, file.path)
    return documents, files


def _is_manifest(path: str) -> bool:
    return path.endswith(YAML_SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def _refuse_nested(source: Path, files: tuple[SourceFile, ...]) -> None:
    """Refuse kustomizations and charts below a plain folder; those that name a URL say so first."""
    kustomizations = [
        source / file.path for file in files if file.path.rpartition("/")[2] in KUSTOMIZATION_NAMES
    ]
    for kustomization in kustomizations:
        kustomize.reached(kustomization.parent)
    charts = [source / file.path for file in files if file.path.rpartition("/")[2] == CHART_NAME]
    nested = sorted(str(path.parent) for path in (*kustomizations, *charts))
    if nested:
        raise Refused(
            Code.SOURCE_MISSING,
            got=f"{source}: holds {len(nested)} kustomizations or charts in sub-folders",
            expected="plain YAML files, or one kustomization or chart at the top",
            todo=f"propose one of them by itself, for example {nested[0]}",
            file=str(source),
            folders=nested[:50],
        )
