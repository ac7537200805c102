"""Going back: what CometBFT may answer, and what is left of the application's state then."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.node.rollback import roll_back
from ledger.errors import Code, ConclaveError
from state.store import Store
from tests.unit.state.chain import grow, tree_of

HEIGHT = 9


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "app") as store:
        grow(store, HEIGHT)
    return tmp_path


def _cometbft(home: Path, height: int, app_hash: bytes, status: int = 0) -> Path:
    """Give a program that answers as ``cometbft rollback`` does."""
    program = home / "cometbft"
    said = f"Rolled back state to height {height} and hash {app_hash.hex().upper()}"
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "rollback --home" ] || exit 9\necho "{said}"\nexit {status}\n'
    )
    program.chmod(0o700)
    return program


def _height(home: Path) -> int:
    with Store.open(home / "app") as store:
        assert store.committed.app_hash == tree_of(store.committed.height).root
        return store.committed.height


@pytest.mark.requires("node.rollback")
@pytest.mark.parametrize("height", [HEIGHT - 1, HEIGHT - 3])
def test_the_application_follows_cometbft(home: Path, height: int) -> None:
    done = roll_back(home, _cometbft(home, height, tree_of(height).root))
    assert (done.height, done.app_hash) == (height, tree_of(height).root)
    assert _height(home) == height


@pytest.mark.requires("node.rollback")
def test_an_application_that_was_behind_already_stays_behind(home: Path) -> None:
    done = roll_back(home, _cometbft(home, HEIGHT, bytes(32)))
    assert done.height == HEIGHT - 1
    assert _height(home) == HEIGHT - 1


@pytest.mark.requires("node.rollback")
def test_a_disagreement_and_a_failure_are_told_and_leave_a_state_that_can_start(home: Path) -> None:
    for program, code in (
        (_cometbft(home, HEIGHT - 1, bytes(32)), Code.STATE_CORRUPT),
        (home / "none", Code.TOOL_MISSING),
    ):
        with pytest.raises(ConclaveError) as failure:
            roll_back(home, program)
        assert failure.value.code is code
    with pytest.raises(ConclaveError) as failure:
        roll_back(home, _cometbft(home, 1, bytes(32), status=1))
    assert failure.value.code is Code.ROLLBACK_IMPOSSIBLE
    assert _height(home) == HEIGHT - 3
