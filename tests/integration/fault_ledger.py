"""A small running ledger for tests of failing surroundings, and the commands a person would type."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from conclave import __main__ as program
from conclave.demo.stage import CLUSTER, WAIT_S, Stage
from ledger.errors import Code
from ledger.types import JsonObject


class Ledger:
    """A running ledger, and the commands a person would type."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.home = stage.home
        self.run = stage.home / "run"

    @property
    def kubeconfig(self) -> Path:
        """The devkube's."""
        return self.home / "clusters" / CLUSTER / "kubeconfig"

    def up(self) -> list[str]:
        """Start what does not run; give what runs."""
        running: list[str] = self.stage.quietly("up")["running"]
        return running

    def height(self) -> int:
        """Give the newest proven height."""
        return int(self.stage.quietly("status")["readAt"]["height"])

    def put(self, name: str, *objects: JsonObject) -> int:
        """Propose a release of ``objects`` and approve it twice; give the revision."""
        source = self.home / f"{name}.json"
        source.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        options = ("--name", name, "--namespace", "default", "--cluster", CLUSTER, "--as", "alice")
        number = str(self.stage.quietly("propose", str(source), *options)["number"])
        self.stage.quietly("approve", number, "--as", "bob")
        return int(self.stage.quietly("approve", number, "--as", "carol")["revision"])

    def release(self, name: str) -> JsonObject:
        """Give the bridge's account of a release."""
        found = self.stage.bridge_status().get("releases", {}).get(name, {})
        return found if isinstance(found, dict) else {}

    def wait_applied(self, name: str, revision: int, seconds: float = WAIT_S) -> None:
        """Wait until the bridge says that a revision is applied."""

        def applied() -> bool:
            account = self.release(name)
            return (account.get("revision"), account.get("outcome")) == (revision, "applied")

        self.stage.until(f"{name} {revision} applied", applied, seconds)

    def text(self, name: str) -> str | None:
        """Give what a ConfigMap on the cluster says."""
        live = self.stage.look("ConfigMap", name, "default")
        return None if live is None else str(live["data"]["text"])


def config_map(name: str, text: str) -> JsonObject:
    """Give a ConfigMap that says ``text``."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"text": text},
    }


def told(answer: JsonObject, code: Code) -> JsonObject:
    """Check that an answer is an error of this code that says what to do."""
    error: JsonObject = answer["error"]
    assert (error["name"], error["code"]) == (code.name, int(code)), error
    assert error["todo"]
    return error


def in_process(home: Path, *arguments: str) -> tuple[int, JsonObject]:
    """Run ``conclave`` here, so that a test can have changed the clock."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = program.run(["--home", str(home), *arguments, "-o", "json"])
    return status, json.loads(out.getvalue())
