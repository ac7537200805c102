"""Going back one height: the application's state and CometBFT's, together.

Owns the order of the two and the check that they agree. Promises that a node is left startable whatever
fails: an application behind CometBFT is given the missing block again, one ahead of it never starts. Touches
neither keys nor the last signature, so that the node cannot sign a height twice.

Source: CometBFT v0.38 cmd/cometbft/commands/rollback.go, state/rollback.go, consensus/replay.go.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from consensus.node.spec import NodePaths
from consensus.node.supervise import refuse_running
from ledger.errors import Code, EnvironmentFault, Refused
from state.batch import Committed
from state.store import Store

_TIMEOUT_S = 120.0
_REPORT = re.compile(r"^Rolled back state to height ([0-9]{1,19}) and hash ([0-9A-F]{64})$", re.MULTILINE)
_SAID_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Where a node stands after going back: its height and the app hash there."""

    height: int
    app_hash: bytes


def roll_back(home: Path, cometbft: Path) -> RolledBack:
    """Take the stopped node in ``home`` back one height.

    The block stays: at the next start it is executed again.

    Raises:
        Refused: ROLLBACK_IMPOSSIBLE.
        EnvironmentFault: STATE_LOCKED (the node runs), STATE_CORRUPT (the two disagree), TOOL_MISSING,
            TIMEOUT, and as ``Store.open``.
    """
    paths = NodePaths(home.absolute())
    refuse_running(paths)
    if not paths.application.is_dir():
        raise EnvironmentFault(
            Code.HOME_INVALID, got=f"no {paths.application}", expected="a node that has run", path=str(home)
        )
    with Store.open(paths.application) as store:
        # The application first: if what follows fails, it is merely one block behind.
        older = store.roll_back()
        height, app_hash = _roll_back_cometbft(cometbft, paths.home)
        while older.height > height:
            older = store.roll_back()
        _check_agreement(older, height, app_hash, paths)
    return RolledBack(older.height, older.app_hash)


def _roll_back_cometbft(cometbft: Path, home: Path) -> tuple[int, bytes]:
    argv = [str(cometbft), "rollback", "--home", str(home)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(Code.TIMEOUT, got=f"no end after {_TIMEOUT_S} s", path=str(home)) from error
    except OSError as error:
        raise EnvironmentFault(Code.TOOL_MISSING, got=error, expected="the cometbft binary") from error
    reported = _REPORT.search(done.stdout)
    if done.returncode != 0 or reported is None:
        raise Refused(
            Code.ROLLBACK_IMPOSSIBLE,
            got=(done.stderr or done.stdout).strip()[-_SAID_CHARACTERS_MAX:],
            expected="CometBFT to go back one height",
            todo="its own words are above; the node can be started as it is",
            status=done.returncode,
        )
    return int(reported[1]), bytes.fromhex(reported[2])


def _check_agreement(older: Committed, height: int, app_hash: bytes, paths: NodePaths) -> None:
    if older.height == height and older.app_hash != app_hash:
        raise EnvironmentFault(
            Code.STATE_CORRUPT,
            got=f"app hash {older.app_hash.hex()}",
            expected=f"{app_hash.hex()}, as the next header says",
            todo="move the app and data folders away and join by state sync",
            height=height,
            path=str(paths.application),
        )
