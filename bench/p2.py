"""P2: from final to applied. How long after a block makes a release final until the API server has all of it.

Runs real validators, a real bridge and a real API server (``conclave init`` and ``up`` in a folder of its
own), makes releases of ConfigMaps final one after the other, and prints p50 and p99 next to the floor in the
same run (the peer): the same objects sent by server-side apply, unverified, over one kept connection.

    python -m bench.p2 [--releases 50] [--objects 10] [--validators 4]

prints ``P2 ratio=… ours=… peer=… unit=ms p99=… …`` (medians; ours above the floor is what proof costs).

An instant is when this process sees it: the final block in the node's status (asked every 2 ms), the last
object in a watch. Everything shares this machine's cores; the number of validators is part of the figure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from conclave.client import open_key, trust_root
from conclave.home import Home, Subject, load
from consensus import release_reader
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.submit import submit
from consensus.trust_store import TrustStore
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from ledger.bodies import judgement_body, release_body
from ledger.envelope import seal
from ledger.errors import EnvironmentFault
from ledger.limits import NONCE_WINDOW_SIZE
from ledger.types import ActionKind, JsonObject

NAMESPACE = "p2"
WAIT_S = 60.0
BATCH = NONCE_WINDOW_SIZE // 2
"""Releases proposed together: within the nonce window, and below what one may have open."""


class Bench:
    """One ledger, one cluster, two humans who agree at once."""

    def __init__(self, home: Home, kubeconfig: str) -> None:
        self.home = home
        self.rpc = RpcClient(home.endpoints[:1])
        store = TrustStore(home.path / "bench-trust.json")
        store.ensure(trust_root(home))
        self.reader = VerifiedReader(self.rpc, store, clock=time.time_ns)
        self.kubernetes = KubernetesClient(connect(kubeconfig, os.environ))
        self._nonces: dict[str, int] = {}

    def subject(self, name: str) -> Subject:
        """Find a subject of the home."""
        return next(subject for subject in self.home.subjects if subject.name == name)

    def envelope(self, name: str, body: bytes) -> bytes:
        """Sign ``body`` over the subject's next nonce."""
        subject = self.subject(name)
        self._nonces[name] = self._nonces.get(name, 0) + 1
        return seal(
            body,
            chain_id=self.home.chain_id,
            signer=subject.did,
            nonce=self._nonces[name],
            not_after_height=self.reader.at().height + 500,
            key=open_key(self.home, subject),
        )

    def send(self, tx: bytes) -> None:
        """Offer an envelope and do not wait for it."""
        answer = self.rpc.broadcast_tx_sync(tx)
        if answer.code:
            raise SystemExit(f"refused: {answer.code} {answer.log}")

    def proposals(self, count: int) -> list[Any]:
        """Wait until ``count`` proposals are on the ledger, give them in order."""
        found = _until(
            lambda: _at_least(release_reader.proposals(self.reader.at()).value, count), "proposals"
        )
        return sorted(found, key=lambda record: record.number)


class Sights:
    """When this process first saw each block and each object."""

    def __init__(self, bench: Bench) -> None:
        self.heights: dict[int, float] = {}
        self.objects: dict[str, float] = {}
        self._bench, self._stop = bench, threading.Event()
        self._rpc = RpcClient(bench.home.endpoints[:1])
        for target in (self._blocks, self._config_maps):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _blocks(self) -> None:
        while not self._stop.wait(0.002):
            self.heights.setdefault(self._rpc.status().height, time.monotonic())

    def _config_maps(self) -> None:
        kubernetes = self._bench.kubernetes
        kind = kubernetes.kind_of("v1", "ConfigMap")
        _, version = kubernetes.list(kind, NAMESPACE, metadata_only=True)
        while not self._stop.is_set():
            # The API server goes away before this process does.
            with contextlib.suppress(EnvironmentFault):
                for event in kubernetes.watch(kind, NAMESPACE, version):
                    metadata = event["object"]["metadata"]
                    version = metadata["resourceVersion"]
                    self.objects.setdefault(metadata.get("name", ""), time.monotonic())


def measure(bench: Bench, releases: int, objects: int) -> list[float]:
    """Make ``releases`` releases final one by one; give seconds from final to applied."""
    sights = Sights(bench)
    seconds = []
    for number in range(releases):
        if number % BATCH == 0:
            records = _open(bench, number, min(number + BATCH, releases), objects)
        tx = bench.envelope("carol", _approval(records[number]))
        proven = submit(bench.rpc, bench.reader, tx)
        names = [f"r{number}-{index}" for index in range(objects)]
        _until(lambda names=names: all(name in sights.objects for name in names), f"release {number}")
        final = next(sights.heights[h] for h in sorted(sights.heights) if h >= proven.height)
        seconds.append(max(sights.objects[name] for name in names) - final)
    sights.stop()
    return seconds


def _open(bench: Bench, first: int, last: int, objects: int) -> list[Any]:
    """Propose releases ``first`` … ``last`` - 1 and have each approved once; give all records, in order."""
    for number in range(first, last):
        bench.send(bench.envelope("alice", release_body(_release(number, objects))))
    records = bench.proposals(last)
    for record in records[first:]:
        bench.send(bench.envelope("bob", _approval(record)))
    return records


def _approval(record: Any) -> bytes:
    return judgement_body(ActionKind.APPROVAL, record.id, record.digest, record.requirement)


def floor(bench: Bench, releases: int, objects: int) -> list[float]:
    """Send the same objects with nothing but server-side apply; give seconds a release."""
    seconds = []
    for number in range(releases):
        manifests = [_config_map(f"floor-r{number}-{index}") for index in range(objects)]
        began = time.monotonic()
        for manifest in manifests:
            bench.kubernetes.apply(manifest)
        seconds.append(time.monotonic() - began)
    return seconds


def main() -> None:
    """Run the measurement and print one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--validators", type=int, default=4)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2-") as folder:
        home = Path(folder) / "home"
        _conclave(home, "init", "--validators", str(wish.validators))
        try:
            kubeconfig = _kubeconfig(_conclave(home, "up"))
            bench = Bench(load(home), kubeconfig)
            bench.kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            applied = measure(bench, wish.releases, wish.objects)
            bare = floor(bench, wish.releases, wish.objects)
            print(_line(wish, applied, bare, _rss_mb(home)))
        finally:
            _conclave(home, "down")


def _line(wish: argparse.Namespace, applied: list[float], bare: list[float], rss_mb: float) -> str:
    ours, peer = statistics.median(applied), statistics.median(bare)
    return (
        f"P2 ratio={ours / peer:.2f} ours={_ms(ours)} peer={_ms(peer)} unit=ms "
        f"p99={_ms(_quantile(applied, 0.99))} peer_p99={_ms(_quantile(bare, 0.99))} releases={wish.releases} "
        f"objects={wish.objects} validators={wish.validators} bridge_rss_mb={rss_mb:.0f}"
    )


def _quantile(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _release(number: int, objects: int) -> JsonObject:
    return {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": f"r{number}"},
        "spec": {
            "clusters": ["east"],
            "namespace": NAMESPACE,
            "manifests": [_config_map(f"r{number}-{index}") for index in range(objects)],
            "provenance": {"source": "yaml", "digest": "00" * 32, "renderer": "bench"},
        },
    }


def _config_map(name: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"text": name * 10},
    }


def _conclave(home: Path, *words: str) -> str:
    command = [sys.executable, "-m", "conclave", "--home", str(home), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _kubeconfig(said: str) -> str:
    named = [line.partition("KUBECONFIG=")[2] for line in said.splitlines() if "export KUBECONFIG=" in line]
    return named[0].strip()


def _rss_mb(home: Path) -> float:
    """The bridge's resident memory, after everything it did."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if str(home).encode() in words and b"bridge" in words:
                status = (process / "status").read_text()
                return float(status.partition("VmRSS:")[2].split()[0]) / 1024
        except OSError:
            continue
    return 0.0


def _at_least(found: Any, count: int) -> Any:
    return found if len(found) >= count else None


def _until(check: Any, what: str) -> Any:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            found = check()
        except EnvironmentFault:
            found = None
        if found:
            return found
        time.sleep(0.005)
    raise SystemExit(f"not within {WAIT_S:.0f} s: {what}")


if __name__ == "__main__":
    main()
