"""``python -m bench.audit [FOLDER]``: what the audit adds to a call, and how fast a log is verified.

Figures in microseconds, at the 50th and 99th percentile. FOLDER decides which disk is measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from identity.signer import generate_key
from ledger.types import JsonObject
from mcp_server.audit.audited import Audited
from mcp_server.audit.files import Trust, check
from mcp_server.audit.opening import open_log
from mcp_server.audit.writer import Clock, Identity, Settings
from mcp_server.chain import Call, Unguarded

CALLS = 2000
WARM = 50
AGENT = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


def answer(size: int) -> JsonObject:
    """Give an answer of about so many bytes."""
    item = {"name": "web", "release": "guestbook", "revision": 3, "wanted": "a" * 64, "health": "current"}
    return {"items": [item] * max(1, size // 140), "readAt": {"height": 4711, "ageSeconds": 2}}


def measured(audited: Audited, content: JsonObject) -> tuple[list[int], list[int]]:
    """Give the nanoseconds of each call's two moments."""
    before, after = [], []
    for number in range(CALLS + WARM):
        call = Call("tool", "get_releases", {"release": "guestbook", "limit": 10 + number % 90}, AGENT)
        begun = time.perf_counter_ns()
        audited.before(call)
        between = time.perf_counter_ns()
        audited.after(call, content)
        before.append(between - begun)
        after.append(time.perf_counter_ns() - between)
    return before[WARM:], after[WARM:]


def shown(name: str, taken: list[int]) -> None:
    """Print the percentiles of some times."""
    ordered = sorted(taken)
    middle, high = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    print(f"{name:<44} p50 {middle / 1000:8.1f}  p99 {high / 1000:8.1f}")


def _not_synced(fd: object) -> None:
    del fd


def main(folder: Path) -> None:
    """Measure in ``folder``."""
    signer = generate_key(folder / "node.pem")
    identity = Identity(signer, signer.did, "bench", "1")
    clock = Clock(time.time_ns, time.monotonic_ns)
    for size in (500, 24_000):
        log = open_log(folder / f"{size}", identity, Settings(), clock)
        before, after = measured(Audited(Unguarded(), log, time.monotonic_ns), answer(size))
        log.close()
        shown(f"before a call (decision, synced), {size} B", before)
        shown(f"after a call (outcome), {size} B", after)
    real, os.fdatasync = os.fdatasync, _not_synced
    log = open_log(folder / "unsynced", identity, Settings(), clock)
    before, after = measured(Audited(Unguarded(), log, time.monotonic_ns), answer(500))
    log.close()
    os.fdatasync = real
    shown("both without the disk's own time, 500 B", [b + a for b, a in zip(before, after, strict=True)])
    begun = time.perf_counter()
    found = check([log.folder], Trust(), lambda _log, _record: None)[0]
    assert found.error is None, found.error
    taken = time.perf_counter() - begun
    print(f"verified {found.walk.counts.records} records in {taken:.2f} s: "
          f"{taken * 1e6 / found.walk.counts.records:.0f} µs each")  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        main(Path(made))
