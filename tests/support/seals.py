"""Who in the product can reach a capability that one module holds.

Reads every module of every layer that pyproject.toml names, as code: an import of the name, an attribute or a
text of that name, and an import of everything.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def reachers(module: str, names: set[str]) -> set[str]:
    """Give the files of the product, from its root, that reach for one of ``names`` of ``module``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["root_packages"]
    return {
        path.relative_to(ROOT).as_posix()
        for layer in layers
        for path in (ROOT / layer).rglob("*.py")
        if reaches(path.read_text("utf-8"), module, names)
    }


def reaches(code: str, module: str, names: set[str]) -> bool:
    """Tell whether ``code`` reaches for one of ``names`` of ``module``."""
    return any(_reaches(node, module, names) for node in ast.walk(ast.parse(code)))


def _reaches(node: ast.AST, module: str, names: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        imported = {alias.name for alias in node.names}
        # A relative import does not write the whole name of the module.
        is_it = node.module == module or (node.level > 0 and module.endswith(f".{node.module}"))
        return bool(imported & names) or (is_it and "*" in imported)
    if isinstance(node, ast.Attribute):
        return node.attr in names
    return isinstance(node, ast.Constant) and node.value in names
