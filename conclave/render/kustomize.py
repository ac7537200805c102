"""Kustomizations: walked by us first, then built by kustomize offline.

Owns the walk over a kustomization tree. Promises that every entry that could be fetched is refused with
its file before kustomize runs, and that kustomize sees a private copy of exactly the folders the walk
reached. Never enables plugins, functions or helm inside kustomize.

Source: kustomization.yaml field reference of kustomize 5; notes/kubernetes.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from conclave.render import offline, remote
from conclave.render.sources import (
    KUSTOMIZATION_NAMES,
    SourceFile,
    collect,
    copy_to,
    is_file,
    is_folder,
    missing,
    read_file,
)
from conclave.render.strict_yaml import Document, read_documents
from ledger.errors import Code, Refused
from ledger.types import Json, JsonObject

ROOTS_MAX = 256
"""Folders with a kustomization that one build may reach."""
_FOLDER_FIELDS = ("resources", "bases", "components")
_CONFIG_FIELDS = ("generators", "transformers", "validators")
_FILE_FIELDS = ("crds", "configurations", "patchesStrategicMerge")
_PATH_LISTS = ("patches", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
_PLUGIN_PATHS = (
    "path",
    "paths",
    "files",
    "file",
    "env",
    "envs",
    "resources",
    "repo",
    "chartRepo",
    "valuesFile",
)


def find_kustomization(folder: Path) -> Path | None:
    """Give the kustomization file of ``folder``; None if there is none."""
    return next((folder / name for name in KUSTOMIZATION_NAMES if is_file(folder / name)), None)


def reached(folder: Path) -> list[Path]:
    """Walk the kustomization in ``folder`` and all it refers to; gives the kustomization folders, sorted.

    Raises:
        Refused: REMOTE_SOURCE naming file and entry, SOURCE_MISSING, YAML_INVALID, LIMIT_EXCEEDED.
    """
    pending = [folder.resolve()]
    seen: set[Path] = set()
    while pending:
        root = pending.pop()
        if root in seen:
            continue
        seen.add(root)
        if len(seen) > ROOTS_MAX:
            raise Refused(
                Code.LIMIT_EXCEEDED, got=f"{folder}: more than {ROOTS_MAX} kustomizations", file=str(folder)
            )
        pending += _folders_of(root)
    return sorted(seen)


def build(folder: Path, program: Path, scratch: Path) -> tuple[list[Document], tuple[SourceFile, ...]]:
    """Build the kustomization in ``folder``.

    Args:
        folder: holds the kustomization.
        program: the kustomize binary.
        scratch: an empty temporary folder of ours.

    Returns:
        the documents, and the source files the build could see (for the digest).

    Raises:
        Refused: as ``reached``, and RENDER_FAILED.
    """
    roots = reached(folder)
    top = Path(os.path.commonpath(roots))
    files: dict[str, SourceFile] = {}
    for root in roots:
        prefix = root.relative_to(top)
        for file in collect(root):
            path = (prefix / file.path).as_posix()
            files.setdefault(path, SourceFile(path, file.content))
    seen = tuple(sorted(files.values(), key=lambda file: file.path))
    tree, home = scratch / "tree", scratch / "home"
    tree.mkdir()
    home.mkdir()
    copy_to(seen, tree)
    target = tree / folder.resolve().relative_to(top)
    reached(target)  # judges the very bytes that will be built, should the originals have changed meanwhile
    argv = [str(program), "build", str(target), "--load-restrictor", "LoadRestrictionsRootOnly"]
    output = offline.run(argv, cwd=tree, home=home, what=str(folder))
    return read_documents(output, f"{folder.name} (built)"), seen


def _folders_of(root: Path) -> list[Path]:
    file = find_kustomization(root)
    if file is None:
        raise Refused(
            Code.SOURCE_MISSING,
            got=f"{root}: no kustomization.yaml in it",
            expected="a folder with a kustomization",
            todo="name the files of the folder one by one under resources",
            file=str(root),
        )
    documents = read_documents(read_file(file, str(file)), str(file))
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Refused(
            Code.YAML_INVALID,
            got=f"{file}: not one map",
            expected="one kustomization",
            file=str(file),
            line=1,
        )
    value: JsonObject = documents[0].value
    _refuse_remote_files(file, value)
    folders: list[Path] = []
    for field in (*_FOLDER_FIELDS, *_CONFIG_FIELDS):
        for entry in _texts(value.get(field)):
            folders += _local(root, file, field, entry)
    return folders


def _local(root: Path, file: Path, field: str, entry: str) -> list[Path]:
    """Judge one entry that may be a file or a folder; gives the folder if it is one."""
    if "\n" in entry:
        _refuse_in_plugins(file, read_documents(entry.encode(), f"{file} ({field})"), field)
        return []
    if remote.is_remote(entry):
        raise remote.refusal(str(file), entry, field)
    path = root / entry
    if is_folder(path):
        return [path.resolve()]
    if not is_file(path):
        if remote.could_be_remote(entry):
            raise remote.refusal(str(file), entry, field)
        raise missing(path, f"{file}, {field}")
    if field in _CONFIG_FIELDS:
        _refuse_in_plugins(path, read_documents(read_file(path, str(path)), str(path)), field)
    return []


def _refuse_remote_files(file: Path, value: JsonObject) -> None:
    for field, entry in _file_entries(value):
        text = entry.partition("=")[2] if field.endswith(".files") and "=" in entry else entry
        if remote.is_remote(text):
            raise remote.refusal(str(file), entry, field)
    for field in ("helmCharts", "helmChartInflationGenerator"):
        for chart in _maps(value.get(field)):
            repository = chart.get("repo") or chart.get("chartRepo") or chart.get("chartRepoUrl")
            if repository:
                raise remote.refusal(str(file), str(repository), field)


def _file_entries(value: JsonObject) -> Iterator[tuple[str, str]]:
    """Give every (field, entry) of a kustomization that names a file."""
    yield from _generator_entries(value)
    for field in _FILE_FIELDS:
        for entry in _texts(value.get(field)):
            if "\n" not in entry:
                yield field, entry
    for field in _PATH_LISTS:
        for item in _maps(value.get(field)):
            if isinstance(item.get("path"), str):
                yield f"{field}.path", item["path"]
    openapi = value.get("openapi")
    if isinstance(openapi, dict) and isinstance(openapi.get("path"), str):
        yield "openapi.path", openapi["path"]


def _generator_entries(value: JsonObject) -> Iterator[tuple[str, str]]:
    for field in _GENERATORS:
        for item in _maps(value.get(field)):
            for name in ("files", "envs", "env"):
                listed = item.get(name)
                for entry in _texts(listed if isinstance(listed, list) else [listed]):
                    yield f"{field}.{name}", entry


def _refuse_in_plugins(file: Path, documents: list[Document], field: str) -> None:
    """Refuse remote entries in generator, transformer and validator configurations, at any depth."""
    pending: list[Json] = [document.value for document in documents]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            for key, value in node.items():
                for entry in _texts(value if isinstance(value, list) else [value]):
                    if key in _PLUGIN_PATHS and remote.is_remote(entry.rpartition("=")[2]):
                        raise remote.refusal(str(file), entry, f"{field}.{key}")
            pending += node.values()


def _texts(value: Json) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _maps(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
