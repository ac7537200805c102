"""What ``conclave up`` decides before anything listens, and of what a bridge says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conclave import free_ports
from conclave.first_look import PAUSE_SECONDS, TROUBLE_SECONDS, FirstLook
from k8s_bridge.loop import OUTAGE
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

AWAY = {"code": int(Code.KUBERNETES_UNREACHABLE), "name": "KUBERNETES_UNREACHABLE", "facts": {}}


@pytest.mark.requires("up.ports-apart")
def test_a_devkube_gets_ports_that_are_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {*free_ports.NODES, *list(free_ports.DEVKUBES)[:6]}
    monkeypatch.setattr(free_ports, "is_free", lambda port: port in free)
    first = free_ports.DEVKUBES.start
    folder = tmp_path / "clusters" / "east"
    free_ports.keep_for_devkube(folder, {first, first + 3})
    kept = json.loads((folder / "ports.json").read_text())
    assert kept.keys() == {"api", "etcd", "controllerManager", "scheduler"}
    assert set(kept.values()) == {first + 1, first + 2, first + 4, first + 5}
    # It is the same cluster at the same address ever after.
    free_ports.keep_for_devkube(folder, set(kept.values()))
    assert json.loads((folder / "ports.json").read_text()) == kept


@pytest.mark.requires("up.ports-apart")
def test_a_machine_without_free_ports_leaves_the_choice_to_the_devkube(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_ports, "is_free", lambda port: port in free_ports.NODES)
    free_ports.keep_for_devkube(tmp_path / "east", ())
    assert json.loads((tmp_path / "east" / "ports.json").read_text()) == {}
    assert free_ports.in_a_row(8) == free_ports.NODES.start
    assert not set(free_ports.NODES) & set(free_ports.DEVKUBES)


def _looks(path: Path, patience_s: float, accounts: list[tuple[float, JsonObject]]) -> list[bool]:
    """Look at one account after the other, each at its time."""
    times = iter([at for at, _ in accounts])
    look, seen = FirstLook(path, patience_s, lambda: next(times)), []
    for _, account in accounts:
        path.write_text(json.dumps(account))
        seen.append(look())
    return seen


@pytest.mark.requires("up.outage-over")
def test_a_bridge_that_ran_before_is_given_the_pause_it_makes(tmp_path: Path) -> None:
    file, well = tmp_path / "bridge-status.json", {"height": 9, "kubernetes": {"code": 0}}
    away: JsonObject = {"height": 9, "kubernetes": AWAY}
    assert OUTAGE.ceiling_s <= PAUSE_SECONDS
    patience_s = TROUBLE_SECONDS + PAUSE_SECONDS
    back = OUTAGE.ceiling_s + TROUBLE_SECONDS / 2
    assert _looks(file, patience_s, [(0.0, away), (back, away), (back, well)]) == [False, False, True]
    # Trouble that passed and came again begins anew.
    starting: JsonObject = {"height": 0}
    assert _looks(file, 3.0, [(0.0, away), (2.0, starting), (4.0, away), (6.0, away)]) == [False] * 4
    with pytest.raises(EnvironmentFault) as told:
        _looks(file, patience_s, [(0.0, away), (patience_s + 0.1, away)])
    assert told.value.code is Code.KUBERNETES_UNREACHABLE


@pytest.mark.requires("up.any-account")
@pytest.mark.parametrize(
    "account",
    [
        {"height": "9", "kubernetes": {"code": 0}},
        {"height": None, "kubernetes": {"code": 0}},
        {"height": 9, "hold": ["x"]},
        {"height": 9, "kubernetes": "well"},
        {"height": 9, "hold": {"code": ["x"]}},
    ],
)
def test_an_account_of_another_form_is_no_look_and_no_fault(tmp_path: Path, account: JsonObject) -> None:
    file = tmp_path / "bridge-status.json"
    assert _looks(file, 3.0, [(0.0, account), (9.0, account)]) == [False, False]
