"""Reading the newest file of a log before going on with it.

Owns what is taken for a record that a killed server left broken off. Promises that anything else that is
wrong is refused: a log that does not verify is evidence and is not written to.
"""

from __future__ import annotations

from pathlib import Path

from ledger.errors import VerificationFailed
from mcp_server.audit import limits
from mcp_server.audit.files import lines
from mcp_server.audit.walk import Walk


def walked(path: Path) -> tuple[Walk, int]:
    """Walk a file; give the walk and the offset after its last whole record.

    Raises:
        VerificationFailed: where anything but a record broken off at the end is wrong.
    """
    walk, end = Walk(begins_anywhere=True), 0
    try:
        for line in lines(path):
            if not line.is_whole:
                break
            walk.step(line.content)
            end = line.offset + len(line.content) + 1
    except VerificationFailed as failed:
        if not _is_broken_off(path, end):
            raise damaged(failed, path) from None
    return walk, end


def _is_broken_off(path: Path, end: int) -> bool:
    """Tell whether after ``end`` there is at most a part of one record, and room that was never filled."""
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(limits.SEGMENT_BYTES)
        is_all = not file.read(1)
    kept = rest.rstrip(b"\0")
    return is_all and len(kept) < limits.LINE_BYTES_MAX and b"\n" not in kept


def damaged(failed: VerificationFailed, path: Path) -> VerificationFailed:
    """Say of a log that does not verify what its owner does about it."""
    failed.facts |= {"folder": str(path.parent), "file": path.name}
    failed.todo = (
        f"keep {path.parent} as evidence: move it elsewhere, then start again; see: conclave audit verify"
    )
    return failed
