"""The published RFC 8785 files: each input gives exactly the published bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import canonical
from tests.vectors.state.shared import SHARED, cases


@pytest.mark.requires("ledger.canonical-vectors")
@pytest.mark.parametrize("path", cases("jcs/input"))
def test_published_canonicalisation(path: Path) -> None:
    folder = SHARED / "vectors" / "jcs"
    expected = (folder / "output" / path.name).read_bytes()
    assert bytes.fromhex((folder / "outhex" / path.with_suffix(".txt").name).read_text()) == expected
    assert canonical.dump(canonical.parse(path.read_bytes())) == expected
    assert canonical.dump(canonical.load(expected)) == expected
