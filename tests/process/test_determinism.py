"""The same blocks give the same bytes, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
SEED = 11


@pytest.mark.requires("abci.determinism")
def test_twice_in_one_process() -> None:
    first = main(SEED)
    assert first == main(SEED)
    assert len(set(first.splitlines())) > 10


@pytest.mark.requires("abci.determinism")
def test_in_fresh_processes_with_other_hash_seeds() -> None:
    here = main(SEED)
    for hash_seed in ("0", "424242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", str(SEED)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == here
