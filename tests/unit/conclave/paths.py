"""Where tests find the examples and the shared inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"


def shared_input(name: str) -> Path:
    """Give the path of a shared input; skips the test where the folder is missing."""
    shared = Path(os.environ.get("CONCLAVE_SHARED", ROOT.parent / "shared"))
    path = shared / "inputs" / name
    if not path.exists():
        pytest.skip(f"shared inputs are missing here: {path}")
    return path
