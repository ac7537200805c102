"""Kills, hand edits and releases at once, a few rounds: all agrees afterwards, and the audit log holds the plans."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.campaign.bridge import campaign

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ROUNDS, SEED = 5, 7


@pytest.mark.requires("campaign.bridge", "campaign.bridge-audit")
def test_after_chaos_the_cluster_is_the_ledger_and_the_audit_log_is_the_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    # A short path: it holds unix sockets.
    with tempfile.TemporaryDirectory(prefix="cb-") as folder, campaign(Path(folder), SEED, print) as played:
        tally = played.run(ROUNDS)
        assert tally.rounds == ROUNDS
        assert tally.refused == []
        hurt = {"kill cluster", "kill bridge", "kill validator"}
        assert hurt <= tally.done.keys(), str(tally)
        assert tally.done["edit"] >= ROUNDS, str(tally)
        verdict = tally.verdict
        assert verdict.unplanned == []
        assert verdict.unsent == []
        assert verdict.holds, str(tally)
        assert verdict.own.keys() == {"lease", "inventory"}, str(tally)
