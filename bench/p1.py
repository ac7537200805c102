"""P1: committed signed proposals per second against CometBFT's own Go kvstore, in one run.

Each size is measured on a fresh validator for either side: the same CometBFT, configuration, transaction
size, unix socket and load driver. Ours verifies, executes, hashes and durably stores signed proposals; the
peer keeps strings in memory. Prints one line a size,
``P1 ratio=… ours=… peer=… unit=tx/s size=… validators=…``. With ``--validators 4`` both sides run four
validators on this machine, and the load goes to the first.

The smallest signed proposal has 313 bytes (an envelope with its DID, key id and signature), so the size
called 300B is 313 bytes on both sides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench import payloads
from bench.validator import Load, Side, build_driver, drive, say, validators
from ledger.errors import ConclaveError
from runtime.tools import Tool, ToolError, find

SIZES = {"300B": (313, 12_000), "2.4kB": (2400, 6_000)}
"""Label: bytes of a transaction, transactions in a run."""
LOAD = Load(connections=4, batch=100)


def sides(abci_cli: Path) -> tuple[Side, Side]:
    """Give ours and the peer's."""
    listen = "unix://app.sock"
    ours = (sys.executable, "-m", "abci_app", "--home", ".", "--listen", listen)
    peer = (str(abci_cli), "kvstore", "--address", listen, "--log_level", "error")
    return (
        Side("ours", ours, payloads.CHAIN_ID, payloads.app_state()),
        Side("peer", peer, payloads.CHAIN_ID, {}),
    )


def measure(side: Side, txs: Path, folder: Path, programs: tuple[Path, Path], count: int) -> float:
    """Give committed transactions per second of one side on ``count`` fresh validators."""
    cometbft, driver = programs
    with validators(side, folder / side.name, cometbft, count) as running:
        if side.name == "ours":
            for tx in payloads.setup():
                running.commit(tx)
        report = drive(driver, running, txs, LOAD)
        say(f"{side.name}: {report} application RSS {running.rss_bytes() // 2**20} MiB")
    if report["refused"]:
        say(f"{side.name}: {report['refused']} transactions were refused and are not counted")
    return float(report["perSecond"])


def main() -> int:
    """Measure and print; give the exit status."""
    parser = argparse.ArgumentParser(prog="bench.p1", description=__doc__)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=3, help="runs a side, in turn; the median counts")
    parser.add_argument(
        "--validators", type=int, default=1, choices=(1, 4), help="the load goes to the first"
    )
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="conclave-p1-") as name:
            _run(Path(name), arguments.sizes, arguments.repeat, arguments.validators)
    except (ConclaveError, ToolError) as error:
        say(f"P1 failed: {error}")
        return 1
    return 0


def _run(folder: Path, sizes: list[str], repeat: int, count: int) -> None:
    cometbft = find(Tool.COMETBFT, progress=say, environ=os.environ)
    ours, peer = sides(find(Tool.ABCI_CLI, progress=say, environ=os.environ))
    programs = (cometbft, build_driver(folder))
    for label in sizes:
        size, load = SIZES[label]
        files = {"ours": folder / f"ours-{label}", "peer": folder / f"peer-{label}"}
        payloads.write(files["ours"], payloads.proposals(load, size))
        payloads.write(files["peer"], payloads.kvstore(load, size))
        rates: dict[str, list[float]] = {"ours": [], "peer": []}
        for turn in range(repeat):
            for side in (peer, ours):
                home = folder / f"{label}-{turn}"
                rates[side.name].append(measure(side, files[side.name], home, programs, count))
        mine, theirs = statistics.median(rates["ours"]), statistics.median(rates["peer"])
        figures = f"ratio={mine / theirs:.3f} ours={mine:.0f} peer={theirs:.0f} unit=tx/s"
        print(f"P1 {figures} size={label} validators={count}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
