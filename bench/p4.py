"""P4: one release to hundreds of bridges. How long after it is final until each has verified and applied it.

Runs a ledger, full nodes that only follow it, one or two real API servers, and N real bridge processes forked
from one parent (``bench.forked``), each with its own key, trust store, service account and namespace.
Releases one revision after another to all, prints the distributions, and what a bridge takes while idle:

    python -m bench.p4 [--bridges 500] [--validators 4] [--followers 2] [--servers 1] [--revisions 3]
                       [--objects 5] [--idle 30] [--plot docs/guides/p4.svg]

An instant is what the bridge itself notes when it has verified, or applied; final is when this process sees
the block in a validator's status (asked every 5 ms). The bridges know the followers' addresses only. The
last revision is the figure: by then every bridge has its connections and watches.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import grounds, p4_plot, usage
from bench.forked import ENDPOINTS_MAX, NAMESPACE, RELEASE, Table, Wish, end_all, fork_all
from bench.p2_stage import Bench, approval
from bench.slices import Slice, make_slices
from conclave.client import trust_root
from conclave.home import Home
from consensus import release_reader
from consensus.rpc import RpcClient
from consensus.submit import submit
from k8s_bridge.lease import Timing
from k8s_bridge.settings import BridgeSettings
from ledger.bodies import release_body
from ledger.errors import EnvironmentFault
from ledger.types import JsonObject
from tests.support.devkube import devkube

WAIT_S = 300.0
LEASE = Timing(duration_s=60, renew_s=7.5)
"""The longest: here hundreds of clusters share an API server."""


def main() -> None:
    """Run the measurement and print its lines."""
    wish = _wish()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="p4-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        clusters = [f"c{number:03d}" for number in range(wish.bridges)]
        home = stack.enter_context(
            grounds.ledger(
                folder / "ledger", validators=wish.validators, followers=wish.followers, clusters=clusters
            )
        )
        servers = [str(stack.enter_context(devkube(folder / f"kube{n}"))) for n in range(wish.servers)]
        _say(f"{wish.validators} validators, {wish.followers} followers, {wish.servers} API servers up")
        slices = make_slices(folder, servers, clusters)
        bench, table = Bench(home, servers[0]), Table(wish.bridges)
        endpoints = grounds.followers_of(home) or list(home.endpoints)
        began = time.monotonic()
        pids: list[int] = []
        stack.callback(end_all, pids)
        fork_all(_wishes(home, slices, endpoints), endpoints, table, pids)
        _await(lambda: all(table.looked()), "every bridge's first look")
        _say(f"{wish.bridges} bridges looked after {time.monotonic() - began:.1f} s")
        fleet = Fleet(wish, home, bench, table, pids)
        for revision in range(1, wish.revisions + 1):
            times = fleet.release(revision)
            _say(f"P4 revision={revision} {times.line()}")
        fleet.idle()
        if wish.plot is not None:
            wish.plot.write_text(p4_plot.svg(times.verified, times.applied, len(pids)))
        _say(p4_plot.text(times.verified, times.applied))


class Times:
    """Seconds since one revision was final: when each bridge had verified it, and applied it."""

    def __init__(self, final: float, table: Table, revision: int) -> None:
        self.verified = sorted(at - final for at in table.verified(revision))
        self.applied = sorted(at - final for at in table.applied(revision))
        self.proposed = self.complete = 0.0

    def line(self) -> str:
        """Give both distributions and when the ledger knew of all."""
        return (
            f"verified {_spread(self.verified)} applied {_spread(self.applied)} "
            f"unit=s complete={self.complete:.1f} load={os.getloadavg()[0]:.1f}"
        )


class Fleet:
    """The bridges of one run, and what is asked of them."""

    def __init__(
        self, wish: argparse.Namespace, home: Home, bench: Bench, table: Table, pids: list[int]
    ) -> None:
        self._wish, self._home, self._bench, self._table, self._pids = wish, home, bench, table, pids
        self._followers = len(grounds.followers_of(home))

    def release(self, revision: int) -> Times:
        """Make a revision final and wait until all have applied it and the ledger knows."""
        bench = self._bench
        spent = usage.Groups(self._home.path.parent, self._pids)
        bench.send(bench.envelope("alice", release_body(self._release(revision))))
        record = bench.proposals(revision)[-1]
        bench.send(bench.envelope("bob", approval(record)))
        with _heights(self._home.endpoints[0]) as heights:
            proven = submit(bench.rpc, bench.reader, bench.envelope("carol", approval(record)))
        final = next(heights[h] for h in sorted(heights) if h >= proven.height)
        _await(lambda: all(self._table.applied(revision)), f"revision {revision} applied", self._tell)
        times = Times(final, self._table, revision)
        _await(lambda: self._is_complete(revision), f"revision {revision} complete")
        times.complete = time.monotonic() - final
        _say(f"cpu revision={revision} {spent.line()}")
        return times

    def idle(self) -> None:
        """Let all rest, then measure memory, processor and requests while nothing happens."""
        time.sleep(min(10.0, self._wish.idle))
        before, spent, began = (
            self._table.requests(),
            usage.Groups(self._home.path.parent, self._pids),
            time.monotonic(),
        )
        time.sleep(self._wish.idle)
        seconds = time.monotonic() - began
        _say(f"idle {seconds:.0f} s: cpu {spent.line()}")
        rates = [(after - b) / seconds for after, b in zip(self._table.requests(), before, strict=True)]
        shown = " ".join(f"{rate:.0f}" for rate in rates[: max(1, self._followers)])
        ports = [int(endpoint.rpartition(":")[2]) for endpoint in self._home.endpoints]
        direct = usage.connections(ports)
        _say(f"requests/s of bridges to each follower: {shown}; connections to validators: {direct}")
        pss, private = usage.memory(self._pids)
        _say(
            f"P4 pss_mb={statistics.mean(pss):.1f} pss_max_mb={max(pss):.1f} "
            f"private_mb={statistics.mean(private):.1f} bridges={len(pss)}"
        )

    def _tell(self) -> str:
        looked = self._table.looked()
        return f"{sum(map(bool, looked))} looked, {self._home.path}"

    def _is_complete(self, revision: int) -> bool:
        with contextlib.suppress(EnvironmentFault):
            found = release_reader.rollout(self._bench.reader.at(), RELEASE).value
            return found is not None and (found.revision, found.state.value) == (revision, "complete")
        return False

    def _release(self, revision: int) -> JsonObject:
        return {
            "apiVersion": "conclave.internal/v1",
            "kind": "Release",
            "metadata": {"name": RELEASE},
            "spec": {
                "clusters": list(self._home.clusters),
                "namespace": NAMESPACE,
                "manifests": [_config_map(f"p4-{index}", revision) for index in range(self._wish.objects)],
                "provenance": {"source": "yaml", "digest": "00" * 32, "renderer": "bench"},
            },
        }


def _wishes(home: Home, slices: list[Slice], endpoints: list[str]) -> list[Wish]:
    found, root = [], trust_root(home)
    for row, part in enumerate(slices):
        subject, folder = home.bridge_subject(part.cluster), home.bridge(part.cluster)
        turned = endpoints[row % len(endpoints) :] + endpoints[: row % len(endpoints)]
        settings = BridgeSettings(
            cluster=part.cluster,
            endpoints=tuple(turned),
            home=folder,
            key_uri=home.key_uri(subject),
            root=root,
            kubeconfig=str(part.kubeconfig),
            did=subject.did,
            namespace=part.namespace,
            lease=LEASE,
        )
        found.append(Wish(row, settings, folder / "bridge.log"))
    return found


@contextlib.contextmanager
def _heights(endpoint: str) -> Any:
    """Watch the blocks of a validator; gives when each height was first seen."""
    found: dict[int, float] = {}
    stop, rpc = threading.Event(), RpcClient(endpoint)

    def watch() -> None:
        while not stop.wait(0.005):
            with contextlib.suppress(EnvironmentFault):
                found.setdefault(rpc.status().height, time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        rpc.close()


def _config_map(name: str, revision: int) -> JsonObject:
    data = {"text": name * 10, "revision": str(revision)}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _spread(ordered: list[float]) -> str:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in shares.items()
    }
    return " ".join(f"{name}={value:.2f}" for name, value in [*found.items(), ("max", ordered[-1])])


def _await(check: Any, what: str, tell: Any = lambda: "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WAIT_S:.0f} s: {what}; {tell()}")
        time.sleep(0.2)


def _say(line: str) -> None:
    print(line, flush=True)


def _wish() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bridges", type=int, default=500)
    parser.add_argument("--validators", type=int, default=4)
    parser.add_argument("--followers", type=int, default=2, choices=range(ENDPOINTS_MAX + 1))
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--revisions", type=int, default=3)
    parser.add_argument("--objects", type=int, default=5)
    parser.add_argument("--idle", type=float, default=30.0)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
