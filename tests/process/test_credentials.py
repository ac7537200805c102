"""A token that is replaced on disk while the bridge runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import urllib3
import yaml
from kubernetes.client.configuration import Configuration

from k8s_bridge.connection import connect
from k8s_bridge.credentials import PAUSE_S, Credentials
from ledger.errors import Code, EnvironmentFault


class OneToken(BaseHTTPRequestHandler):
    """Accepts one token at a time."""

    accepted: ClassVar[str] = ""
    refused: ClassVar[int] = 0

    def do_GET(self) -> None:
        good = self.headers.get("Authorization") == f"Bearer {OneToken.accepted}"
        OneToken.refused += not good
        answer = {} if good else {"kind": "Status", "code": 401, "message": "Unauthorized"}
        body = f"{json.dumps(answer)}\n".encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), OneToken)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    OneToken.refused = 0
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _kubeconfig(folder: Path, server: str, user: dict[str, str]) -> str:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.requires("bridge.token-rotated")
def test_a_token_file_that_was_replaced_is_read_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_bridge.credentials.PAUSE_S", 0.0)
    token = tmp_path / "token"
    token.write_text("one")
    connection = connect(_kubeconfig(tmp_path, server, {"tokenFile": str(token)}), {})
    OneToken.accepted = "one"
    assert connection.ask("get", "/api")[0] == 200
    OneToken.accepted = "two"
    with pytest.raises(EnvironmentFault) as caught:
        connection.ask("get", "/api")
    assert (caught.value.code, caught.value.facts["status"]) == (Code.KUBERNETES_REFUSED, 401)
    assert "token" in caught.value.todo
    token.write_text("two")
    assert connection.ask("get", "/api")[0] == 200
    connection.close()


@pytest.mark.requires("bridge.token-rotated")
def test_a_token_in_the_kubeconfig_is_read_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_bridge.credentials.PAUSE_S", 0.0)
    OneToken.accepted = "two"
    connection = connect(_kubeconfig(tmp_path, server, {"token": "one"}), {})
    _kubeconfig(tmp_path, server, {"token": "two"})
    assert list(connection.events("/api", silence_s=60)) == [{}]
    # Half a file, as a careless editor leaves it: what was there is kept.
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nclusters:")
    assert connection.ask("get", "/api")[0] == 200
    OneToken.accepted = "three"
    with pytest.raises(EnvironmentFault):
        connection.ask("get", "/api")
    connection.close()


@pytest.mark.requires("bridge.token-rotated")
def test_many_who_are_turned_away_read_once() -> None:
    now, reads, taken = [0.0], [0], list[Configuration]()

    def load() -> Configuration:
        reads[0] += 1
        return Configuration()

    credentials = Credentials(load, lambda: now[0])
    first = credentials.count
    assert [credentials.again(first, taken.append) for _ in range(5)] == [True] * 5
    assert reads == [1]
    assert not credentials.again(credentials.count, taken.append)
    now[0] = PAUSE_S
    assert credentials.again(credentials.count, taken.append)
    assert (reads, len(taken)) == ([2], 2)


class _Untrusted:
    """A client whose server shows a certificate of another authority."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise urllib3.exceptions.SSLError("certificate verify failed")


@pytest.mark.requires("bridge.token-rotated")
def test_an_authority_that_was_replaced_is_read_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_bridge.credentials.PAUSE_S", 0.0)
    OneToken.accepted = "one"
    path = _kubeconfig(tmp_path, server, {"token": "one"})
    connection = connect(path, {})
    connection._dynamic = _Untrusted()
    assert connection.ask("get", "/api")[0] == 200
    connection._dynamic = _Untrusted()
    Path(path).unlink()
    with pytest.raises(EnvironmentFault) as caught:
        connection.ask("get", "/api")
    assert caught.value.code is Code.KUBERNETES_UNREACHABLE
    connection.close()
