"""Validators who sign two chains: every cell of the table in docs/spec/verification.md, as written there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from consensus.incident import FILE_NAME, IncidentFile
from ledger.errors import Code, ConclaveError
from tests.support.attacks import (
    FORGERIES,
    SHARES,
    TARGET,
    Peer,
    Ticks,
    decided,
    liars,
    misled_by,
    panel_of,
    reader_over,
)

PAGE = Path(__file__).resolve().parents[2] / "docs/spec/verification.md"
SETTINGS = ("alone", "lying witness", "one of each", "honest witnesses")
ROW = re.compile(
    r"^\| ([a-z, ]+) \| ((?:under|exactly|over) \d/3) " + r"\| ([A-Za-z_]+) " * 4 + r"\| (\S+) \|$",
    re.MULTILINE,
)
GROWS_AFTER_SECONDS = 1.0


def table() -> list[tuple[str, str, str, str, str]]:
    """Give every cell: attack, share, setting, what must happen, who is named."""
    return [
        (attack, share, setting, outcome, named)
        for attack, share, *outcomes, named in ROW.findall(PAGE.read_text(encoding="utf-8"))
        for setting, outcome in zip(SETTINGS, outcomes, strict=True)
    ]


@pytest.mark.requires("attack.table")
def test_the_table_is_whole() -> None:
    cells = [(attack, share, setting) for attack, share, setting, _, _ in table()]
    assert sorted(cells) == sorted((a, s, w) for a in FORGERIES for s in SHARES for w in SETTINGS)


def peers_of(attack: str, share: str, setting: str, ticks: Ticks) -> list[Peer]:
    """Give the attacker's node and who is beside it; in a second the true chain has one block more."""
    ledger = decided(misled_by(attack), TARGET + 1)
    forged = FORGERIES[attack](ledger.chain, liars(share))
    liar, lying = (Peer(f"http://liar-{n}:1", ledger, forged) for n in (1, 2))
    honest, other = (Peer(f"http://honest-{n}:1", ledger) for n in (1, 2))
    beside = {
        "alone": [],
        "lying witness": [lying],
        "one of each": [lying, honest],
        "honest witnesses": [honest, other],
    }
    peers = [liar, *beside[setting]]
    for peer in peers:
        peer.newest_height = lambda: TARGET + (ticks.now >= GROWS_AFTER_SECONDS)
    return peers


def named_in(evidence: Any) -> set[str]:
    """Give the addresses that evidence names."""
    return {v["address"] for v in evidence["value"]["ByzantineValidators"] or ()}


@pytest.mark.requires("attack.table")
@pytest.mark.parametrize(("attack", "share", "setting", "outcome", "named"), table())
def test_a_cell(attack: str, share: str, setting: str, outcome: str, named: str, tmp_path: Path) -> None:
    ticks = Ticks()
    peers = peers_of(attack, share, setting, ticks)
    liar, ledger = peers[0], peers[0].ledger
    (height,) = liar.forged
    reader = reader_over(panel_of(peers, tmp_path, ticks=ticks), ledger, tmp_path)
    try:
        found = reader.header(height)
    except ConclaveError as error:
        code = error.code
        assert (tmp_path / FILE_NAME).exists() == (code is Code.HEADERS_DIVERGED)
        assert code.name == {"halted": "HEADERS_DIVERGED"}.get(outcome, outcome)
        if outcome != "halted":
            assert not any(peer.evidence for peer in peers)
            return
    else:
        true = outcome == "replaced"
        assert outcome in ("believed", "replaced")
        assert (
            found.hash == ledger.chain.trusted(height).hash
            if true
            else found.header == liar.forged[height].header
        )
        return

    kept = IncidentFile(tmp_path / FILE_NAME).read()
    against_liar = next(item["evidence"] for item in kept["accused"] if item["against"] == liar.endpoint)
    guilty = {s.address.hex().upper() for s in liars(share)} if named == "signers" else set()
    assert named_in(against_liar) == guilty
    shown = against_liar["value"]["ConflictingBlock"]["signed_header"]["commit"]["block_id"]["hash"]
    assert shown == liar.forged[height].signed_header.commit.block_id.hash.hex().upper()
    assert [against_liar in peer.evidence for peer in peers] == [False, *[bool(guilty)] * 2]
    with pytest.raises(ConclaveError) as again:
        reader_over(panel_of(peers[1:], tmp_path), ledger, tmp_path).header(3)
    assert again.value.code is Code.HEADERS_DIVERGED
