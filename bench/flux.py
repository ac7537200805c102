"""The peer of P2: Flux's kustomize-controller, driven in its best case.

Owns the building and running of the controller (``bench/flux``) and what stands in for git and Flux's
source-controller: an HTTP server on loopback with the artifacts, and a GitRepository whose status names the
newest. The controller watches that status, so a new revision makes it reconcile at once, without a clone.
Promises that the controller's binary and defaults are its own. It interprets no figure.

Source: fluxcd/kustomize-controller and source-controller v1.9.3 (definitions, ``status.artifact``).
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bench.validator import build_go
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

SOURCES = Path(__file__).parent / "flux"
PACKAGE = "github.com/fluxcd/kustomize-controller"
VERSION = "v1.9.3"
DEFINITIONS = {
    PACKAGE: ("kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    "github.com/fluxcd/source-controller": (
        "source.toolkit.fluxcd.io_gitrepositories.yaml",
        "source.toolkit.fluxcd.io_ocirepositories.yaml",
        "source.toolkit.fluxcd.io_buckets.yaml",
        "source.toolkit.fluxcd.io_externalartifacts.yaml",
    ),
}
NAMESPACE = "flux-system"
NAME = "bench"
BUILD_S = 1200
READY_S = 60.0
_REPOSITORY = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/gitrepositories/{NAME}"
_KUSTOMIZATION = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations/{NAME}"
_MERGE = "application/merge-patch+json"


class Flux:
    """One running controller and one Kustomization that follows one source."""

    def __init__(self, connection: Connection, folder: Path, url: str) -> None:
        self._connection, self._folder, self._url = connection, folder, url

    def publish(self, revision: str, manifests: Sequence[JsonObject]) -> float:
        """Make an artifact and name it as the newest; gives the moment the API server took that."""
        content = _artifact(manifests)
        (self._folder / f"{revision}.tar.gz").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        artifact = {
            "path": f"{revision}.tar.gz",
            "url": f"{self._url}/{revision}.tar.gz",
            "revision": f"main@sha1:{hashlib.sha1(revision.encode()).hexdigest()}",  # noqa: S324  as git has it
            "digest": f"sha256:{digest}",
            "lastUpdateTime": _now(),
            "size": len(content),
        }
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "",
            "lastTransitionTime": _now(),
        }
        status = {"status": {"artifact": artifact, "conditions": [ready], "observedGeneration": 1}}
        self._patch(f"{_REPOSITORY}/status", status)
        return time.monotonic()

    def ask(self) -> None:
        """Ask for a reconciliation now, as ``flux reconcile`` does."""
        note = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": _now()}}}
        self._patch(_KUSTOMIZATION, note)

    def every(self, interval: str) -> None:
        """Set how often it reconciles by itself."""
        self._patch(_KUSTOMIZATION, {"spec": {"interval": interval}})

    def _patch(self, path: str, body: JsonObject) -> None:
        self._connection.ask("patch", path, body=body, content_type=_MERGE)


def build(folder: Path) -> Path:
    """Build the controller into ``folder``: minutes the first time.

    Raises:
        EnvironmentFault: TOOL_MISSING (no Go), TOOL_BUILD_FAILED.
    """
    return build_go(SOURCES, folder / "kustomize-controller", package=PACKAGE, timeout_s=BUILD_S)


@contextmanager
def running(
    binary: Path, kubeconfig: Path, client: KubernetesClient, connection: Connection
) -> Iterator[Flux]:
    """Run the controller on a cluster until the block ends.

    Raises:
        EnvironmentFault: TIMEOUT, PROCESS_DIED, TOOL_BUILD_FAILED.
    """
    _install(client, connection)
    folder = binary.parent / "artifacts"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log = binary.parent / "kustomize-controller.log"
    argv = [str(binary), "--metrics-addr=0", "--health-addr=127.0.0.1:0", "--enable-leader-election=false"]
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig), "RUNTIME_NAMESPACE": NAMESPACE}
    environ["TMPDIR"] = str(binary.parent)
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environ)
    try:
        _await_started(process, log)
        yield Flux(connection, folder, f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        process.terminate()
        process.wait(30)
        server.shutdown()
        server.server_close()


def _install(client: KubernetesClient, connection: Connection) -> None:
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for module, files in DEFINITIONS.items():
        for file in files:
            definition = yaml.safe_load((_module(module) / "config/crd/bases" / file).read_text())
            found = client.apply(definition).live
            _await_served(connection, found)
    git = {"interval": "10m", "url": "https://git.invalid/bench"}
    client.apply(_object("source.toolkit.fluxcd.io/v1", "GitRepository", git))
    source = {"kind": "GitRepository", "name": NAME}
    spec = {"interval": "10m", "path": "./", "prune": False, "sourceRef": source}
    client.apply(_object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", spec))


def _object(api_version: str, kind: str, spec: JsonObject) -> JsonObject:
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _module(path: str) -> Path:
    """Find a module's files; fetched where they are not there yet."""
    argv = ["go", "mod", "download", "-json", f"{path}@{VERSION}"]
    done = subprocess.run(argv, cwd=SOURCES.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFault(Code.TOOL_BUILD_FAILED, got=done.stderr[-300:], expected=f"{path}@{VERSION}")
    return Path(json.loads(done.stdout)["Dir"])


def _await_served(connection: Connection, definition: JsonObject) -> None:
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    deadline = time.monotonic() + READY_S
    while True:
        try:
            connection.ask("get", path, limit=1)
        except EnvironmentFault:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _await_started(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while b"Starting workers" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-600:]
            raise EnvironmentFault(Code.PROCESS_DIED, got=said, expected="a controller that works")
        time.sleep(0.05)


def _artifact(manifests: Sequence[JsonObject]) -> bytes:
    """Pack manifests as source-controller does: a gzipped tar of the repository's files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = yaml.safe_dump_all(manifests).encode()
        entry = tarfile.TarInfo("manifests.yaml")
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""
