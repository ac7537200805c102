"""Where the story is told: one ledger's home, the commands a person would type, and a look at the cluster.

Owns the running of ``conclave`` as a process of its own, so that the story shows exactly what a user gets,
and the hand that edits the cluster behind the bridge's back. It decides nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from conclave.client import Client, connect
from conclave.command import Session
from conclave.demo.narrator import DemoFailed, Narrator
from conclave.output import Output
from k8s_bridge.connection import Connection
from ledger.errors import EnvironmentFault
from ledger.types import JsonObject

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLUSTER = "east"
BRIDGE_NAMESPACE = "conclave-system"
_COMMAND_TIMEOUT_S = 300
WAIT_S = 120.0
"""Against hanging alone: how long things take is told, and a machine that does much else takes longer."""
_POLL_S = 0.05
_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}",
}


@dataclass(slots=True)
class Stage:
    """The setting of one telling.

    Attributes:
        home: the ledger's home.
        narrator: tells it.
        namespace: where the example release goes.
        kubeconfig: a cluster that is there already; None has one made.
        cluster: the connection to the cluster, once it is up.
        proposed_at: when the newest proposal was begun, seconds since the epoch.
        made: namespaces of a cluster that was there before, which this telling brings into being.
    """

    home: Path
    narrator: Narrator
    namespace: str
    kubeconfig: Path | None
    cluster: Connection | None = None
    proposed_at: float = 0.0
    made: list[str] = field(default_factory=list)

    def conclave(self, *arguments: str, status: int = 0) -> JsonObject:
        """Run ``conclave`` as typed and give its JSON answer.

        Raises:
            DemoFailed: another exit status than ``status``.
        """
        self.narrator.command(list(arguments))
        return self.quietly(*arguments, status=status)

    def quietly(self, *arguments: str, status: int = 0) -> JsonObject:
        """Run ``conclave`` without telling it."""
        command = [sys.executable, "-m", "conclave", "--home", str(self.home), *arguments, "-o", "json"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
        if done.returncode != status:
            shown = (done.stdout + done.stderr).strip()[-2000:]
            raise DemoFailed(
                "conclave " + " ".join(arguments), f"exit {done.returncode}, expected {status}: {shown}"
            )
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer if isinstance(answer, dict) else {"items": answer}

    def source(self, name: str) -> list[str]:
        """Give the arguments that name an example in this telling's namespace."""
        return [str(EXAMPLES / name), "--name", "guestbook", "--namespace", self.namespace]

    def cluster_options(self) -> list[str]:
        """Give the options that make ``up`` use the cluster that is there already."""
        return ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []

    def client(self) -> AbstractContextManager[Client]:
        """Open the ledger through this home, in this process."""
        return connect(Session(self.home, None, Output()))

    def look(self, kind: str, name: str, namespace: str | None = None) -> JsonObject | None:
        """Give an object of the cluster; None where it is not there."""
        assert self.cluster is not None
        path = _PATHS[kind].format(namespace=namespace or self.namespace, name=name)
        try:
            return self.cluster.ask("get", path)[1]
        except EnvironmentFault as fault:
            if fault.facts.get("status") == 404:
                return None
            raise

    def by_hand(
        self,
        method: str,
        kind: str,
        name: str,
        body: JsonObject | None = None,
        *,
        namespace: str | None = None,
    ) -> None:
        """Change the cluster behind the bridge's back, as a person with ``kubectl`` would."""
        assert self.cluster is not None
        place = namespace or self.namespace
        path = _PATHS[kind].format(namespace=place, name=name if method != "post" else "").rstrip("/")
        options: dict[str, Any] = {}
        if method == "patch":
            options["content_type"] = "application/merge-patch+json"
        self.cluster.ask(method, path, body=body, **options)

    def until(self, what: str, holds: Callable[[], bool], seconds: float = WAIT_S) -> float:
        """Wait until ``holds`` and give the seconds it took.

        Raises:
            DemoFailed: it did not within ``seconds``.
        """
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                raise DemoFailed(what, f"not within {seconds:.0f} s")
            time.sleep(_POLL_S)
        return time.monotonic() - began

    def bridge_status(self) -> JsonObject:
        """Give the bridge's own account; empty while there is none."""
        try:
            value = json.loads((self.home / "bridges" / CLUSTER / "bridge-status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def wait_applied(self, revision: int, seconds: float = WAIT_S, name: str = "guestbook") -> None:
        """Wait until the bridge has applied ``revision`` of release ``name``."""

        def applied() -> bool:
            release = self.bridge_status().get("releases", {}).get(name, {})
            return (release.get("revision"), release.get("outcome")) == (revision, "applied")

        self.until(f"{name} revision {revision} applied", applied, seconds)

    def measure(self, name: str, revision: int, final_height: int) -> float:
        """Put a revision that was applied into the summary; give the seconds from final to applied."""
        final, applied = self.final_at(final_height), self.applied_at(revision)
        self.narrator.releases.append((name, final - self.proposed_at, applied - final))
        return applied - final

    def applied_at(self, revision: int) -> float:
        """Give when the bridge had applied ``revision``, seconds since the epoch, by its own log."""
        log = self.home / "bridges" / CLUSTER / "log" / "bridge.log"
        for line in log.read_text().splitlines():
            # The last line may still be on its way.
            entry = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if entry.get("event") == "applied" and entry.get("revision") == revision:
                return datetime.fromisoformat(entry["ts"]).timestamp()
        raise DemoFailed("the bridge's log", f"no word of revision {revision}")

    def final_at(self, height: int) -> float:
        """Give when the block of ``height`` was final: the time the next header carries."""
        with self.client() as client:
            return client.reader.header(height + 1).header.time_ns / 1e9
