"""What a verified read costs, end to end on a real node, beside the same query taken on trust.

Owns the comparison: one validator with our application, one client. The floor is the same query to the same
node by the same client, its proof not looked at. Prints one line a quantity,
``reader ratio=… ours=… floor=… unit=ms quantity=…``, medians; a ratio above 1 is what verification costs.

``get`` and ``absent`` read one key of a height whose header is known already. ``newest`` learns the newest
height, verifies its header (three more queries, the commit's signature) and keeps it durably first.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import payloads
from bench.p1 import sides
from bench.validator import Validator, say, validators
from consensus.foresight import STATE_PATH
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustRoot, TrustStore
from ledger import statekeys
from ledger.errors import ConclaveError
from runtime.tools import Tool, ToolError, find

READS = 200
NEWEST = 8
HEIGHTS_MIN = 3
PRESENT = statekeys.ledger_object("Cluster", payloads.CLUSTER)
ABSENT = statekeys.ledger_object("Cluster", "nowhere")


def timed(count: int, read: Callable[[], object]) -> float:
    """Give the median milliseconds of a read."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        read()
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


def measure(rpc: RpcClient, reader: VerifiedReader) -> dict[str, tuple[float, float]]:
    """Give (ours, floor) in milliseconds by quantity."""
    height = reader.at().height
    pairs: dict[str, tuple[float, float]] = {}
    for name, key in (("get", PRESENT), ("absent", ABSENT)):
        floor = timed(READS, partial(rpc.abci_query, STATE_PATH, key, height))
        # A view remembers what it has read, so each read gets its own.
        ours = timed(READS, partial(_get, reader, height, key))
        pairs[name] = (ours, floor)
    newest = []
    for _ in range(NEWEST):
        seen = rpc.status().height
        while rpc.status().height == seen:
            time.sleep(0.01)
        newest.append(timed(1, lambda: reader.at().get(PRESENT)))
    pairs["newest"] = (statistics.median(newest), pairs["get"][1])
    return pairs


def _get(reader: VerifiedReader, height: int, key: bytes) -> object:
    return reader.at(height).get(key)


def main() -> int:
    """Measure and print; give the exit status."""
    try:
        with tempfile.TemporaryDirectory(prefix="conclave-reader-") as name:
            _run(Path(name))
    except (ConclaveError, ToolError) as error:
        say(f"reader failed: {error}")
        return 1
    return 0


def _run(folder: Path) -> None:
    cometbft = find(Tool.COMETBFT, progress=say, environ=os.environ)
    side, _ = sides(Path("unused"))
    with (
        validators(side, folder / "node", cometbft) as running,
        contextlib.closing(RpcClient(running.rpc_url)) as rpc,
    ):
        while running.height() < HEIGHTS_MIN:
            time.sleep(0.1)
        pairs = measure(rpc, _reader(folder, rpc, running))
    for name, (ours, floor) in pairs.items():
        load = os.getloadavg()[0]
        print(
            f"reader ratio={ours / floor:.2f} ours={ours:.2f} floor={floor:.2f} unit=ms quantity={name} "
            f"load={load:.1f}"
        )


def _reader(folder: Path, rpc: RpcClient, running: Validator) -> VerifiedReader:
    store = TrustStore(folder / "trust.json")
    genesis = next((folder / "node").rglob("genesis.json"))
    store.ensure(TrustRoot.from_genesis(json.loads(genesis.read_text())))
    say(f"reading {running.rpc_url}")
    return VerifiedReader(rpc, store, clock=time.time_ns)


if __name__ == "__main__":
    sys.exit(main())
