"""P2: from final to applied, and from drift to fixed, beside Flux on the same API server.

Runs real validators, a real bridge and a real API server (``conclave init`` and ``up`` in a folder of its
own) and prints two lines, ``P2 ratio=… ours=… peer=… unit=ms case=… p99=… peer_p99=… …`` (medians):

- ``applied-10``: from the moment a block makes a release of ten ConfigMaps final until the API server has the
  last of them. Peer: Flux's kustomize-controller, from the moment the API server has the status that names a
  new artifact of ten ConfigMaps. The floor: the same objects by server-side apply over one kept connection,
  nothing verified.
- ``drift``: from a write by hand of one field until it is undone, both as a watch tells them. Peer: Flux at
  its own interval (10 s here: no drift waits longer); ``peer_asked``: somebody asks it right after the write.

    python -m bench.p2 [--releases 50] [--objects 10] [--validators 4] [--no-flux] [--timeline]

``--timeline`` runs a bridge that writes down its steps (``bench.traced_bridge``) and prints where the time
goes. Everything shares this machine's cores; the number of validators is part of the figure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import flux
from bench.p2_stage import NAMESPACE, Bench, Sight, Sights, approval, config_map, rss_mb, until
from bench.p2_timeline import Moments, phases, traced
from conclave.home import load
from ledger.limits import NONCE_WINDOW_SIZE

BATCH = NONCE_WINDOW_SIZE // 2
"""Releases proposed together: within the nonce window, and below what one may have open."""
PAUSE_S = 0.5
"""Between two releases of either side: a report of the one before is told meanwhile."""
EDIT_PAUSE_S = 0.25
EDITS_OF_FLUX = 10
INTERVAL_S = 10


@dataclass(slots=True)
class Figures:
    """Everything that was measured, in seconds."""

    moments: list[Moments] = field(default_factory=list)
    drift: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    round_trip: list[float] = field(default_factory=list)
    flux: list[float] = field(default_factory=list)
    flux_drift: list[float] = field(default_factory=list)
    flux_asked: list[float] = field(default_factory=list)


def applied(bench: Bench, sights: Sights, releases: int, objects: int) -> list[Moments]:
    """Make ``releases`` releases final one by one; give when each was final, proven and applied."""
    found = []
    for number in range(releases):
        if number % BATCH == 0:
            records = bench.open(number, min(number + BATCH, releases), objects)
            time.sleep(1.0)
        time.sleep(PAUSE_S)
        tx = bench.send(bench.envelope("carol", approval(records[number])))
        last = _all_seen(sights, [f"r{number}-{index}" for index in range(objects)])
        height = bench.height_of(tx)
        found.append(Moments(sights.blocks[height], sights.blocks[height + 1], last))
    return found


def drift(bench: Bench, sights: Sights, names: list[str]) -> list[float]:
    """Edit each object by hand; give the seconds until each was as before."""
    seconds = []
    for name in names:
        time.sleep(EDIT_PAUSE_S)
        seconds.append(_undone(bench, sights, name, lambda: None))
    return seconds


def floor(bench: Bench, releases: int, objects: int, into: Figures) -> None:
    """Send the same objects with nothing but server-side apply, then change each once."""
    for number in range(releases):
        manifests = [config_map(f"floor-r{number}-{index}") for index in range(objects)]
        began = time.monotonic()
        for manifest in manifests:
            bench.kubernetes.apply(manifest)
        into.floor.append(time.monotonic() - began)
        began = time.monotonic()
        bench.kubernetes.apply({**manifests[0], "data": {"text": "another", "mode": "strict"}})
        into.round_trip.append(time.monotonic() - began)


def beside(peer: flux.Flux, bench: Bench, sights: Sights, wish: argparse.Namespace, into: Figures) -> None:
    """Have Flux apply as many artifacts, then undo writes at its interval and when it is asked."""
    for number in range(wish.releases):
        names = [f"flux-r{number}-{index}" for index in range(wish.objects)]
        began = peer.publish(f"r{number}", [config_map(name) for name in names])
        into.flux.append(_all_seen(sights, names) - began)
        time.sleep(PAUSE_S)
    for name in names:
        into.flux_asked.append(_undone(bench, sights, name, peer.ask))
    peer.every(f"{INTERVAL_S}s")
    time.sleep(1.0)
    for turn in range(EDITS_OF_FLUX):
        # Writes fall anywhere between two rounds.
        time.sleep(INTERVAL_S * ((turn * 0.618) % 1))
        into.flux_drift.append(_undone(bench, sights, names[turn % len(names)], lambda: None))


def _all_seen(sights: Sights, names: list[str]) -> float:
    until(lambda: all(sights.objects.get(name) for name in names), names[0])
    return max(sights.objects[name][0].at_s for name in names)


def _undone(bench: Bench, sights: Sights, name: str, then: Callable[[], None]) -> float:
    """Edit an object by hand and do ``then``; give the seconds until a watch told that it is as before."""
    before, version = bench.text(name), bench.edit(name)
    then()

    def again() -> Sight | None:
        seen = sights.after(name, version)
        return seen[-1] if seen and bench.text(name) == before else None

    after = until(again, f"{name} as before")
    return after.at_s - next(s.at_s for s in sights.objects[name] if s.version == version)


def main() -> None:
    """Run the measurement and print its lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--no-flux", action="store_true")
    parser.add_argument("--timeline", action="store_true")
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2-") as folder:
        controller = None if wish.no_flux else flux.build(Path(folder))
        home = Path(folder) / "home"
        _conclave(home, "init", "--validators", str(wish.validators))
        try:
            kubeconfig = _kubeconfig(_conclave(home, "up"))
            spans = traced(load(home), kubeconfig, Path(folder)) if wish.timeline else None
            bench = Bench(load(home), kubeconfig)
            with contextlib.closing(bench.connection):
                found = _measured(bench, controller, kubeconfig, wish)
            _tell(wish, found, rss_mb(home))
            for line in phases(spans, found.moments) if spans is not None else []:
                sys.stdout.write(line + "\n")
        finally:
            _conclave(home, "down")


def _measured(bench: Bench, controller: Path | None, kubeconfig: str, wish: argparse.Namespace) -> Figures:
    bench.kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    found, sights = Figures(), Sights(bench)
    found.moments = applied(bench, sights, wish.releases, wish.objects)
    found.drift = drift(bench, sights, [f"r{number}-{i}" for i in (0, 1) for number in range(wish.releases)])
    floor(bench, wish.releases, wish.objects, found)
    if controller is not None:
        with flux.running(controller, Path(kubeconfig), bench.kubernetes, bench.connection) as peer:
            beside(peer, bench, sights, wish, found)
    sights.stop()
    return found


def _tell(wish: argparse.Namespace, found: Figures, rss: float) -> None:
    whole = [moments.applied_s - moments.final_s for moments in found.moments]
    proven = [moments.proven_s - moments.final_s for moments in found.moments]
    _line(
        f"applied-{wish.objects}",
        whole,
        found.flux,
        floor=_ms(_median(found.floor)),
        floor_p99=_ms(_p99(found.floor)),
        proof_block=_ms(_median(proven)),
        releases=wish.releases,
        validators=wish.validators,
        bridge_rss_mb=round(rss),
    )
    _line(
        "drift",
        found.drift,
        found.flux_drift,
        peer_interval_s=INTERVAL_S,
        peer_asked=_ms(_median(found.flux_asked)),
        round_trip=_ms(_median(found.round_trip)),
        edits=len(found.drift),
    )


def _line(case: str, ours: list[float], peer: list[float], **more: object) -> None:
    ratio = f"{_median(ours) / _median(peer):.2f}" if peer else "-"
    words = {
        "ratio": ratio,
        "ours": _ms(_median(ours)),
        "peer": _ms(_median(peer)),
        "unit": "ms",
        "case": case,
        "p99": _ms(_p99(ours)),
        "peer_p99": _ms(_p99(peer)),
        **more,
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    sys.stdout.write("P2 " + " ".join(f"{name}={value}" for name, value in words.items()) + "\n")


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds) if seconds else 0.0


def _p99(seconds: list[float]) -> float:
    ordered = sorted(seconds) or [0.0]
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _conclave(home: Path, *words: str) -> str:
    command = [sys.executable, "-m", "conclave", "--home", str(home), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _kubeconfig(said: str) -> str:
    named = [line.partition("KUBECONFIG=")[2] for line in said.splitlines() if "export KUBECONFIG=" in line]
    return named[0].strip()


if __name__ == "__main__":
    main()
