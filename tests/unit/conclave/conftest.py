"""A desk for the tests of verbs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.conclave.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Give a home whose ledger is in memory."""
    return Desk(tmp_path, monkeypatch, capsys)
