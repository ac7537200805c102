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
ENTRIES_MAX = 4 * SOURCE_FILES_MAX
"""Files and folders looked at in one source."""
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
    if is_file(root):
        return (SourceFile(root.name, read_file(root, root.name)),)
    if not is_folder(root):
        raise missing(root)
    real_root = root.resolve()
    files: list[SourceFile] = []
    size = 0
    for path in _walk(root, real_root):
        relative = path.relative_to(root).as_posix()
        if relative in skip:
            continue
        content = read_file(path, relative)
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
    what = "neither a file nor a folder" if os.path.lexists(path) else "not there"
    return Refused(
        Code.SOURCE_MISSING,
        got=f"{path}: {what}" + (f" (named by {entry})" if entry else ""),
        expected="a YAML file, or a folder of YAML files, a kustomization or a Helm chart",
        todo="check the path",
        file=str(path),
    )


def _walk(root: Path, real_root: Path) -> list[Path]:
    """List the files below ``root``; links are followed inside it, so every entry counts."""
    found: list[Path] = []
    pending = [(root, 0)]
    entries_seen = 0
    while pending:
        folder, depth = pending.pop()
        for path in _entries(folder):
            entries_seen += 1
            if entries_seen > ENTRIES_MAX or depth > SOURCE_DEPTH_MAX:
                raise Refused(
                    Code.LIMIT_EXCEEDED,
                    got=f"{root}: more than {ENTRIES_MAX} entries, or {SOURCE_DEPTH_MAX} folders deep",
                    expected="a folder that holds one release",
                    todo="name the release's own folder; look for links that lead in circles",
                    file=str(root),
                )
            if path.is_symlink() and not _is_inside(path, real_root):
                raise Refused(
                    Code.SOURCE_MISSING,
                    got=f"{path}: a symbolic link that leaves the source folder",
                    expected="files inside the source folder",
                    todo="copy the file into the folder",
                    file=str(path),
                )
            if is_folder(path):
                pending.append((path, depth + 1))
            elif is_file(path):
                found.append(path)
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / entry.name for entry in os.scandir(folder) if entry.name not in SKIPPED_FOLDERS]
    except OSError as error:
        raise _unreadable(folder, error) from error


def is_file(path: Path) -> bool:
    """Tell whether ``path`` is a regular file; a path no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether ``path`` is a folder; a path no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_file(path: Path, shown: str) -> bytes:
    """Read one file of a source, bounded; ``shown`` is its name for people.

    Raises:
        Refused: LIMIT_EXCEEDED.
        EnvironmentFault: SOURCE_MISSING when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > SOURCE_BYTES_MAX:
        raise Refused(Code.LIMIT_EXCEEDED, got=f"{shown}: over {SOURCE_BYTES_MAX} bytes", file=shown)
    return content


def _is_inside(path: Path, real_root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(real_root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _unreadable(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        Code.SOURCE_MISSING,
        got=f"{path}: {error.strerror}",
        expected="a readable file",
        todo="check the permissions",
        file=str(path),
    )
