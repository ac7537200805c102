"""A metrics API that a test decides about, behind a real API server's aggregation.

A small HTTPS server of the test answers ``metrics.k8s.io/v1beta1``; an ``APIService`` over an
``ExternalName`` service makes the API server pass such requests on to it. What pods use
is what the test says they share.
"""

from __future__ import annotations

import datetime as dt
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.types import JsonObject

GROUP_VERSION = "metrics.k8s.io/v1beta1"
NAMESPACE = "kube-system"
_RESOURCES: JsonObject = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP_VERSION,
    "resources": [
        {
            "name": "pods",
            "singularName": "",
            "namespaced": True,
            "kind": "PodMetrics",
            "verbs": ["get", "list"],
        }
    ],
}


@dataclass
class Load:
    """What the pods of a namespace use together, in thousandths of a core; None: nobody knows."""

    milli: int | None


def registration(port: int) -> list[JsonObject]:
    """Give the objects that make an API server ask ``127.0.0.1:port``."""
    service = {"name": "metrics", "namespace": NAMESPACE, "port": port}
    group, version = GROUP_VERSION.split("/")
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "metrics", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group,
                "version": version,
                "service": service,
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]


@contextmanager
def serving(folder: Path, load: Load, pods: Callable[[str], list[JsonObject]]) -> Iterator[int]:
    """Serve what pods would use that share a load, on a free port of 127.0.0.1, and give it.

    Args:
        folder: for the certificate.
        load: looked at on every request.
        pods: gives the pods of a namespace.
    """
    with serving_measured(folder, lambda namespace: _measured(load, pods(namespace))) as port:
        yield port


@contextmanager
def serving_measured(folder: Path, measured: Callable[[str], list[JsonObject]]) -> Iterator[int]:
    """Serve on a free port of 127.0.0.1, and give it.

    Args:
        folder: for the certificate.
        measured: gives the ``PodMetrics`` of a namespace, asked on every request.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(measured))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    # The handshake is the handler's: who connects and keeps silent holds up neither others nor the end.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def _handler(measured: Callable[[str], list[JsonObject]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:3] != ["apis", *GROUP_VERSION.split("/")]:
                self._answer(404, {"kind": "Status", "apiVersion": "v1", "code": 404, "status": "Failure"})
            elif len(parts) == 6 and parts[3] == "namespaces":
                kind = {"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}}
                self._answer(200, {**kind, "items": measured(parts[4])})
            else:
                self._answer(200, _RESOURCES)

        def _answer(self, status: int, content: JsonObject) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    return Handler


def _measured(load: Load, pods: list[JsonObject]) -> list[JsonObject]:
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if load.milli is None or not running:
        return []
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    usage = {"cpu": f"{load.milli * 1_000_000 // len(running)}n", "memory": "20Mi"}
    return [
        {
            "metadata": {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]},
            "timestamp": now,
            "window": "2s",
            "containers": [{"name": "main", "usage": usage}],
        }
        for pod in running
    ]


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "metrics")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "metrics.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
