"""kill -9 of application, CometBFT and supervisor with load on: nothing is lost and nothing half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.crash import VICTIMS, Campaign

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

KILLS = 15
SEED = 1


@pytest.mark.requires("campaign.crash")
def test_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    tally = Campaign(tmp_path, SEED).run(KILLS)
    assert tally.lost == [], str(tally)
    assert tally.half == [], str(tally)
    assert tally.order == [], str(tally)
    assert all(tally.kills[victim] for victim in VICTIMS), str(tally)
    assert tally.proven >= KILLS, str(tally)
