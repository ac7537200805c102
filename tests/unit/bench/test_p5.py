"""P5 measures real work: every quantity comes from a state that opens again with what was put."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import p5
from state.store import Store

KEYS = 1_000


@pytest.mark.requires("bench.p5-honest")
def test_the_work_is_durable_and_every_quantity_is_measured(tmp_path: Path) -> None:
    first = p5.work(tmp_path, KEYS)
    second = p5.restart(tmp_path)
    third = p5.restore(tmp_path, bytes.fromhex(first["root"]))
    assert (len(first["commit"]), len(first["proof"])) == (p5.COMMITS, p5.PROOFS)
    assert all(seconds > 0 for seconds in (*first["commit"], *first["proof"], *second["restart"]))
    assert first["snapshot"] > 0
    assert third["restore"][0] > 0
    for name in ("state", "restored"):
        check_state(tmp_path / name)


def check_state(folder: Path) -> None:
    with Store.open(folder) as store:
        assert store.committed.height == 1 + p5.COMMITS
        assert len(store.committed.tree) == KEYS + p5.COMMITS * p5.TIMED_PUTS // 2
        last = p5.COMMITS - 1
        for index in (p5.TIMED_PUTS - 1, p5.TIMED_PUTS - 2):
            number = p5.number_of(index, last, KEYS)
            assert store.get(p5.key(number)) == p5.value(number, last + 1)


@pytest.mark.requires("bench.p5-honest")
def test_the_lines_divide_ours_by_the_peers() -> None:
    ours = dict.fromkeys(p5.QUANTITIES, 2.0)
    found = p5.lines("1k", ours, dict.fromkeys(p5.QUANTITIES, 4.0))
    assert found[0] == "P5 ratio=0.50 ours=2000 peer=4000 unit=ms quantity=commit keys=1k"
    assert len(found) == len(p5.QUANTITIES)
