"""A ledger with several clusters, each a real API server with its own bridge process: for tests of releases.

People act by ``conclave`` as a process of its own; the ledger is read back with proof, by a reader that has
its own root of trust; the clusters are looked at, and changed, as somebody with ``kubectl`` would.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from conclave.client import trust_root
from conclave.demo.narrator import Narrator
from conclave.demo.stage import Stage
from conclave.demo.story import clean_up
from conclave.first_look import read_status
from conclave.home import load
from consensus import release_reader
from consensus.reader import VerifiedReader, View
from consensus.rpc import RpcClient
from consensus.trust_store import TrustStore
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection, connect
from k8s_bridge.objects import key_of
from ledger import account, statekeys
from ledger.actions import Report
from ledger.bodies import report_body
from ledger.errors import Code, Refused
from ledger.records import MetricRecord, ReportRecord
from ledger.types import API_VERSION, JsonObject
from tests.integration.nodes import free_base
from tests.support.log_entries import log_entries

T = TypeVar("T")
WAIT_S = 180.0
_RACES_MAX = 5
_TAKEN = frozenset({Code.NONCE_REPLAYED, Code.REPORT_SEQUENCE_STALE})
"""What the ledger says to the slower of two who speak as one identity."""


class KubeCluster:
    """One real API server, as an administrator sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = KubernetesClient(connection)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def look(self, manifest: JsonObject) -> JsonObject | None:
        """Give the live object of a manifest's kind and name; None where it is not there."""
        return self._client.get(key_of(manifest))

    def found(self, manifest: JsonObject) -> JsonObject:
        """Give the live object, which must be there."""
        live = self.look(manifest)
        assert live is not None, key_of(manifest)
        return live

    def pods(self, namespace: str) -> list[JsonObject]:
        """List the pods of a namespace."""
        items, _ = self._client.list(self._client.kind_of("v1", "Pod"), namespace)
        return [{**item, "apiVersion": "v1", "kind": "Pod"} for item in items]

    def create(self, manifest: JsonObject) -> None:
        """Create an object by hand."""
        key = key_of(manifest)
        self._connection.ask(
            "post", self._client.kind_of(key.api_version, key.kind).path(key.namespace), body=manifest
        )

    def edit(self, manifest: JsonObject, change: JsonObject) -> None:
        """Change a live object by hand."""
        key = key_of(manifest)
        path = self._client.kind_of(key.api_version, key.kind).path(key.namespace, key.name)
        self._connection.ask("patch", path, body=change, content_type="application/merge-patch+json")


@dataclass(slots=True)
class Fleet:
    """A running ledger, its clusters by name, and a reader of one's own."""

    stage: Stage
    clusters: dict[str, KubeCluster]
    rpc: RpcClient
    reader: VerifiedReader
    folder: Path

    def conclave(self, *arguments: str, status: int = 0) -> JsonObject:
        """Run ``conclave`` as typed and give its JSON answer."""
        return self.stage.quietly(*arguments, status=status)

    def propose(self, name: str, manifests: list[JsonObject], **delivery: object) -> str:
        """Propose a release as alice; ``delivery`` are the fields of release.yaml beside the source."""
        source = self.folder / name
        source.mkdir(exist_ok=True)
        clusters = {} if "clusters" in delivery else {"clusters": sorted(self.clusters)}
        spec = {"source": {"path": "manifests.json"}, **clusters, **delivery}
        release = {"apiVersion": API_VERSION, "kind": "Release", "metadata": {"name": name}, "spec": spec}
        (source / "release.yaml").write_text(json.dumps(release))
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
        (source / "manifests.json").write_text(json.dumps(listed))
        return str(self.conclave("propose", str(source), "--as", "alice")["number"])

    def approve(self, number: str) -> JsonObject:
        """Approve as bob and as carol, which is a quorum; gives carol's answer."""
        self.conclave("approve", number, "--as", "bob")
        return self.conclave("approve", number, "--as", "carol")

    def release(self, name: str, manifests: list[JsonObject], **delivery: object) -> JsonObject:
        """Bring a release through its approvals; gives the last answer, with revision and height."""
        return self.approve(self.propose(name, manifests, **delivery))

    def view(self, height: int | None = None) -> View:
        """Give the proven state, the newest or that of a height, which one node may know after another."""
        if height is not None:
            self.until(f"height {height} proven", lambda: self.reader.newest_height() > height)
        return self.reader.at(height)

    def desired(self, cluster: str, name: str, height: int | None = None) -> int | None:
        """Give the revision a cluster shall have; None where it shall have nothing."""
        found = release_reader.desired(self.view(height), cluster, name).value
        return None if found is None else found.revision

    def report(self, cluster: str, name: str) -> ReportRecord | None:
        """Give a cluster's newest report, its reporter's signature verified."""
        return release_reader.report(self.view(), cluster, name).value

    def nonces(self, *names: str, height: int) -> list[int]:
        """Give how many envelopes people had sent by a height."""
        home, view = load(self.stage.home), self.view(height)
        keys = [statekeys.account(home.subject(name).did) for name in names]
        return [account.read(view.get(key).value).highest for key in keys]

    def until(self, what: str, ask: Callable[[], T | bool | None], seconds: float = WAIT_S) -> T:
        """Wait until ``ask`` gives something true, and give it; fails with what the bridges say."""
        end = time.monotonic() + seconds
        while True:
            found = ask()
            if found is not None and found is not False:
                return found  # type: ignore[return-value]
            said = {name: self.status(name) for name in self.clusters} if time.monotonic() > end else None
            assert said is None, f"{what}: not within {seconds} s; {json.dumps(said)}"
            time.sleep(0.1)

    def reported(self, cluster: str, name: str, revision: int, health: str = "current") -> ReportRecord:
        """Wait for a cluster's report that a revision is applied and how it is."""

        def ask() -> ReportRecord | None:
            found = self.report(cluster, name)
            said = None if found is None else (found.revision, found.outcome, found.health)
            return found if said == (revision, "applied", health) else None

        return self.until(f"{cluster} reports {name} {revision} {health}", ask)

    def complete(self, name: str, revision: int, seconds: float = WAIT_S) -> None:
        """Wait until the rollout of a revision is complete: healthy on every cluster."""

        def ask() -> bool:
            found = release_reader.rollout(self.view(), name).value
            return found is not None and (found.revision, found.state.value) == (revision, "complete")

        self.until(f"{name} {revision} complete", ask, seconds)

    def did(self, name: str) -> str:
        """Give the DID of somebody of this ledger."""
        return load(self.stage.home).subject(name).did

    def approvers(self, cluster: str, name: str, height: int | None = None) -> list[str]:
        """Judge what a cluster shall have, as its bridge does; give whose approvals count."""
        return sorted(release_reader.release(self.view(height), cluster, name).value.approvers)

    def applied(self, cluster: str, name: str) -> list[int]:
        """Give the revisions that a bridge says it wrote to its cluster, each once, the first first."""
        return list(dict.fromkeys(entry["revision"] for entry in self.said(cluster, "applied", name)))

    def said(self, cluster: str, event: str, name: str) -> list[JsonObject]:
        """Give what a bridge has logged of one kind about a release."""
        return [e for e in self.log(cluster) if (e["event"], e.get("release")) == (event, name)]

    def log(self, cluster: str) -> list[JsonObject]:
        """Give what a bridge has logged."""
        return log_entries(self.stage.home / "bridges" / cluster / "log" / "bridge.log")

    def status(self, cluster: str) -> JsonObject:
        """Give a bridge's own account."""
        return read_status(self.stage.home / "bridges" / cluster / "bridge-status.json")

    def looked(self, cluster: str, height: int) -> None:
        """Wait until a bridge has verified the state of ``height``, or of a later one."""
        self.until(f"{cluster} looks at {height}", lambda: self.status(cluster).get("height", 0) >= height)

    def measure(self, cluster: str, name: str, *metrics: MetricRecord) -> None:
        """Report metrics with the key of the cluster's node identity, besides what its bridge reports."""
        for _ in range(_RACES_MAX):
            view = self.view()
            last = release_reader.report(view, cluster, name).value
            assert last is not None
            sequence = release_reader.report_sequence(view, cluster).value + 1
            facts = (last.revision, sequence, last.outcome, last.health, last.objects)
            report = Report(cluster, name, *facts, metrics)
            with self.stage.client() as client, contextlib.suppress(_Overtaken):
                speaker = client.home.bridge_subject(cluster)
                with _overtaking():
                    client.say(speaker, report_body(report))
                return
        raise AssertionError(f"{cluster}: overtaken by its bridge {_RACES_MAX} times")


class _Overtaken(Exception):
    """The bridge of the same identity was faster."""


@contextmanager
def _overtaking() -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        if refusal.code not in _TAKEN:
            raise
        raise _Overtaken from refusal


@contextmanager
def running_fleet(
    folder: Path, *clusters: str, validators: int, kubeconfigs: Mapping[str, Path] | None = None
) -> Iterator[Fleet]:
    """Give a fleet that is up; everything is gone afterwards.

    Args:
        folder: for the ledger.
        clusters: their names.
        validators: how many.
        kubeconfigs: of clusters that run already; a devkube stands for each other one.
    """
    stage = Stage(folder / "ledger", Narrator(io.StringIO()), "default", None)
    # A cluster named by the environment would stand for all of them at once.
    environment = os.environ.pop("KUBECONFIG", None)
    with ExitStack() as stack:
        stack.callback(clean_up, stage)
        if environment is not None:
            stack.callback(os.environ.__setitem__, "KUBECONFIG", environment)
        named = [word for cluster in clusters for word in ("--cluster", cluster)]
        size = ("--validators", str(validators), "--base-port", str(free_base(2 * validators)))
        stage.quietly("init", *size, *named)
        given = [f"--kubeconfig={name}={path}" for name, path in (kubeconfigs or {}).items()]
        up = stage.quietly("up", *given)
        cubes = {name: KubeCluster(connect(path, {})) for name, path in up["kubeconfigs"].items()}
        for cube in cubes.values():
            stack.callback(cube.close)
        home = load(stage.home)
        rpc = RpcClient(home.endpoints)
        stack.callback(rpc.close)
        store = TrustStore(folder / "auditor.json")
        store.ensure(trust_root(home))
        yield Fleet(stage, cubes, rpc, VerifiedReader(rpc, store, clock=time.time_ns), folder)


def failing(deployment: JsonObject, *, after_s: int) -> JsonObject:
    """Give a Deployment whose pods crash on a devkube, and that Kubernetes gives up after ``after_s``."""
    made: JsonObject = json.loads(json.dumps(simulated(deployment, "crash")))
    made["spec"]["progressDeadlineSeconds"] = after_s
    return made


def simulated(deployment: JsonObject, how: str) -> JsonObject:
    """Give a Deployment whose pods a devkube marks as ``how`` (deploy/devkube/README.md)."""
    made: JsonObject = json.loads(json.dumps(deployment))
    made["spec"]["template"]["metadata"]["annotations"] = {SIMULATE: how}
    return made


SIMULATE = "devkube.conclave.internal/simulate"
