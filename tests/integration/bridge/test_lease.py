"""Several bridges on one real API server: who writes, who takes over, who must not."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.lease import LEASE_NAME, Timing
from k8s_bridge.objects import ObjectKey
from k8s_bridge.store import DEFAULT_NAMESPACE
from ledger.types import JsonObject
from tests.support.devkube import DevkubeUnavailableError, devkube
from tests.support.log_entries import log_entries
from tests.support.manifests import config_map, namespace_object

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TAKEOVER_S_MAX = 15.0
"""A bridge's log says when it became the writer; how long its first writes take is the machine's affair."""
WAIT_S = 120.0
MANY, STARTED = 900, 20
_LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parents[3]
VALUE = ObjectKey("v1", "ConfigMap", "shop", "settings")
_WRITES = ["create", "update", "patch", "delete", "deletecollection"]


@dataclass
class Place:
    """A cluster, what the ledger wants of it, and its bridges."""

    folder: Path
    kubeconfig: Path
    client: KubernetesClient
    bridges: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "tests.support.writer_process"]
        with (self.folder / f"{name}.log").open("ab") as output:
            self.bridges[name] = subprocess.Popen(
                [*argv, str(self.kubeconfig), str(home), str(self.folder / "wish")],
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        self.bridges[name].send_signal(number)

    def want(self, revision: int, *more: JsonObject) -> None:
        manifests = [namespace_object("shop"), config_map("settings", revision=str(revision)), *more]
        new = self.folder / "wish.new"
        new.write_text(json.dumps({"revision": revision, "manifests": manifests}))
        new.replace(self.folder / "wish")

    def applied(self) -> int:
        live = self.client.get(VALUE)
        return 0 if live is None else int(live["data"]["revision"])

    def status(self, name: str) -> JsonObject:
        try:
            found: JsonObject = json.loads((self.folder / name / "bridge-status.json").read_bytes())
        except FileNotFoundError:
            return {"writer": {"writing": False, "holder": None}}
        return found

    def outcome(self, name: str) -> str | None:
        """Give what became of the release, by a bridge's own account: nothing is under way then."""
        found: JsonObject = self.status(name).get("releases", {}).get("guestbook", {})
        return found.get("outcome")

    def writing(self, name: str) -> bool:
        return bool(self.status(name)["writer"]["writing"])

    def lease(self) -> JsonObject:
        key = ObjectKey("coordination.k8s.io/v1", "Lease", DEFAULT_NAMESPACE, LEASE_NAME)
        live = self.client.get(key)
        assert live is not None
        return live

    def writes(self, name: str) -> list[JsonObject]:
        """Give what a bridge wrote, the lease aside: every request the API server let through."""
        return [
            said
            for said in log_entries(self.folder / "audit.log")
            if said["userAgent"] == name
            and said["objectRef"]["resource"] != "leases"
            and "dryRun" not in said["requestURI"]
            and said["responseStatus"]["code"] < 300
        ]

    def moment(self, name: str, event: str) -> float:
        """Give when a bridge's newest process first logged something; ``writer``: that it is the writer."""
        life: list[JsonObject] = []
        for entry in log_entries(self.folder / f"{name}.log"):
            life = [entry] if entry["event"] == "bridge started" else [*life, entry]
        said = next(e for e in life if e["event"] == event and e.get("writing", True))
        return datetime.fromisoformat(said["ts"]).timestamp()

    def waited_s(self, name: str) -> float:
        """Give how long after its start a bridge became the writer."""
        return self.moment(name, "writer") - self.moment(name, "bridge started")

    def unbounded(self) -> list[str]:
        """Give the writes that did not tell the API server how long it may work at them."""
        writes = [*self.writes("one"), *self.writes("two")]
        return [said["requestURI"] for said in writes if "timeout=" not in said["requestURI"]]

    def parts(self) -> list[JsonObject]:
        """Give what there is of the large plan."""
        found, _ = self.client.list(self.client.kind_of("v1", "ConfigMap"), "shop")
        return [item for item in found if item["metadata"]["name"].startswith("part-")]

    def reports(self, name: str) -> list[int]:
        file = self.folder / name / "reports.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line)["revision"] for line in lines]


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dk-")))
        stage = {"level": "Metadata", "verbs": _WRITES, "omitStages": ["RequestReceived"]}
        policy: Any = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "rules": [stage, {"level": "None"}],
        }
        (folder / "audit.yaml").write_text(yaml.safe_dump(policy))
        audit = [f"--audit-policy-file={folder}/audit.yaml", f"--audit-log-path={folder}/audit.log"]
        try:
            kubeconfig = stack.enter_context(devkube(folder / "d", *audit))
        except DevkubeUnavailableError as error:
            pytest.skip(str(error))
        client = KubernetesClient(connect(str(kubeconfig), {}))
        stack.callback(client.close)
        found = Place(folder, kubeconfig, client)
        stack.callback(_end, found)
        yield found


def _end(place: Place) -> None:
    for process in place.bridges.values():
        if process.poll() is None:
            process.kill()
            process.wait()


def _until(place: Place, check: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> float:
    started = time.monotonic()
    while not check():
        spent = time.monotonic() - started
        logs = {name: (place.folder / f"{name}.log").read_text()[-1500:] for name in place.bridges}
        assert spent < wait_s, (what, logs)
        time.sleep(0.05)
    return time.monotonic() - started


def _pair(place: Place) -> None:
    """Start a writer and one that waits; revision 1 is applied."""
    place.want(1)
    place.start("one")
    _until(place, lambda: place.outcome("one") == "applied", "applied by the first")
    assert place.applied() == 1
    assert place.waited_s("one") < Timing().settle_s, "nobody wrote here before"
    place.start("two")
    _until(place, lambda: bool(place.status("two")["writer"]["holder"]), "the second sees the holder")
    assert place.writing("one")
    assert not place.writing("two")


@pytest.mark.requires("bridge.one-writer", "bridge.takeover")
def test_a_killed_writer_is_replaced_in_time(place: Place) -> None:
    _pair(place)
    place.want(2)
    _until(place, lambda: place.applied() == 2, "the writer goes on beside one that waits")
    assert place.writes("two") == []
    assert place.reports("two") == []
    killed = time.time()
    place.signal("one", signal.SIGKILL)
    place.want(3)
    _until(place, lambda: place.applied() == 3, "the other took over")
    took = place.moment("two", "writer") - killed
    _LOG.info("takeover: %.2f s", took)
    assert took < TAKEOVER_S_MAX
    _until(place, lambda: place.writing("two"), "it says so")
    assert place.lease()["spec"]["leaseTransitions"] == 2
    _until(place, lambda: place.reports("two") == [3], "the new writer reports")
    assert place.writes("one")
    assert place.unbounded() == []


@pytest.mark.requires("bridge.one-writer", "bridge.late-writer")
def test_a_writer_that_was_stopped_and_wakes_up_late_writes_nothing(place: Place) -> None:
    _pair(place)
    stopped = time.time()
    place.signal("one", signal.SIGSTOP)
    place.want(2)
    _until(place, lambda: place.applied() == 2, "the other took over")
    assert place.moment("two", "writer") - stopped < TAKEOVER_S_MAX
    live = place.client.get(VALUE)
    assert live is not None
    written = place.writes("one")
    place.signal("one", signal.SIGCONT)
    _until(place, lambda: place.bridges["one"].poll() is not None or not place.writing("one"), "it stands by")
    place.want(3, config_map("more"))
    _until(place, lambda: place.applied() == 3, "the other goes on")
    time.sleep(Timing().renew_s * 2)
    assert place.writes("one") == written
    assert place.writing("two")
    assert place.bridges["one"].poll() is None
    me = place.status("two")["writer"]["me"]
    _until(place, lambda: place.status("one")["writer"]["holder"] == me, "it knows who writes")
    assert 3 not in place.reports("one")


@pytest.mark.requires("bridge.late-writer")
def test_a_writer_that_is_stopped_in_the_middle_of_a_plan_never_finishes_it(place: Place) -> None:
    _pair(place)
    before = len(place.writes("one"))
    many = [config_map(f"part-{number}") for number in range(MANY)]
    place.want(2, *many)
    _until(place, lambda: len(place.writes("one")) > before + STARTED, "the plan has begun")
    stopped = time.time()
    place.signal("one", signal.SIGSTOP)
    place.want(3)
    _until(place, lambda: place.applied() == 3, "the other took over")
    assert place.moment("two", "writer") - stopped < TAKEOVER_S_MAX
    _until(place, lambda: len(place.parts()) == 0, "what was begun is gone")
    written = place.writes("one")
    assert len(written) < MANY
    # In the middle of a write the kernel has killed it by now; else it wakes up.
    place.signal("one", signal.SIGCONT)
    place.want(4, config_map("more"))
    _until(place, lambda: place.applied() == 4, "the other goes on")
    time.sleep(Timing().renew_s * 2)
    assert place.writes("one") == written
    assert place.parts() == []
    assert place.writing("two")
    if place.bridges["one"].poll() is None:
        assert not place.writing("one")
    else:
        assert place.bridges["one"].returncode == -signal.SIGKILL


@pytest.mark.requires("bridge.takeover")
def test_a_writer_that_ends_or_dies_is_followed_sooner(place: Place) -> None:
    _pair(place)
    place.signal("one", signal.SIGTERM)
    place.want(2)
    _until(place, lambda: place.applied() == 2, "the other follows")
    assert place.bridges["one"].wait(WAIT_S) == 0
    took = place.moment("two", "writer") - place.moment("one", "bridge stopped")
    _LOG.info("handover: %.2f s", took)
    assert took < Timing().settle_s
    place.signal("two", signal.SIGKILL)
    place.bridges["two"].wait(WAIT_S)
    place.want(3)
    place.start("two")
    again = _until(place, lambda: place.applied() == 3, "the same home again")
    _LOG.info("restart: %.2f s", place.waited_s("two"))
    assert again >= Timing().settle_s
    assert place.waited_s("two") < Timing().duration_s - 2
