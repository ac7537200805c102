"""Log files of child processes, kept within a size.

Owns copy-and-truncate rotation, which works while the child keeps its descriptor (opened for append), and
the tail shown when a process dies. Promises at most twice the bound on disk per log; never reads it whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TAIL_BYTES_MAX = 4096
TAIL_LINES_MAX = 12


def bound_log(log: Path, bytes_max: int) -> None:
    """If ``log`` has grown over ``bytes_max``, keep it as ``<log>.1`` and start it empty.

    Lines written between the copy and the truncation are lost: a log is no record of the ledger.
    """
    try:
        if log.stat().st_size <= bytes_max:
            return
        shutil.copyfile(log, log.with_name(log.name + ".1"))
    except FileNotFoundError:
        return
    except OSError:
        # A full disk must not stop us from giving the space back.
        log.with_name(log.name + ".1").unlink(missing_ok=True)
    os.truncate(log, 0)


def tail(log: Path, bytes_max: int = TAIL_BYTES_MAX) -> list[str]:
    """Give the last lines of ``log``, at most ``TAIL_LINES_MAX`` of ``bytes_max`` bytes together."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - bytes_max))
            content = file.read(bytes_max)
    except OSError:
        return []
    return content.decode("utf-8", "replace").splitlines()[-TAIL_LINES_MAX:]
