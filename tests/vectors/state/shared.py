"""Where the published vectors lie: ``CONCLAVE_SHARED``, else ``../shared`` beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_CHECKOUT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("CONCLAVE_SHARED", _CHECKOUT.parent / "shared"))


def cases(folder: str) -> list[Any]:
    """Give the JSON files under ``vectors/<folder>`` as parameters, or one that skips and says why."""
    root = SHARED / "vectors" / folder
    paths = sorted(root.rglob("*.json"))
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no vectors at {root}"))]
    return [pytest.param(path, id=str(path.relative_to(root))) for path in paths]


def units(name: str) -> dict[str, Any]:
    """Give the cases of ``vectors/ics23/<name>.json`` by name, or skip."""
    path = SHARED / "vectors" / "ics23" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no vectors at {path}")
    content = json.loads(path.read_text())
    if isinstance(content, list):
        return {str(number): case for number, case in enumerate(content)}
    named: dict[str, Any] = content
    return named
