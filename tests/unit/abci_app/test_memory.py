"""The memory of opened transactions is bounded whatever strangers send."""

from __future__ import annotations

import dataclasses

import pytest

from abci_app.check import Opened, open_envelope
from abci_app.memory import OPENED_WEIGHT_MAX, OpenedMemory
from ledger import actions, bodies, changes
from tests.support.memory_state import CONSTANTS
from tests.support.subjects import ALICE, STRANGER, release, report_of, seal


def opened(body: bytes) -> tuple[Opened, int]:
    tx = seal(STRANGER, body, 1)
    return open_envelope(tx, CONSTANTS), len(tx)


@pytest.mark.requires("abci.opened-bounded")
def test_the_oldest_are_forgotten_first() -> None:
    memory = OpenedMemory()
    entry, size = opened(bodies.release_body(release()))
    for number in range(OPENED_WEIGHT_MAX // 1024):
        memory.put(number.to_bytes(4, "big"), entry, size)
    assert memory.weight <= OPENED_WEIGHT_MAX
    assert memory.get(bytes(4)) is None
    assert memory.get((OPENED_WEIGHT_MAX // 1024 - 1).to_bytes(4, "big")) is entry
    memory.clear()
    assert (len(memory), memory.weight) == (0, 0)


@pytest.mark.requires("abci.opened-bounded")
def test_large_reports_weigh_what_they_take() -> None:
    many = dataclasses.replace(report_of(), objects=report_of().objects * 2000)
    entry, size = opened(bodies.report_body(many))
    memory = OpenedMemory()
    for number in range(100):
        memory.put(number.to_bytes(4, "big"), entry, size)
    assert 0 < len(memory) <= OPENED_WEIGHT_MAX // (4 * size)
    memory.put(b"alone too heavy", entry, OPENED_WEIGHT_MAX)
    assert memory.get(b"alone too heavy") is None


@pytest.mark.requires("abci.opened-bounded")
def test_bodies_are_dropped() -> None:
    entry, _ = opened(bodies.release_body(release()))
    assert entry.envelope.body == b""
    assert isinstance(entry.action, actions.Proposal)
    assert isinstance(entry.action.change, changes.Release)
    assert entry.action.change.manifests == []


@pytest.mark.requires("abci.opened-bounded")
def test_the_same_key_counts_once() -> None:
    memory = OpenedMemory()
    entry = open_envelope(seal(ALICE, bodies.rollback_body("web", 1), 1), CONSTANTS)
    for _ in range(3):
        memory.put(b"k", entry, 300)
    assert (len(memory), memory.weight) == (1, 1024)
