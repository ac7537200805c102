"""A reader behind a lying node, an MCP server that is attacked: the fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus import reader as reader_module
from consensus.verified import Verified
from tests.redteam.lying_ledger import LyingLedger
from tests.redteam.mcp_target import Target, attacked
from tests.redteam.victim import NODE, Victim


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the list in which every ``Verified`` value that the reader makes is seen."""
    seen: list[Any] = []

    def make(*parts: Any) -> Verified[Any]:
        seen.append(parts)
        return Verified(*parts)

    monkeypatch.setattr(reader_module, "Verified", make)
    return seen


@pytest.fixture
def liar() -> Iterator[LyingLedger]:
    with LyingLedger(NODE.ledger) as serving:
        yield serving


@pytest.fixture(params=["from genesis", "after height 4"])
def victim(request: pytest.FixtureRequest, liar: LyingLedger, tmp_path: Path) -> Iterator[Victim]:
    found = Victim(liar.url, tmp_path)
    if request.param == "after height 4":
        found.reader.at(3)
    yield found
    found.rpc.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with attacked(tmp_path) as found:
        yield found
