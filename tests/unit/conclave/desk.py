"""A home whose ledger is in memory: what a verb signs is executed by the real machine and read with proof."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from abci_app.dry_run import dry_run
from abci_app.machine.context import Context
from conclave import __main__ as program
from conclave import client, home
from conclave.home import Home, Subject
from consensus.answers import QueryAnswer
from consensus.incident import FILE_NAME, IncidentFile
from consensus.speaking import DRY_RUN_PATH
from consensus.trust_store import TrustRoot
from consensus.witness import Panel
from ledger import canonical
from ledger.actions import Report
from ledger.bodies import report_body
from ledger.errors import Refused
from ledger.types import JsonObject, SubjectKind
from state.reader import Overlay
from tests.support import ledger as ledgers
from tests.support.ledger import EAST, Ledger, Node, envelope


class _Node(Node):
    """Answers dry runs too, as the application would."""

    endpoint = "http://node.test:1"

    def close(self) -> None:
        """Nothing is open."""

    def broadcast_evidence(self, evidence: JsonObject) -> bytes:
        """There is nobody to contradict it."""
        raise AssertionError(evidence)

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Answer a dry run, or give a proven value."""
        if path != DRY_RUN_PATH:
            return super().abci_query(path, data, height)
        newest, chain = self.ledger.height, self.ledger.chain
        state = Overlay(ledgers._Values(self.ledger.values[newest]))
        ctx = Context(state, newest + 1, chain.time_ns(newest) // 10**9, self.ledger.constants)
        try:
            answer = QueryAnswer(0, "", b"", canonical.dump(dry_run(ctx, data)), newest, None)
        except Refused as refusal:
            answer = QueryAnswer(int(refusal.code), str(refusal), b"", b"", newest, None)
        found: QueryAnswer = self._answer("dry_run", answer)
        return found


class Desk:
    """A person at the command line. ``ledger`` is what the commands talk to."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.path, self._capsys = path / "home", capsys
        self.ledger = Ledger()
        self.ledger.commit()
        self.ledger.commit()
        self.node = _Node(self.ledger)
        home.make_folders(self.path, ("keys", "trust"))
        subjects = tuple(self._subject(subject) for subject in ledgers.SUBJECTS)
        chain = self.ledger.chain
        home.save(Home(self.path, "test", chain.chain_id, (self.node.endpoint,), ("east", "west"), subjects))
        root = TrustRoot.at(chain.chain_id, 1, chain.trusted(1).hash)
        monkeypatch.setattr(client, "open_panel", self._panel)
        monkeypatch.setattr(client, "trust_root", lambda _: root)
        monkeypatch.setattr(client, "time", SimpleNamespace(time_ns=lambda: chain.now_ns))

    def run(self, *arguments: str, status: int = 0) -> JsonObject:
        """Run a command for a program; give its document."""
        done = program.run([*arguments, "--home", str(self.path), "-o", "json"])
        captured = self._capsys.readouterr()
        assert done == status, captured.out + captured.err
        found: JsonObject = json.loads(captured.out)
        return found

    def show(self, *arguments: str, status: int = 0) -> str:
        """Run a command for a person; give what is printed."""
        done = program.run([*arguments, "--home", str(self.path)])
        captured = self._capsys.readouterr()
        assert done == status, captured.out + captured.err
        return str(captured.out)

    def refused(self, *arguments: str, status: int = 1) -> str:
        """Run a command that is refused; give the code's name."""
        return str(self.run(*arguments, status=status)["error"]["name"])

    def approve(self, answer: JsonObject) -> None:
        """Have what a command proposed approved by two organisations."""
        assert answer["state"] == "open"
        self.run("approve", str(answer["number"]), "--as", "bob")
        assert self.run("approve", str(answer["number"]), "--as", "carol")["state"] == "final"

    def release(self, *clusters: str) -> None:
        """Bring a release onto the ledger."""
        source = self.write("guestbook/config.yaml", CONFIG_MAP)
        targets = [word for cluster in clusters or ("east",) for word in ("--cluster", cluster)]
        self.approve(self.run("propose", str(source.parent), *targets, "--as", "alice"))

    def report(self, revision: int = 1, sequence: int = 1) -> None:
        """Have the bridge of east report that all went well."""
        item = {"object": "v1/ConfigMap/default/a", "outcome": "created", "health": "current", "code": 0}
        report = Report("east", "guestbook", revision, sequence, "applied", "current", (item,))
        assert [r.code for r in self.ledger.commit(envelope(EAST, report_body(report)))] == [0]
        self.ledger.commit()

    def write(self, name: str, *documents: Any) -> Path:
        """Write a YAML file (JSON is YAML) and give its path."""
        path = self.path.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n---\n".join(json.dumps(document) for document in documents))
        return path

    def _panel(self, endpoints: tuple[str, ...], folder: Path) -> Panel:
        assert endpoints == (self.node.endpoint,)
        return Panel([self.node], IncidentFile(folder / FILE_NAME))

    def _subject(self, subject: ledgers.Subject) -> Subject:
        private = Ed25519PrivateKey.from_private_bytes(bytes(subject._key()))
        content = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self.path / "keys" / f"{subject.name}.pem"
        file.touch(0o600)
        file.write_bytes(content)
        kind = SubjectKind(subject.kind)
        uri = f"file:keys/{subject.name}.pem"
        return Subject(subject.name, subject.did, kind, subject.organisation, uri, subject.cluster)


CONFIG_MAP: JsonObject = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default"},
    "data": {"key": "1"},
}
