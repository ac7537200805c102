"""What an operator may set of the application: ``config/app.toml`` in the node's home.

Owns the strict reading of that file. Promises that nothing in it can change what a block does: nodes with
other settings compute the same state. Never writes it (``consensus.node.config`` does).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Code, EnvironmentFault

FILE = Path("config", "app.toml")
SNAPSHOT_EVERY_HEIGHTS = 500
_FILE_BYTES_MAX = 64 * 1024
_SNAPSHOT_EVERY_HEIGHTS_MAX = 10**9


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings.

    Attributes:
        snapshot_every: a snapshot is taken at each height this divides; 0 for on demand only.
    """

    snapshot_every: int = SNAPSHOT_EVERY_HEIGHTS


def load(home: Path) -> Settings:
    """Read the settings of the node in ``home``; the usual ones where there is no file.

    Raises:
        EnvironmentFault: HOME_INVALID.
    """
    path = home / FILE
    try:
        with path.open("rb") as file:
            found = tomllib.loads(file.read(_FILE_BYTES_MAX).decode())
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, RecursionError) as error:
        raise _fault(path, error) from error
    every = found.pop("snapshot_every", SNAPSHOT_EVERY_HEIGHTS)
    if found:
        raise _fault(path, f"the unknown setting {next(iter(found))}")
    if type(every) is not int or not 0 <= every <= _SNAPSHOT_EVERY_HEIGHTS_MAX:
        raise _fault(path, f"snapshot_every = {every}")
    return Settings(every)


def _fault(path: Path, got: object) -> EnvironmentFault:
    return EnvironmentFault(
        Code.HOME_INVALID,
        got=got,
        expected=f"snapshot_every = N, from 0 to {_SNAPSHOT_EVERY_HEIGHTS_MAX}",
        todo="correct the file or remove it",
        file=str(path),
    )
