"""A release whose objects the bridge could not record is refused before it is proposed."""

from __future__ import annotations

import pytest

from k8s_bridge import inventory
from k8s_bridge.inventory import INVENTORY_BYTES_MAX, check_room, empty, encode, intend
from k8s_bridge.objects import ObjectKey
from ledger.errors import Code, Refused
from ledger.types import JsonObject
from tests.support.manifests import config_map
from tests.unit.conclave.desk import Desk


def _keys(count: int, length: int, first: str = "a") -> list[ObjectKey]:
    return [
        ObjectKey("v1", "ConfigMap", "n" * 20, f"{first * (length - 5)}{number:05}")
        for number in range(count)
    ]


@pytest.mark.requires("bridge.record-room")
@pytest.mark.parametrize(
    ("count", "length", "fits"), [(4096, 150, True), (4096, 200, False), (8192, 40, True), (8192, 60, False)]
)
def test_what_is_refused_is_what_the_bridge_could_not_record(count: int, length: int, fits: bool) -> None:
    keys = _keys(count, length)
    half = count // 2
    for check in (
        lambda: encode(intend(empty("c", "r"), 1, keys), "conclave-system"),
        lambda: check_room("r", keys),
        lambda: check_room("r", keys[:half], keys[half:]),
        lambda: check_room("r", keys[:half], keys[half // 2 :]),
    ):
        if fits:
            check()
            continue
        with pytest.raises(Refused) as caught:
            check()
        assert caught.value.code is Code.LIMIT_EXCEEDED
        assert str(INVENTORY_BYTES_MAX) in caught.value.expected


@pytest.mark.requires("bridge.record-room")
def test_a_release_too_large_for_the_record_is_not_proposed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(first: str, count: int) -> str:
        objects: list[JsonObject] = [config_map(f"{first}{n}", "default") for n in range(count)]
        return str(desk.write(f"{first}{count}.yaml", *objects))

    options = ("--name", "web", "--cluster", "east", "--as", "alice")
    monkeypatch.setattr(inventory, "INVENTORY_BYTES_MAX", 600)
    assert desk.refused("propose", source("x", 9), *options) == "LIMIT_EXCEEDED"
    assert desk.ledger.height == 2
    desk.approve(desk.run("propose", source("x", 5), *options))
    height = desk.ledger.height
    assert desk.refused("propose", source("y", 5), *options) == "LIMIT_EXCEEDED"
    assert desk.ledger.height == height
    assert desk.run("propose", source("y", 1), *options)["state"] == "open"
