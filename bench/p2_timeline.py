"""Where the time between final and applied goes: the steps that a traced bridge wrote down, put in order.

Owns the replacing of a home's bridge by ``bench.traced_bridge`` and the medians of its steps over many
releases, in milliseconds after the block that made each final. It changes nothing of what the bridge does.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.traced_bridge import FILE_ENV
from conclave import processes
from conclave.home import Home

NAME = "bridge-east"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one release, by the machine's monotonic clock: final, proven by the next block, applied."""

    final_s: float
    proven_s: float
    applied_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """One step, when it began and ended."""

    step: str
    began_s: float
    ended_s: float


PHASES = (
    ("the look begins that finds it", "look", "began"),
    ("header verified", "header walked", "ended"),
    ("header witnessed", "header witnessed", "ended"),
    ("header kept", "header kept", "ended"),
    ("state read, every signature verified", "look", "ended"),
    ("objects and inventories looked at", "observed", "ended"),
    ("planned", "planned", "ended"),
    ("inventory written", "inventory written", "ended"),
)
"""What is told, the step, and which of its ends."""


def traced(home: Home, kubeconfig: str, folder: Path) -> Path:
    """Put a traced bridge in the place of the home's; gives the file of its steps."""
    processes.stop(home.run, NAME)
    file = folder / "spans.jsonl"
    os.environ[FILE_ENV] = str(file)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    argv = [
        sys.executable,
        "-m",
        "bench.traced_bridge",
        "--home",
        str(home.path.absolute()),
        "bridge",
        "east",
    ]
    processes.start(NAME, [*argv, "--kubeconfig", kubeconfig], run=home.run, log=folder / "bridge.log")
    return file


def phases(file: Path, moments: Sequence[Moments]) -> Iterator[str]:
    """Give the table's rows: medians of when each phase was over."""
    spans = [Span(*json.loads(line)) for line in file.read_text().splitlines()]
    each = [offsets for about in moments if (offsets := _offsets(spans, about)) is not None]
    yield f"# ms after final, medians of {len(each)}"
    names = ["the next block, which proves the state", *(name for name, _, _ in PHASES), "applied"]
    for place, name in enumerate(names):
        yield f"{1000 * statistics.median(offsets[place] for offsets in each):7.1f} {name}"


def _offsets(spans: Sequence[Span], about: Moments) -> list[float] | None:
    """Give when each phase of one release was over; None where its steps are not whole."""
    reconciles = [s for s in spans if s.step == "reconcile" and s.began_s <= about.applied_s <= s.ended_s]
    looks = [s for s in spans if s.step == "look" and reconciles and s.ended_s <= reconciles[0].began_s]
    if not reconciles or not looks:
        return None
    look, reconcile = looks[-1], reconciles[0]
    found = [about.proven_s]
    for _, step, end in PHASES:
        # The reporter's thread reads headers too: of several, the one within the look or the attempt counts.
        inside = [
            s
            for s in spans
            if s.step == step and look.began_s <= s.began_s and s.ended_s <= reconcile.ended_s
        ]
        if not inside:
            return None
        found.append(inside[0].began_s if end == "began" else inside[0].ended_s)
    return [moment - about.final_s for moment in (*found, about.applied_s)]
