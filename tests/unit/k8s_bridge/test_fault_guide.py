"""The guide on faults names tests that exist and codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.errors import Code

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/guides/bridge-faults.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", GUIDE)))
FILES = {
    path.name: [p.read_text() for p in (ROOT / "tests").rglob(path.name)]
    for path in (ROOT / "tests").rglob("test_*.py")
}


@pytest.mark.requires("bridge.faults")
@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_of_the_table_exists(file: str, test: str) -> None:
    assert any(f"def {test}" in text for text in FILES.get(file, []))


@pytest.mark.requires("bridge.faults")
def test_every_fault_of_the_table_has_a_test_and_its_codes_exist() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    assert len(rows) > 15
    assert all("`test_" in row.rsplit("|", 2)[1] for row in rows)
    codes = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+|STALE)`", GUIDE))
    assert codes <= set(Code.__members__)
