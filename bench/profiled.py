"""The application process of P1 with a sampler beside it: where its time goes under a live load.

Owns the sampling thread. Promises the very application (``abci_app.__main__``), at a few per cent of its
speed; on SIGTERM it writes what it saw to ``profile.txt`` in the current folder. Bench only: no product
module imports it.

A sample names the ABCI call that runs and the innermost frame of ours. ``idle`` is the selector waiting.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from abci_app.__main__ import main
from abci_app.abci import METHODS

PERIOD_S = 0.002
_OURS = ("abci_app", "state", "ledger")


def _where(frame: FrameType) -> tuple[str, str]:
    """Give (ABCI call, innermost line of ours)."""
    call, inner = "idle" if frame.f_code.co_name == "select" else "server", ""
    walk: FrameType | None = frame
    while walk is not None:
        name, folder = walk.f_code.co_name, Path(walk.f_code.co_filename).parent.name
        if folder in _OURS:
            inner = inner or f"{Path(walk.f_code.co_filename).stem}.{name}"
            if name in METHODS:
                call = name
                break
        walk = walk.f_back
    return call, inner


def _sample(target: int, seen: Counter[tuple[str, str]], done: threading.Event) -> None:
    while not done.wait(PERIOD_S):
        frame = sys._current_frames().get(target)  # noqa: SLF001  the interpreter's own door for samplers
        if frame is not None:
            seen[_where(frame)] += 1


def _write(seen: Counter[tuple[str, str]], seconds: float, path: Path) -> None:
    total = sum(seen.values()) or 1
    used = resource.getrusage(resource.RUSAGE_SELF)
    calls: Counter[str] = Counter()
    for (call, _), count in seen.items():
        calls[call] += count
    lines = [f"wall {seconds:.1f} s, processor {used.ru_utime:.1f} user + {used.ru_stime:.1f} system"]
    lines += [f"{100 * count / total:5.1f} %  {call}" for call, count in calls.most_common()]
    lines += [f"{100 * n / total:5.1f} %  {c:18} {inner}" for (c, inner), n in seen.most_common(40)]
    path.write_text("\n".join(lines) + "\n")


def run() -> int:
    """Serve as ``abci_app`` does, sampled; give its status."""
    seen: Counter[tuple[str, str]] = Counter()
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(threading.get_ident(), seen, done), daemon=True)
    began = time.monotonic()
    sampler.start()
    try:
        return main()
    finally:
        done.set()
        sampler.join()
        _write(seen, time.monotonic() - began, Path("profile.txt"))


if __name__ == "__main__":
    sys.exit(run())
