"""On a real CometBFT and API server: a bridge reports on while its identity's key is rotated."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conclave.demo.narrator import Narrator
from conclave.demo.stage import CLUSTER, Stage
from conclave.demo.story import clean_up
from consensus import release_reader
from ledger.errors import Code
from ledger.records import ReportRecord
from ledger.types import JsonObject
from tests.integration.nodes import free_base

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

NODE = "east-node"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    made = Stage(tmp_path / "ledger", Narrator(io.StringIO()), "default", None)
    try:
        made.quietly("init", "--validators", "1", "--base-port", str(free_base(2)))
        made.quietly("up")
        yield made
    finally:
        clean_up(made)


def _pass(stage: Stage, *source: str) -> JsonObject:
    number = str(stage.quietly("propose", *source, "--as", "alice")["number"])
    stage.quietly("approve", number, "--as", "bob")
    return stage.quietly("approve", number, "--as", "carol")


def _release(stage: Stage, text: str) -> int:
    """Bring a release onto the ledger and the cluster; give its revision."""
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"},
        "data": {"text": text},
    }
    source = stage.home.parent / "guestbook.json"
    source.write_text(json.dumps(manifest))
    revision = int(_pass(stage, str(source), "--name", "guestbook", "--cluster", CLUSTER)["revision"])
    stage.wait_applied(revision)
    return revision


def _report(stage: Stage) -> ReportRecord | None:
    with stage.client() as client:
        return release_reader.report(client.view(), CLUSTER, "guestbook").value


def _await_report(stage: Stage, revision: int) -> ReportRecord:
    """Give the report of a revision, proven."""

    def told() -> bool:
        found = _report(stage)
        return found is not None and found.revision == revision

    stage.until(f"a report of revision {revision}", told)
    found = _report(stage)
    assert found is not None
    return found


def _restart(stage: Stage) -> None:
    stage.quietly("down")
    stage.quietly("up")


def _reporting(stage: Stage) -> int | None:
    """Give the code of why the newest report was not sent, by the bridge's own account."""
    found = stage.bridge_status().get("reporting")
    return found.get("code") if isinstance(found, dict) else None


@pytest.mark.requires("bridge.identity")
def test_a_bridge_reports_before_and_after_its_key_is_rotated_and_never_by_the_old_one(stage: Stage) -> None:
    bootstrap = _await_report(stage, _release(stage, "zero")).reporter
    options = ("--kind", "node", "--cluster", CLUSTER, "--organisation", "a")
    identity = stage.home.parent / "node.json"
    identity.write_text(json.dumps(stage.quietly("key", "identity", NODE, *options)))
    _pass(stage, str(identity))
    did = stage.quietly("key", "serve", NODE)["did"]
    assert did.startswith("did:conclave:")
    assert did != bootstrap
    _restart(stage)
    assert _await_report(stage, _release(stage, "one")).reporter == did

    # The bridge that runs has the old key: what it says is refused, and it says so.
    stage.quietly("key", "rotate", NODE)
    revision = _release(stage, "two")
    stage.until("a report refused", lambda: _reporting(stage) == Code.KEY_NOT_ACTIVE)
    before = _report(stage)
    assert before is not None
    assert before.revision < revision

    _restart(stage)
    after = _await_report(stage, revision)
    assert (after.reporter, after.outcome) == (did, "applied")
    assert _await_report(stage, _release(stage, "three")).reporter == did
