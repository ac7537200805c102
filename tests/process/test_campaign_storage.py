"""The storage campaign in small: files damaged and cut, writes that die or find no room, kill -9."""

from __future__ import annotations

import pytest

from state.owner import Owner
from tests.campaign.storage import TASKS, Campaign, Tally, campaign

SEED = 3


def _right(tally: Tally, *found: str) -> None:
    assert tally.wrong == [], str(tally)
    assert all(tally.found[what] for what in found), str(tally)


@pytest.mark.requires("state.bytes-at-any-fault", "state.rollback-after-faults")
def test_damage_is_named_or_harmless() -> None:
    def damage(begun: Campaign) -> None:
        begun.lose()
        for _ in range(100):
            begun.flip()
            begun.cut()
        begun.flip_every("*.log", 61, 0x80)
        begun.flip_every("*.ldb", 397, 0x01)
        for name, step in (("MANIFEST-*", 3), ("CURRENT", 2), ("owner.lock", 5)):
            begun.flip_every(name, step, 0x55)

    _right(
        campaign(SEED, damage), *(f"{case}: {end}" for case in ("flip", "cut") for end in ("exact", "named"))
    )


@pytest.mark.requires("state.death-at-any-byte", "state.rollback-after-faults")
@pytest.mark.parametrize("task", TASKS)
def test_death_at_any_byte_leaves_what_was_acknowledged_or_the_one_after(task: str) -> None:
    def die(begun: Campaign) -> None:
        for _ in range(40):
            begun.interrupt(task, deadly=True)

    _right(campaign(SEED, die), f"{task} killed: exact")


@pytest.mark.requires("state.room-at-any-byte", "state.rollback-after-faults")
@pytest.mark.parametrize("task", TASKS)
def test_no_room_at_any_byte_is_named_and_room_gives_the_state_back(task: str) -> None:
    def fill(begun: Campaign) -> None:
        for _ in range(40):
            begun.interrupt(task, deadly=False)

    _right(campaign(SEED, fill), f"{task} DISK_FULL: exact")


@pytest.mark.requires("state.death-at-any-byte")
def test_kill_at_any_moment_leaves_what_was_acknowledged_or_the_one_after() -> None:
    def kill(begun: Campaign) -> None:
        for _ in range(25):
            begun.kill()

    _right(campaign(SEED, kill), "reopen killed: exact")


@pytest.mark.requires("campaign.judges")
def test_a_store_that_opens_an_older_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Owner, "check", lambda owner, found: None)

    def damage(begun: Campaign) -> None:
        for _ in range(30):
            begun.cut()

    assert "Wrong('height" in " ".join(campaign(SEED, damage).wrong)
