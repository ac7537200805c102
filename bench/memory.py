"""Resident memory of the application and the bridge, idle, after the first release is applied.

Prints one line, ``memory application=… bridge=… unit=MB``: the largest of the four applications, and the
bridge. Limits of first light: 150 and 80.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

from conclave.demo.narrator import Narrator
from conclave.demo.stage import CLUSTER, Stage
from conclave.demo.story import clean_up, tell
from runtime import process

CHAPTER_APPLIED = 5
IDLE_SECONDS = 10.0


def main() -> int:
    """Measure and print; give the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="conclave-bench-"))
    stage = Stage(folder / "ledger", Narrator(io.StringIO()), "guestbook", None)
    try:
        tell(stage, CHAPTER_APPLIED)
        time.sleep(IDLE_SECONDS)
        applications = [_rss_mb(node / "app.pid") for node in (stage.home / "nodes").iterdir()]
        bridge = _rss_mb(stage.home / "run" / f"bridge-{CLUSTER}.json")
    finally:
        clean_up(stage)
        folder.rmdir()
    print(f"memory application={max(applications):.0f} bridge={bridge:.0f} unit=MB")
    return 0


def _rss_mb(pid_file: Path) -> float:
    named = process.read_pid_file(pid_file)
    assert named is not None, pid_file
    status = Path(f"/proc/{named.pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kib) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
