"""The loopback port of probes and metrics."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from k8s_bridge.probes import CLIENT_TIMEOUT_S, HOST, Probes
from ledger.errors import Code, EnvironmentFault

PATIENCE_S = 60


@pytest.fixture
def probes() -> Iterator[Probes]:
    found = Probes(time.time_ns)
    yield found
    found.stop()


@pytest.mark.requires("bridge.probes")
def test_three_paths_are_served_on_loopback_and_nothing_else(probes: Probes) -> None:
    port = probes.start(0)
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics?x=1", timeout=PATIENCE_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"conclave_bridge_turn_age_seconds" in answer.read()
    for method, path, status in (
        ("GET", "/secrets", 404),
        ("GET", "/readyz", 503),
        ("POST", "/metrics", 501),
    ):
        request = urllib.request.Request(f"http://{HOST}:{port}{path}", method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=PATIENCE_S)  # noqa: S310
        assert caught.value.code == status
        caught.value.close()


@pytest.mark.requires("bridge.probes")
def test_a_silent_client_holds_nobody_up_for_long(probes: Probes) -> None:
    port = probes.start(0)
    assert CLIENT_TIMEOUT_S <= 2
    with socket.create_connection((HOST, port), timeout=PATIENCE_S) as silent:
        with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=PATIENCE_S) as answer:
            assert answer.status == 200
        assert silent.recv(1) == b"", "it was hung up on"


@pytest.mark.requires("bridge.probes")
def test_a_port_that_is_taken_has_its_code(probes: Probes) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFault) as caught:
            probes.start(port)
    assert (caught.value.code, caught.value.facts["port"]) == (Code.PORT_TAKEN, port)
