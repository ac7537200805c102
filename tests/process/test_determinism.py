"""The same seed gives the same bytes, in this process and in others with other surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import trace

ROOT = Path(__file__).resolve().parents[2]
SEED = 11
BLOCKS = 60
SURROUNDINGS = (
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "424242", "LC_ALL": "C.UTF-8", "TZ": "Pacific/Kiritimati"},
    {"PYTHONHASHSEED": "7", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns"},
)


@pytest.fixture(scope="module")
def here() -> str:
    """The trace as this process gives it."""
    return trace(SEED, BLOCKS)


@pytest.mark.requires("abci.determinism")
def test_twice_in_one_process(here: str) -> None:
    assert here == trace(SEED, BLOCKS)
    assert len(set(here.splitlines())) > BLOCKS // 2


@pytest.mark.requires("abci.determinism")
@pytest.mark.parametrize("surroundings", SURROUNDINGS, ids=lambda given: given["TZ"])
def test_in_fresh_processes(here: str, surroundings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", str(SEED), str(BLOCKS)],
        cwd=ROOT, env=os.environ | surroundings, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    assert done.stdout.strip() == here
