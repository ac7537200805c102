"""The stage of P2: one ledger, one cluster, operators who agree at once, and eyes on both.

Owns what ``bench.p2`` measures on: making and approving releases, editing by hand, and the instants. An
instant is when this process sees it: a block's, when node 0 tells that it has the precommits of two thirds (a
step of consensus, told over a WebSocket, before the block is even stored); an object's, in a watch of its
metadata. It judges no figure.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import websocket  # comes with the Kubernetes client

from conclave.client import open_key, trust_root
from conclave.home import Home, Subject
from consensus import release_reader
from consensus.reader import VerifiedReader
from consensus.rpc import RpcClient
from consensus.trust_store import TrustStore
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from ledger.bodies import judgement_body, release_body
from ledger.envelope import seal
from ledger.errors import EnvironmentFault
from ledger.types import ActionKind, JsonObject

T = TypeVar("T")
NAMESPACE = "p2"
WAIT_S = 60.0
BY_HAND = "by hand"


class Bench:
    """The ledger and the cluster, and those who speak to them."""

    def __init__(self, home: Home, kubeconfig: str) -> None:
        self.home = home
        self.rpc = RpcClient(home.endpoints[:1])
        store = TrustStore(home.path / "bench-trust.json")
        store.ensure(trust_root(home))
        self.reader = VerifiedReader(self.rpc, store, clock=time.time_ns)
        self.connection = connect(kubeconfig, os.environ)
        self.kubernetes = KubernetesClient(self.connection)
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

    def send(self, tx: bytes) -> bytes:
        """Offer an envelope and do not wait for it; gives its hash."""
        answer = self.rpc.broadcast_tx_sync(tx)
        if answer.code:
            raise SystemExit(f"refused: {answer.code} {answer.log}")
        return answer.hash

    def height_of(self, tx_hash: bytes) -> int:
        """Wait until a transaction is found by its hash; gives its height."""
        return until(lambda: self.rpc.tx(tx_hash), "transaction").height

    def open(self, first: int, last: int, objects: int) -> list[Any]:
        """Propose releases ``first`` … ``last`` - 1, have each approved once; give all records, in order."""
        for number in range(first, last):
            self.send(self.envelope("alice", release_body(release(number, objects))))
        records = self.proposals(last)
        for record in records[first:]:
            self.send(self.envelope("bob", approval(record)))
        return records

    def proposals(self, count: int) -> list[Any]:
        """Wait until ``count`` proposals are on the ledger, give them in order."""
        found = until(lambda: self._proposals(count), "proposals")
        return sorted(found, key=lambda record: record.number)

    def _proposals(self, count: int) -> Any:
        found = release_reader.proposals(self.reader.at()).value
        return found if len(found) >= count else None

    def edit(self, name: str) -> str:
        """Write a field of an object as ``kubectl edit`` does; gives the version it made."""
        kind = self.kubernetes.kind_of("v1", "ConfigMap")
        _, live = self.connection.ask(
            "patch",
            kind.path(NAMESPACE, name),
            body={"data": {"text": BY_HAND}},
            content_type="application/merge-patch+json",
            field_manager="kubectl-edit",
        )
        return str(live["metadata"]["resourceVersion"])

    def text(self, name: str) -> str:
        """Give the field."""
        kind = self.kubernetes.kind_of("v1", "ConfigMap")
        return str(self.connection.ask("get", kind.path(NAMESPACE, name))[1]["data"]["text"])


@dataclass(frozen=True, slots=True)
class Sight:
    """One change of an object, when it was seen."""

    at_s: float
    version: str


class Sights:
    """When this process first saw each block and each change of an object."""

    def __init__(self, bench: Bench) -> None:
        self.blocks: dict[int, float] = {}
        self.objects: dict[str, list[Sight]] = defaultdict(list)
        self._bench, self._stop = bench, threading.Event()
        for target in (self._blocks, self._config_maps):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def after(self, name: str, version: str) -> list[Sight]:
        """Give the changes that followed a version of an object, as far as they are seen."""
        seen = list(self.objects[name])
        place = next((i for i, sight in enumerate(seen) if sight.version == version), len(seen))
        return seen[place + 1 :]

    def _blocks(self) -> None:
        address = self._bench.home.endpoints[0].replace("http://", "ws://") + "/websocket"
        stream = websocket.create_connection(address, timeout=WAIT_S)
        query = {"query": "tm.event='NewRoundStep'"}
        stream.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": query}))
        with contextlib.suppress(websocket.WebSocketException, OSError):
            while not self._stop.is_set():
                # The last word of a node that ends is an error.
                told = json.loads(stream.recv()).get("result", {})
                step = told["data"]["value"] if "data" in told else {}
                if step.get("step") == "RoundStepCommit":
                    self.blocks.setdefault(int(step["height"]), time.monotonic())

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
                    if "name" in metadata:
                        self.objects[metadata["name"]].append(Sight(time.monotonic(), version))


def approval(record: Any) -> bytes:
    """Give the body of an approval."""
    return judgement_body(ActionKind.APPROVAL, record.id, record.digest, record.requirement)


def release(number: int, objects: int) -> JsonObject:
    """Give a release of so many ConfigMaps."""
    return {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": f"r{number}"},
        "spec": {
            "clusters": ["east"],
            "namespace": NAMESPACE,
            "manifests": [config_map(f"r{number}-{index}") for index in range(objects)],
            "provenance": {"source": "yaml", "digest": "00" * 32, "renderer": "bench"},
        },
    }


def config_map(name: str) -> JsonObject:
    """Give one of the objects that are applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"text": name * 10, "mode": "strict"},
    }


def until(check: Callable[[], T | None], what: str) -> T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = None
        with contextlib.suppress(EnvironmentFault):
            found = check()
        if found:
            return found
        time.sleep(0.005)
    raise SystemExit(f"not within {WAIT_S:.0f} s: {what}")


def rss_mb(home: Path) -> float:
    """Give the resident memory of the home's bridge."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if str(home).encode() in words and b"bridge" in words:
                status = (process / "status").read_text()
                return float(status.partition("VmRSS:")[2].split()[0]) / 1024
        except OSError:
            continue
    return 0.0
