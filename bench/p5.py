"""P5: what the state costs as it grows, beside cosmos ``iavl`` over goleveldb on the same work, in one run.

Owns the sizes, our side's work (the peer's is ``bench/iavl``) and the ratios. For each size, each side in
processes of its own: fill the tree, then versions of 1,000 puts, synced (half new keys), proofs of one
key, memory at the end, a snapshot to disk; a restart; a restore of the snapshot into an empty state. Prints
one line a size and quantity, ``P5 ratio=… ours=… peer=… unit=… quantity=… keys=…``; medians; a ratio above 1
means that ours takes more.

The two restarts differ in kind: ours reads everything and verifies the root, ``iavl`` believes its files and
loads nodes when they are asked for. So do the restores: ours compares the root before anything is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from abci_app.snapshot_folder import SnapshotFolder
from bench.validator import build_go, say
from ledger.errors import Code, ConclaveError, EnvironmentFault
from state.batch import Committed, stage
from state.collector import long_lived
from state.snapshot import chunks_of, pairs_of, verified_tree
from state.store import Store

SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
FILL_PUTS = 10_000
TIMED_PUTS = 1_000
COMMITS = 7
PROOFS = 200
VALUE_BYTES = 100
APP_VERSION = 1
PEER_SOURCES = Path(__file__).parent / "iavl"
PHASE_TIMEOUT_S = 900

QUANTITIES = {
    "commit": (1e3, "ms", "stage and commit of 1,000 puts"),
    "proof": (1e6, "us", "one key, encoded"),
    "restart": (1.0, "s", "until a value can be read"),
    "rss": (1e-6, "MB", "after the work"),
    "rss-restarted": (1e-6, "MB", "after a restart"),
    "fill": (1.0, "s", "all keys, 10,000 a version"),
    "snapshot": (1.0, "s", "of the newest version, to disk, synced"),
    "restore": (1.0, "s", "of that snapshot, into an empty state"),
}
"""Name: (factor, unit, meaning)."""


def key(number: int) -> bytes:
    """Give key ``number``, the same on both sides: hashed, so that puts fall all over the tree."""
    return b"k/" + hashlib.sha256(number.to_bytes(8, "big")).digest()[:16].hex().encode()


def value(number: int, turn: int) -> bytes:
    """Give the 100-byte value of key ``number`` in a turn."""
    digest = hashlib.sha256((number << 8 | turn).to_bytes(8, "big")).digest()
    return bytes(VALUE_BYTES - len(digest)) + digest


def number_of(index: int, turn: int, keys: int) -> int:
    """Spread the even puts of a turn over the ``keys`` there are; the odd ones are new keys."""
    if index % 2:
        return keys + turn * TIMED_PUTS + index
    return (index * 7919 + turn * 104729) % keys


def work(folder: Path, keys: int) -> dict[str, Any]:
    """Fill, commit and prove on our store; give seconds a step and bytes."""
    report: dict[str, Any] = {"commit": [], "proof": []}
    with Store.open(folder / "state") as store:
        began = time.perf_counter()
        for start in range(0, keys, FILL_PUTS):
            end = min(start + FILL_PUTS, keys)
            _commit(store, {key(n): value(n, 0) for n in range(start, end)})
        report["fill"] = time.perf_counter() - began
        for turn in range(COMMITS):
            numbers = [number_of(i, turn, keys) for i in range(TIMED_PUTS)]
            changes: dict[bytes, bytes | None] = {key(n): value(n, turn + 1) for n in numbers}
            began = time.perf_counter()
            _commit(store, changes)
            report["commit"].append(time.perf_counter() - began)
        for i in range(PROOFS):
            began = time.perf_counter()
            _, proof = store.prove_at(key(i * (keys // PROOFS)), store.committed.height)
            proof.SerializeToString()
            report["proof"].append(time.perf_counter() - began)
        report["rss"] = _rss_bytes()
        began = time.perf_counter()
        with closing(store.freeze()) as frozen, closing(frozen.pairs()) as pairs:
            height = frozen.committed.height
            SnapshotFolder(folder / "snapshots").write(height, chunks_of(height, pairs))
        report["snapshot"] = time.perf_counter() - began
        report["root"] = store.committed.app_hash.hex()
    return report


def restore(folder: Path, root: bytes) -> dict[str, Any]:
    """Restore the snapshot that ``work`` left into an empty state; give seconds and bytes."""
    began = time.perf_counter()
    snapshots = SnapshotFolder(folder / "snapshots")
    (snapshot,) = snapshots.kept()

    def chunks() -> Iterator[bytes]:
        return (snapshots.chunk(snapshot, i) or b"" for i in range(len(snapshot.chunk_hashes)))

    tree = verified_tree(snapshot, root, chunks())
    with Store.open(folder / "restored") as store:
        store.restore(Committed(snapshot.height, tree, APP_VERSION), pairs_of(snapshot, chunks()))
        seconds = time.perf_counter() - began
        assert store.committed.app_hash == root
        return {"restore": [seconds], "rss": _rss_bytes()}


def restart(folder: Path) -> dict[str, Any]:
    """Open what ``work`` left and read a value; give seconds and bytes."""
    began = time.perf_counter()
    with long_lived():
        store = Store.open(folder / "state")
    with store:
        assert len(store.get(key(0)) or b"") == VALUE_BYTES
        seconds = time.perf_counter() - began
        return {"restart": [seconds], "rss": _rss_bytes()}


def measure(argv: list[str]) -> dict[str, float]:
    """Run the phases of one side, each in a process; give the medians by quantity."""
    first, second = _phase([*argv, "-phase", "work"]), _phase([*argv, "-phase", "restart"])
    third = _phase([*argv, "-phase", "restore", "-root", first["root"]])
    return {
        "commit": statistics.median(first["commit"]),
        "proof": statistics.median(first["proof"]),
        "restart": second["restart"][0],
        "rss": first["rss"],
        "rss-restarted": second["rss"],
        "fill": first["fill"],
        "snapshot": first["snapshot"],
        "restore": third["restore"][0],
    }


def lines(label: str, ours: Mapping[str, float], peer: Mapping[str, float]) -> list[str]:
    """Give the result lines of one size."""
    return [
        f"P5 ratio={ours[name] / peer[name]:.2f} ours={ours[name] * factor:.4g} "
        f"peer={peer[name] * factor:.4g} unit={unit} quantity={name} keys={label}"
        for name, (factor, unit, _) in QUANTITIES.items()
    ]


def main() -> int:
    """Measure and print; give the exit status."""
    parser = argparse.ArgumentParser(prog="bench.p5", description=__doc__)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=1, help="runs a side, in turn; the median counts")
    parser.add_argument("-phase", choices=("work", "restart", "restore"), help=argparse.SUPPRESS)
    parser.add_argument("-root", type=bytes.fromhex, default=b"", help=argparse.SUPPRESS)
    parser.add_argument("-folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-keys", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase is not None:
        print(json.dumps(_worked(arguments)))
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="conclave-p5-") as name:
            _run(Path(name), arguments.sizes, arguments.repeat)
    except ConclaveError as error:
        say(f"P5 failed: {error}")
        return 1
    return 0


def _worked(arguments: argparse.Namespace) -> dict[str, Any]:
    match arguments.phase:
        case "work":
            return work(arguments.folder, arguments.keys)
        case "restore":
            return restore(arguments.folder, arguments.root)
        case _:
            return restart(arguments.folder)


def _run(folder: Path, sizes: list[str], repeat: int) -> None:
    peer = build_go(PEER_SOURCES, folder / "iavl-bench")
    sides = {"ours": [sys.executable, "-m", "bench.p5"], "peer": [str(peer)]}
    for label in sizes:
        found: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
        for _ in range(repeat):
            for side, argv in sides.items():
                home = folder / side
                home.mkdir()
                found[side].append(measure([*argv, "-folder", str(home), "-keys", str(SIZES[label])]))
                shutil.rmtree(home)
        ours, theirs = (
            {name: statistics.median(run[name] for run in found[side]) for name in QUANTITIES}
            for side in ("ours", "peer")
        )
        print("\n".join(lines(label, ours, theirs)), flush=True)


def _phase(argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PHASE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise EnvironmentFault(Code.PROCESS_DIED, got=done.stderr.strip()[-300:], expected="a finished run")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _commit(store: Store, changes: Mapping[bytes, bytes | None]) -> None:
    store.commit(stage(store.committed, store.committed.height + 1, APP_VERSION, changes))


def _rss_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


if __name__ == "__main__":
    sys.exit(main())
