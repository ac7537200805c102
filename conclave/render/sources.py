"""The operator's files: found, bounded, copied aside and digested.

Owns the walk over a source tree. Promises: what is digested is what is rendered (a private copy), nothing
outside the tree is read through a symbolic link, counts and sizes are bounded before reading. Never
writes to the source.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import MIB

SOURCE_FILES_MAX = 4096
SOURCE_BYTES_MAX = 64 * MIB
SOURCE_DEPTH_MAX = 32
KUSTOMIZATION_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CHART_NAME = "Chart.yaml"
RELEASE_NAMES = ("release.yaml", "release.yml")
SKIPPED_FOLDERS = frozenset((".git", ".hg", ".svn"))
YAML_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path relative to the source's root (with ``/``) and its bytes."""

    path: str
    content: bytes


def collect(root: Path, skip: frozenset[str] = frozenset()) -> tuple[SourceFile, ...]:
    """Read all files under ``root`` (or the one file ``root``), sorted by relative path.

    Version control folders are left out, as are the relative paths in ``skip``.

    Raises:
        Refused: SOURCE_MISSING (nothing there, or a link that leaves the tree), LIMIT_EXCEEDED.
        EnvironmentFault: SOURCE_MISSING when a file cannot be read.
    """
    if root.is_file():
        return (SourceFile(root.name, _read(root, root.name)),)
    if not root.is_dir():
        raise missing(root)
    real_root = root.resolve()
    files: list[SourceFile] = []
    size = 0
    for path in _walk(root, real_root, 0):
        relative = path.relative_to(root).as_posix()
        if relative in skip:
            continue
        content = _read(path, relative)
        size += len(content)
        if len(files) >= SOURCE_FILES_MAX or size > SOURCE_BYTES_MAX:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=f"{root}: more than {SOURCE_FILES_MAX} files or {SOURCE_BYTES_MAX} bytes",
                expected="a folder that holds one release",
                todo="name the release's own folder",
                file=str(root),
            )
        files.append(SourceFile(relative, content))
    return tuple(sorted(files, key=lambda file: file.path))


def digest(files: tuple[SourceFile, ...]) -> str:
    """Give the provenance digest (hex): sha256 over lines ``sha256(content)  path``, sorted by path."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda item: item.path):
        total.update(f"{hashlib.sha256(file.content).hexdigest()}  {file.path}\n".encode())
    return total.hexdigest()


def copy_to(files: tuple[SourceFile, ...], target: Path) -> None:
    """Write the collected files below ``target``, an empty folder of ours."""
    for file in files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


def missing(path: Path, entry: str = "") -> Refused:
    """Give the refusal for a path that is not there; ``entry`` says which line asked for it."""
    return Refused(
        Code.SOURCE_MISSING,
        got=f"{path}: no such file or folder" + (f" (named by {entry})" if entry else ""),
        expected="a YAML file, or a folder of YAML files, a kustomization or a Helm chart",
        todo="check the path",
        file=str(path),
    )


def _walk(folder: Path, real_root: Path, depth: int) -> list[Path]:
    if depth > SOURCE_DEPTH_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{folder}: folders nested deeper than {SOURCE_DEPTH_MAX}",
            file=str(folder),
        )
    found: list[Path] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in entries:
        path = folder / entry.name
        if entry.name in SKIPPED_FOLDERS:
            continue
        if entry.is_symlink() and not path.resolve().is_relative_to(real_root):
            raise Refused(
                Code.SOURCE_MISSING,
                got=f"{path}: a symbolic link that leaves the source folder",
                expected="files inside the source folder",
                todo="copy the file into the folder",
                file=str(path),
            )
        if entry.is_dir():
            found += _walk(path, real_root, depth + 1)
        elif entry.is_file():
            found.append(path)
        if len(found) > SOURCE_FILES_MAX:
            break
    return found


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > SOURCE_BYTES_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=f"{shown}: over {SOURCE_BYTES_MAX} bytes", file=shown)
    return content


def _unreadable(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        Code.SOURCE_MISSING,
        got=f"{path}: {error.strerror}",
        expected="a readable file",
        todo="check the permissions",
        file=str(path),
    )
