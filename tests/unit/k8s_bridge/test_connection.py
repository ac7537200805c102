"""Finding the API server, and what the wire does when it misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from kubernetes.client.configuration import Configuration

from k8s_bridge import connection as wire
from k8s_bridge.bounds import RETRIES_MAX
from k8s_bridge.connection import Connection, connect
from ledger.errors import Code, EnvironmentFault


class Scripted(BaseHTTPRequestHandler):
    """Answers with the next of ``script``: (status, headers, body)."""

    script: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []

    def do_GET(self) -> None:
        status, headers, body = self.script.pop(0)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def server(slept: list[float]) -> Iterator[Connection]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{httpd.server_address[1]}"
    connection = Connection(configuration, sleep=slept.append)
    yield connection
    connection.close()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _status(code: int, message: str) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": "Because", "message": message}).encode()


@pytest.mark.requires("bridge.wire-bounds")
def test_patience_is_shown_as_asked_and_bounded(server: Connection, slept: list[float]) -> None:
    busy = _status(429, "storage is (re)initializing")
    Scripted.script = [
        (429, {"Retry-After": "1"}, busy),
        (429, {"Retry-After": "9999"}, busy),
        (200, {}, b"{}"),
    ]
    assert server.ask("get", "/api") == (200, {})
    assert slept == [1.0, wire.RETRY_AFTER_S_MAX]


@pytest.mark.requires("bridge.wire-bounds")
def test_patience_ends(server: Connection, slept: list[float]) -> None:
    Scripted.script = [(429, {"Retry-After": "1"}, _status(429, "busy"))] * 20
    with pytest.raises(EnvironmentFault) as caught:
        server.ask("get", "/api")
    assert len(slept) == RETRIES_MAX
    assert (caught.value.facts["status"], caught.value.facts["permanent"]) == (429, False)


@pytest.mark.requires("bridge.wire-bounds")
@pytest.mark.parametrize(
    ("status", "message", "permanent"),
    [(403, "no", False), (404, "namespaces", False), (422, "immutable", True), (413, "limit", True),
     (500, "failed to create typed patch object (x)", True), (500, "etcdserver: request is too large", True),
     (500, "etcd", False), (409, "modified", False)],
)  # fmt: skip
def test_refusals_are_translated_with_their_facts(
    server: Connection, status: int, message: str, permanent: bool
) -> None:
    Scripted.script = [(status, {}, _status(status, message))]
    with pytest.raises(EnvironmentFault) as caught:
        server.ask("get", "/api", about="v1/ConfigMap/a/b")
    facts = caught.value.facts
    assert caught.value.code is (Code.KUBERNETES_FORBIDDEN if status == 403 else Code.KUBERNETES_REFUSED)
    assert (facts["status"], facts["reason"], facts["object"]) == (status, "Because", "v1/ConfigMap/a/b")
    assert facts["permanent"] is permanent
    assert message in caught.value.got


@pytest.mark.requires("bridge.wire-bounds")
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_not_an_api_server(server: Connection, body: bytes) -> None:
    Scripted.script = [(200, {}, body)]
    with pytest.raises(EnvironmentFault) as caught:
        server.ask("get", "/api")
    assert caught.value.code is Code.KUBERNETES_UNREACHABLE


@pytest.mark.requires("bridge.wire-bounds")
def test_an_answer_is_read_up_to_a_bound(server: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ANSWER_BYTES_MAX", 1000)
    Scripted.script = [(200, {}, b'{"a":"' + b"x" * 5000 + b'"}')]
    with pytest.raises(EnvironmentFault) as caught:
        server.ask("get", "/api")
    assert caught.value.code is Code.KUBERNETES_REFUSED


@pytest.mark.requires("bridge.wire-bounds")
def test_events_are_split_at_lines_and_bounded(server: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted.script = [(200, {}, b'{"type":"ADDED"}\n\n{"type":"DELETED"}\n{"type":"cut')]
    assert [e["type"] for e in server.events("/api", silence_s=60)] == ["ADDED", "DELETED"]
    monkeypatch.setattr(wire, "EVENT_BYTES_MAX", 100)
    Scripted.script = [(200, {}, b'{"type":"' + b"x" * 1000)]
    with pytest.raises(EnvironmentFault):
        list(server.events("/api", silence_s=60))


@pytest.mark.requires("bridge.unreachable")
def test_a_dead_server_is_unreachable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    connection = Connection(configuration)
    with pytest.raises(EnvironmentFault) as caught:
        connection.ask("get", "/api")
    assert caught.value.code is Code.KUBERNETES_UNREACHABLE
    connection.close()


GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


@pytest.mark.requires("bridge.kubeconfig")
def test_a_good_kubeconfig_is_taken_from_the_option_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(GOOD))
    for found in (connect(str(path), {}), connect(None, {"KUBECONFIG": str(path)})):
        assert found.server == "https://127.0.0.1:1"
        found.close()


@pytest.mark.requires("bridge.kubeconfig")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "just text",
        "\x00",
        yaml.safe_dump({**GOOD, "current-context": "other"}),
        yaml.safe_dump({**GOOD, "clusters": []}),
        yaml.safe_dump({**GOOD, "clusters": [{"name": "c"}]}),
        yaml.safe_dump({**GOOD, "clusters": [{"name": "c", "cluster": {"server": "nowhere"}}]}),
        yaml.safe_dump({**GOOD, "contexts": 3}),
        yaml.safe_dump({**GOOD, "kind": "Pod"}),
        yaml.safe_dump({**GOOD, "users": ["u"]}),
        yaml.safe_dump({**GOOD, "contexts": [{"name": 1, "context": {}}]}),
        "[" * 5000,
        "a: &a [1]\nb: *a\n",
        "x: y: z",
    ],
)
def test_a_wrong_kubeconfig_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(EnvironmentFault) as caught:
        connect(str(path), {}).close()
    assert (caught.value.code, caught.value.facts["file"]) == (Code.KUBECONFIG_INVALID, str(path))
    assert caught.value.todo
    assert "Error" not in caught.value.got


@pytest.mark.requires("bridge.kubeconfig")
def test_no_kubeconfig_at_all_is_refused(tmp_path: Path) -> None:
    for path, environ in ((str(tmp_path / "absent"), {}), (None, {}), (None, {"KUBECONFIG": str(tmp_path)})):
        with pytest.raises(EnvironmentFault) as caught:
            connect(path, environ)
        assert caught.value.code is Code.KUBECONFIG_INVALID
