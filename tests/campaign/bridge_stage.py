"""Where a bridge campaign plays: four validators, an API server with an audit log, and two bridges.

Owns their starts, deaths and ends, and the users: an administrator (the hand), the bridge's account, and an
account a release scope that the bridge writes as. Everything it kills it started.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from conclave import processes
from conclave.client import trust_root
from conclave.demo.narrator import Narrator
from conclave.demo.stage import CLUSTER, Stage
from conclave.demo.story import clean_up
from conclave.home import load
from consensus.reader import VerifiedReader
from consensus.rpc import open_panel
from consensus.trust_store import TrustStore
from k8s_bridge.accounts import BRIDGE_ACCOUNT, SYSTEM_NAMESPACE, scope_account, user_of
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection, connect
from ledger.types import JsonObject
from runtime import process
from tests.campaign import audit_log
from tests.integration.fault_ledger import in_process
from tests.integration.nodes import free_base
from tests.support.devkube import Devkube

VALIDATORS = 4
BRIDGES = ("first", "second")
TOKEN_S = 24 * 3600
BRIDGE_USER = user_of(BRIDGE_ACCOUNT)
READY_S = 240.0
ROOT = Path(__file__).resolve().parents[2]
_ADMINISTRATOR = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}


class Scene:
    """One ledger, one cluster, its bridges."""

    def __init__(self, folder: Path, scopes: tuple[str, ...]) -> None:
        self.folder, self.scopes = folder, scopes
        self.home = folder / "ledger"
        self._stage = Stage(self.home, Narrator(io.StringIO()), "default", None)
        self.kube = Devkube(folder / "d", *_audited(folder))
        self._bridges: dict[str, subprocess.Popen[bytes]] = {}
        self.admin: Connection
        self.client: KubernetesClient
        self.reader: VerifiedReader

    def open(self) -> None:
        """Start everything."""
        size = ("--validators", str(VALIDATORS), "--base-port", str(free_base(2 * VALIDATORS)))
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(self.kube.start)
            self._stage.quietly("init", *size, "--cluster", CLUSTER)
            self.raise_validators()
            self.admin = connect(str(starting.result()), {})
        self.client = KubernetesClient(self.admin)
        self._make_accounts()
        home = load(self.home)
        store = TrustStore(self.folder / "auditor.json")
        store.ensure(trust_root(home))
        self._rpc = open_panel(home.endpoints, self.folder)
        self.reader = VerifiedReader(self._rpc, store, clock=time.time_ns)
        for name in BRIDGES:
            self.start_bridge(name)

    def close(self) -> None:
        """End everything."""
        for name in self._bridges:
            with contextlib.suppress(ProcessLookupError):
                self.signal_bridge(name, signal.SIGKILL)
            self._bridges[name].wait()
        self.kube.stop()
        # In this process, whose children they are; then for what may be left.
        self.conclave("down")
        clean_up(self._stage)
        if hasattr(self, "_rpc"):
            self._rpc.close()
            self.client.close()

    # -- validators -----------------------------------------------------------------------------

    def conclave(self, *arguments: str) -> tuple[int, JsonObject]:
        """Run ``conclave`` in this process; gives its exit status and answer."""
        return in_process(self.home, *arguments)

    def raise_validators(self) -> None:
        """Start what does not run of the validators, and wait until each makes blocks."""
        end = time.monotonic() + READY_S
        while True:
            # Asking reaps those that are gone, before another takes their place.
            self.down()
            status, answer = self.conclave("up", "--no-bridges")
            if not status:
                return
            assert time.monotonic() < end, answer
            time.sleep(0.5)

    def kill_validator(self, number: int, member: str) -> bool:
        """Kill ``app``, ``cometbft`` or the supervisor, ``node``, of a validator; tell whether it ran."""
        files = {"node": self.home / "run" / f"node-{number}.json"}
        file = files.get(member, self.home / "nodes" / f"node{number}" / f"{member}.pid")
        found = process.read_pid_file(file)
        if found is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)
        return found is not None

    def down(self) -> list[int]:
        """List the validators whose supervisor does not run."""
        run = self.home / "run"
        return [n for n in range(VALIDATORS) if not processes.is_running(run, f"node-{n}")]

    # -- bridges --------------------------------------------------------------------------------

    def start_bridge(self, name: str) -> None:
        """Start a bridge anew, from its own home."""
        home = self._home_of(name)
        argv = [sys.executable, "-m", "conclave", "--home", str(home), "bridge", "run", CLUSTER]
        argv += ["--kubeconfig", str(self.folder / "bridge.kubeconfig"), "--impersonate"]
        with self.log_of(name).open("ab") as log:
            self._bridges[name] = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)

    def signal_bridge(self, name: str, number: signal.Signals) -> None:
        """Send a bridge a signal; one that is killed is gone afterwards."""
        self._bridges[name].send_signal(number)
        if number == signal.SIGKILL:
            self._bridges[name].wait()

    def hurt_bridge(self, name: str, number: signal.Signals, pause_s: float) -> None:
        """Kill a bridge, or stop it, and let it go on after a while."""
        self.signal_bridge(name, number)
        time.sleep(pause_s)
        if number == signal.SIGKILL:
            self.start_bridge(name)
        else:
            self.signal_bridge(name, signal.SIGCONT)

    def raise_bridges(self) -> list[str]:
        """Start the bridges that ended; gives which."""
        ended = [name for name, bridge in self._bridges.items() if bridge.poll() is not None]
        for name in ended:
            self.start_bridge(name)
        return ended

    def log_of(self, name: str) -> Path:
        """Give a bridge's log."""
        return self.folder / f"bridge-{name}.log"

    def lines(self, name: str) -> list[JsonObject]:
        """Read a bridge's log."""
        return list(audit_log.lines_of(self.log_of(name).read_text().splitlines()))

    def status_of(self, name: str) -> Path:
        """Give the file of a bridge's own account."""
        return self._home_of(name) / "bridges" / CLUSTER / "bridge-status.json"

    def _home_of(self, name: str) -> Path:
        if name == BRIDGES[0]:
            return self.home
        home = self.folder / name
        if not home.exists():
            home.mkdir(mode=0o700)
            for file in ("ledger.json", "genesis.json"):
                shutil.copy(self.home / file, home / file)
            shutil.copytree(self.home / "keys", home / "keys")
        return home

    # -- the cluster ----------------------------------------------------------------------------

    def restart_cluster(self, component: str, pause_s: float) -> None:
        """Kill a component, which ends the cluster, and start it again after a while."""
        self.kube.kill(component)
        time.sleep(pause_s)
        self.kube.start()

    def until_reached(self) -> None:
        """Wait until the API server answers."""
        end = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(Exception):
                self.admin.ask("get", "/api/v1")
                return
            assert time.monotonic() < end, "no API server"
            time.sleep(0.05)

    def audit(self) -> list[JsonObject]:
        """Read the API server's audit log."""
        return list(audit_log.lines_of((self.folder / "audit.log").read_text().splitlines()))

    def users(self) -> frozenset[str]:
        """Name every user that is ours."""
        return frozenset({BRIDGE_USER, *(user_of(scope_account(scope)) for scope in self.scopes)})

    def _make_accounts(self) -> None:
        core = "/api/v1/namespaces"
        self.admin.ask("post", core, body={"metadata": {"name": SYSTEM_NAMESPACE}})
        accounts = f"{core}/{SYSTEM_NAMESPACE}/serviceaccounts"
        self.admin.ask("post", accounts, body={"metadata": {"name": BRIDGE_ACCOUNT}})
        for user in sorted(self.users()):
            binding: JsonObject = {
                "metadata": {"name": user.replace(":", "-")},
                "roleRef": _ADMINISTRATOR,
                "subjects": [{"apiGroup": _ADMINISTRATOR["apiGroup"], "kind": "User", "name": user}],
            }
            self.admin.ask("post", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body=binding)
        request: JsonObject = {"spec": {"expirationSeconds": TOKEN_S}}
        _, made = self.admin.ask("post", f"{accounts}/{BRIDGE_ACCOUNT}/token", body=request)
        config = yaml.safe_load((self.folder / "d" / "kubeconfig").read_text())
        for user in config["users"]:
            user["user"] = {"token": made["status"]["token"]}
        (self.folder / "bridge.kubeconfig").write_text(yaml.safe_dump(config))


@contextmanager
def scene(folder: Path, scopes: tuple[str, ...]) -> Iterator[Scene]:
    """Give a scene that is up; everything is gone afterwards."""
    made = Scene(folder, scopes)
    try:
        made.open()
        yield made
    finally:
        made.close()


def _audited(folder: Path) -> list[str]:
    """Log every write of ours with its body, from the moment it is received: the server may die on it."""
    writes = sorted(audit_log.CHANGING)
    ours = {"level": "Request", "verbs": writes, "userGroups": [f"system:serviceaccounts:{SYSTEM_NAMESPACE}"]}
    others = {"level": "Metadata", "verbs": writes, "omitStages": ["RequestReceived"]}
    policy: Any = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "rules": [ours, others, {"level": "None"}],
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(policy))
    return [
        f"--audit-policy-file={folder}/audit.yaml",
        f"--audit-log-path={folder}/audit.log",
        # What cannot be logged is not done; nothing is rotated away.
        "--audit-log-mode=blocking-strict",
        "--audit-log-maxsize=4096",
    ]
