"""The story that `make demo` tells, chapter by chapter, on real CometBFT and a real API server.

Every test tells the story up to its own chapter unless an earlier test already did, so each can run alone.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conclave.demo.narrator import Narrator
from conclave.demo.stage import Stage
from conclave.demo.story import CHAPTERS, clean_up, tell

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


class Telling:
    """One telling of the story, carried on as far as a test needs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.told = 0

    def upto(self, chapter: int) -> None:
        """Tell what has not been told up to ``chapter``; a failed check fails the test."""
        while self.told < chapter:
            tell(self.stage, self.told + 1, after=self.told)
            self.told += 1


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    given = os.environ.get("KUBECONFIG")
    stage = Stage(
        home=tmp_path_factory.mktemp("story") / "ledger",
        narrator=Narrator(io.StringIO()),
        namespace="guestbook-story" if given else "guestbook",
        kubeconfig=Path(given) if given else None,
    )
    yield Telling(stage)
    home = str(stage.home)
    clean_up(stage)
    assert [command for command in _commands() if home in command] == [], "the story left something running"


@pytest.mark.requires("story.ledger-is-made")
def test_a_ledger_is_made(telling: Telling) -> None:
    telling.upto(1)


@pytest.mark.requires("story.everything-starts")
def test_everything_starts(telling: Telling) -> None:
    telling.upto(2)


@pytest.mark.requires("story.release-is-proposed")
def test_a_release_is_proposed(telling: Telling) -> None:
    telling.upto(3)


@pytest.mark.requires("story.one-approval-applies-nothing")
def test_one_approval_is_final_but_applies_nothing(telling: Telling) -> None:
    telling.upto(4)


@pytest.mark.requires("story.second-approval-applies")
def test_the_second_approval_makes_the_bridge_verify_and_apply(telling: Telling) -> None:
    telling.upto(5)


@pytest.mark.requires("story.upgrade-patches-prunes-leaves")
def test_an_upgrade_patches_prunes_and_leaves_the_unchanged(telling: Telling) -> None:
    telling.upto(6)


@pytest.mark.requires("story.drift-is-undone")
def test_drift_is_undone_and_foreign_objects_stay(telling: Telling) -> None:
    telling.upto(7)


@pytest.mark.requires("story.refusals-and-lies")
def test_forgeries_and_lies_are_refused_each_with_its_code(telling: Telling) -> None:
    telling.upto(8)


@pytest.mark.requires("story.validator-dies")
def test_a_killed_validator_catches_up_to_the_same_app_hash(telling: Telling) -> None:
    telling.upto(9)


@pytest.mark.requires("story.rollback")
def test_a_rollback_is_a_new_revision_through_the_same_approvals(telling: Telling) -> None:
    telling.upto(10)
    assert len(CHAPTERS) == 10


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
