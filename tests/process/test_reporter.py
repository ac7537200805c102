"""What the reporter does when the ledger does not take a report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import Code, EnvironmentFault
from tests.conformance.__main__ import answer_line, suite_named
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import namespace_object

PATIENCE_S = 60


@pytest.mark.requires("bridge.reports")
def test_a_report_that_cannot_be_sent_is_tried_again(tmp_path: Path) -> None:
    cluster = FakeCluster()
    cluster.put(namespace_object("guestbook"))
    bridge = Bridge(Ledger(), cluster, tmp_path)
    bridge.ledger.release("one")
    bridge.ledger.commit()
    bridge.turn()
    reporter = bridge.reporter()
    attempts: list[Any] = []
    done = threading.Event()

    def send(found: Any) -> bool:
        attempts.append((found, reporter.last_error))
        if len(attempts) == 1:
            raise EnvironmentFault(Code.RPC_UNREACHABLE, got="down")
        done.set()
        return True

    reporter.send = send  # type: ignore[method-assign,assignment]
    reporter.offer(bridge.offered.findings[-1])
    reporter.start()
    assert done.wait(PATIENCE_S)
    reporter.stop(PATIENCE_S)
    (first, before), (second, between) = attempts
    assert first is second
    assert before is None
    assert between is not None
    assert between.code is Code.RPC_UNREACHABLE
    assert reporter.last_error is None


@pytest.mark.requires("bridge.health")
def test_the_conformance_door_opens_onto_health() -> None:
    suite = suite_named("health")
    pod = b'{"id": 7, "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}}'
    assert answer_line(suite, pod) == {"id": 7, "verdict": "in_progress", "reason": "not observed yet"}
    assert answer_line(suite, b'{"id": 8, "object": 3}')["verdict"] == "refused"
