"""10,000 objects of one cluster under one bridge, beside 10,000 that are nobody's.

Runs a ledger of one validator, a real API server and a real bridge process, puts the foreign objects there,
makes the releases final one after the other, and prints, for growing counts, how long it took:

    python -m bench.ten_thousand [--objects 10000] [--foreign 10000] [--releases 4] [--idle 60] [--drifts 5]

``applied`` is from the first release's last approval to the last release in place; ``look`` is the bridge's
full look at all of it after it is started anew, nothing being written; ``list`` one full list of the
namespace, as a watch does it; ``drift`` a foreign write until it is undone, while the bridge rests, and to
the next object 1.5 s after that: one field of two overwritten, both (the record of ownership names us no
more), the object deleted. Memory and processor time are the bridge's.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import grounds, usage
from bench.p2_stage import Bench, approval
from conclave.home import Home
from consensus.submit import submit
from k8s_bridge.client import KubernetesClient
from k8s_bridge.objects import ObjectKey
from ledger.bodies import release_body
from ledger.types import JsonObject
from tests.support.devkube import devkube

CLUSTER, NAMESPACE = "east", "many"
WAIT_S = 540.0
HANDS = ("one field", "all fields", "deleted")
MAKERS = 8


def main() -> None:
    """Run the measurement and print its lines."""
    wish = _wish()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="many-") as name, contextlib.ExitStack() as stack:
        path = Path(name) / "ledger"
        home = stack.enter_context(grounds.ledger(path, validators=1, followers=0, clusters=[CLUSTER]))
        kubeconfig = str(stack.enter_context(devkube(Path(name) / "kube0")))
        bench = Bench(home, kubeconfig)
        bench.kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        seconds = _timed(lambda: _make_foreign(bench.kubernetes, wish.foreign))
        _say(f"{wish.foreign} foreign objects in {seconds:.0f} s")
        with _bridge(home, kubeconfig) as pid:
            each = wish.objects // wish.releases
            began = time.monotonic()
            for number in range(wish.releases):
                _release(bench, number, each)
                _await(home, number + 1)
                memory, seconds = usage.memory([pid])[0][0], time.monotonic() - began
                _say(f"applied={each * (number + 1)} after {seconds:.1f} s pss_mb={memory:.0f}")
            _say(f"applied unit=s {time.monotonic() - began:.1f} bridge_cpu={usage.cpu_s(pid):.1f}")
            _idle(pid, wish.idle)
            _drifts(bench.kubernetes, pid, wish.drifts)
        kind = bench.kubernetes.kind_of("v1", "ConfigMap")
        seconds = _timed(lambda: bench.kubernetes.list(kind, NAMESPACE, metadata_only=True))
        _say(f"list of {wish.objects + wish.foreign} in {seconds:.2f} s")
        began = time.monotonic()
        with _bridge(home, kubeconfig) as pid:
            _await(home, wish.releases)
            looks = [found["applySeconds"] for found in _status(home)["releases"].values()]
            shown = " ".join(f"{look:.1f}" for look in looks)
            _say(f"look of all after a start in {time.monotonic() - began:.1f} s, by release: {shown}")
            memory, load = usage.memory([pid])[0][0], os.getloadavg()[0]
            _say(f"bridge_cpu={usage.cpu_s(pid):.1f} pss_mb={memory:.0f} load={load:.1f}")


def _idle(pid: int, seconds: float) -> None:
    time.sleep(5.0)
    before = usage.cpu_s(pid)
    time.sleep(seconds)
    share = (usage.cpu_s(pid) - before) / seconds
    pss, private = usage.memory([pid])
    _say(f"idle {seconds:.0f} s: cpu={100 * share:.2f}% pss_mb={pss[0]:.0f} private_mb={private[0]:.0f}")


def _rest(pid: int) -> None:
    """Wait until the bridge does nothing."""
    for _ in range(int(WAIT_S)):
        before = usage.cpu_s(pid)
        time.sleep(2.0)
        if usage.cpu_s(pid) - before < 0.05:
            return
    raise SystemExit("the bridge does not rest")


def _drifts(kubernetes: KubernetesClient, pid: int, count: int) -> None:
    """Have each kind of drift undone ``count`` times at rest, and as often 1.5 s after another."""
    for start, hand in enumerate(HANDS):
        drifts, soon = [], []
        for number in range(2 * start * count, 2 * (start + 1) * count, 2):
            _rest(pid)
            drifts.append(_drift(kubernetes, number, hand))
            # By now the bridge makes sure of what it did.
            time.sleep(1.5)
            soon.append(_drift(kubernetes, number + 1, hand))
        for when, found in (("at rest", drifts), ("1.5 s later", soon)):
            _say(f"drift {hand} {when} p50={statistics.median(found):.3f} max={max(found):.3f} unit=s")
    _say(f"after drifts bridge_cpu={usage.cpu_s(pid):.1f} load={os.getloadavg()[0]:.1f}")


def _drift(kubernetes: KubernetesClient, number: int, hand: str) -> float:
    """Change or delete an object by hand; gives how long that lasted."""
    key = ObjectKey("v1", "ConfigMap", NAMESPACE, f"r0-{number}")
    path = kubernetes.kind_of("v1", "ConfigMap").path(NAMESPACE, key.name)
    ask: Any = kubernetes._connection.ask  # noqa: SLF001  as a person would, not as the field manager
    signed = (kubernetes.get(key) or {})["data"]
    if hand == "deleted":
        ask("delete", path)
    else:
        body = {"data": dict.fromkeys(signed if hand == "all fields" else ["text"], "by hand")}
        ask("patch", path, body=body, content_type="application/merge-patch+json")
    began = time.monotonic()
    while (kubernetes.get(key) or {}).get("data") != signed:
        if time.monotonic() - began > WAIT_S:
            raise SystemExit("the drift stays")
        time.sleep(0.01)
    return time.monotonic() - began


@contextlib.contextmanager
def _bridge(home: Home, kubeconfig: str) -> Iterator[int]:
    """Run the bridge; gives its process id."""
    (home.bridge(CLUSTER) / "bridge-status.json").unlink(missing_ok=True)
    argv = [sys.executable, "-m", "conclave", "--home", str(home.path), "bridge", "run", CLUSTER]
    with (home.path / "bridge.log").open("ab") as output:
        process = subprocess.Popen([*argv, "--kubeconfig", kubeconfig], stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(60.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(home: Home, releases: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = _status(home).get("releases", {}).values()
        if sum(one.get("outcome") == "applied" for one in found) >= releases:
            return
        time.sleep(0.1)
    raise SystemExit(f"not within {WAIT_S:.0f} s: {json.dumps(_status(home))[:2000]}")


def _status(home: Home) -> JsonObject:
    try:
        found: JsonObject = json.loads((home.bridge(CLUSTER) / "bridge-status.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _release(bench: Bench, number: int, count: int) -> None:
    """Make a release of ``count`` objects final."""
    bench.send(bench.envelope("alice", release_body(_document(number, count))))
    record = bench.proposals(number + 1)[-1]
    bench.send(bench.envelope("bob", approval(record)))
    submit(bench.rpc, bench.reader, bench.envelope("carol", approval(record)))


def _document(number: int, count: int) -> JsonObject:
    return {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": f"r{number}"},
        "spec": {
            "clusters": [CLUSTER],
            "namespace": NAMESPACE,
            "manifests": [_config_map(f"r{number}-{index}") for index in range(count)],
            "provenance": {"source": "yaml", "digest": "00" * 32, "renderer": "bench"},
        },
    }


def _config_map(name: str) -> JsonObject:
    metadata = {"name": name, "namespace": NAMESPACE}
    # Two fields: where only one is taken, the record goes on naming us.
    data = {"text": name * 10, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _make_foreign(kubernetes: KubernetesClient, count: int) -> None:
    path = kubernetes.kind_of("v1", "ConfigMap").path(NAMESPACE)
    ask: Any = kubernetes._connection.ask  # noqa: SLF001  nobody's objects: no field manager of ours
    with concurrent.futures.ThreadPoolExecutor(MAKERS) as makers:
        list(makers.map(lambda n: ask("post", path, body=_config_map(f"foreign-{n}")), range(count)))


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _say(line: str) -> None:
    print(line, flush=True)


def _wish() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--foreign", type=int, default=10_000)
    parser.add_argument("--releases", type=int, default=4)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--drifts", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
