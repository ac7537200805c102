"""The command line against a real validator: a source becomes a final release, every answer proven."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conclave import __main__ as program
from conclave import processes
from conclave.home import NamedRoot, load
from tests.unit.conclave.paths import EXAMPLES, shared_input

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


class Cli:
    """Runs verbs in one home and reads their JSON."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *arguments: str, status: int = 0) -> Any:
        self.capsys.readouterr()
        assert program.run(["--home", str(self.home), "-o", "json", *arguments]) == status
        return json.loads(self.capsys.readouterr().out)

    def refusal(self, *arguments: str, status: int = 1) -> str:
        return str(self(*arguments, status=status)["error"]["name"])

    def approve(self, number: int, *names: str) -> str:
        state = ""
        for name in names:
            state = self("approve", str(number), "--as", name)["state"]
        return state


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    made = Cli(tmp_path / "home", capsys)
    made("init", "--validators", "1")
    try:
        made("up", "--no-bridges")
        yield made
    finally:
        program.run(["--home", str(made.home), "down"])
        assert processes.running(made.home / "run") == []


@pytest.mark.requires("cli.trust-named")
def test_a_person_names_the_root_of_trust(cli: Cli) -> None:
    cli("get", "clusters")
    shown = cli("trust")
    assert cli.refusal("trust", str(shown["height"]), "ab" * 32, status=3) == "TRUST_ROOT_MISMATCH"
    assert cli("trust")["height"] >= shown["height"]
    cli("trust", str(shown["height"]), shown["hash"])
    assert load(cli.home).root == NamedRoot(shown["height"], shown["hash"])
    (cli.home / "genesis.json").write_text("{}")
    assert cli("get", "clusters")["items"][0]["name"] == "east"


@pytest.mark.requires("cli.verify-file")
def test_a_proof_leaves_the_machine_in_a_file(cli: Cli, tmp_path: Path) -> None:
    number = cli("propose", str(EXAMPLES / "guestbook"), "--as", "alice", "--reason", "first")["number"]
    assert cli.approve(number, "bob", "carol") == "final"
    file, genesis = str(tmp_path / "guestbook-1.proof.json"), tmp_path / "genesis.json"
    done = cli("export", "proof", "release/guestbook", "--revision", "1", "-o", file)
    genesis.write_bytes((cli.home / "genesis.json").read_bytes())
    program.run(["--home", str(cli.home), "down"])
    auditor = Cli(tmp_path / "elsewhere", cli.capsys)
    newest = done["provenBy"]
    for root in (
        ("--genesis", str(genesis)),
        ("--trust-height", str(newest["height"]), "--trust-hash", newest["hash"]),
    ):
        found = auditor("verify", file, *root)
        (proposal,) = found["proposals"]
        assert [(v["name"], v["act"]) for v in proposal["voices"]] == [
            ("alice", "proposed"),
            ("bob", "approved"),
            ("carol", "approved"),
        ]
        assert proposal["reason"] == "first"
    content = Path(file).read_bytes()
    Path(file).write_bytes(content.replace(newest["hash"].upper().encode(), b"AB" * 32))
    assert auditor.refusal("verify", file, "--genesis", str(genesis), status=3)


@pytest.mark.requires("cli.story")
def test_a_release_becomes_final_and_goes_back(cli: Cli) -> None:
    guestbook = str(EXAMPLES / "guestbook")
    assert {change["change"] for change in cli("diff", guestbook)["changes"]} == {"added"}
    assert cli.refusal("propose", guestbook, "--as", "scout") == "PERMISSION_DENIED"  # it makes a Namespace
    proposed = cli("propose", guestbook, "--as", "bob")
    assert (proposed["number"], proposed["state"]) == (1, "open")
    assert cli("get", "proposal", "1")["items"][0]["dryRun"] == proposed["dryRun"]["digest"]
    assert cli("propose", guestbook, "--dry-run", "--as", "bob")["missing"]["humans"] == 2
    assert len(cli("get", "proposals")["items"]) == 1
    assert cli.approve(1, "alice") == "open"
    assert cli("verify", "proposal", "1", status=1)["verdict"] == "PROPOSAL_UNDER_APPROVED"
    assert cli("status")["items"] == []
    assert cli.refusal("approve", "1", "--as", "scout") == "AGENT_MAY_NOT_APPROVE"
    assert cli.refusal("approve", "1", "--as", "alice") == "APPROVAL_DUPLICATE"
    assert cli.approve(1, "carol") == "final"
    assert cli("diff", guestbook, "--exit-code")["revision"] == 1
    upgrade = cli("diff", str(EXAMPLES / "guestbook-v2"), "--exit-code", status=1)
    kinds = [change["change"] for change in upgrade["changes"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "added": 1,
        "changed": 2,
        "removed": 1,
        "unchanged": 4,
    }
    cli("propose", str(EXAMPLES / "guestbook-v2"), "--as", "bob")
    assert cli.approve(2, "bob", "carol") == "final"
    assert cli("rollback", "guestbook", "--to", "1", "--as", "alice")["number"] == 3
    assert cli.approve(3, "alice", "carol") == "final"
    history = cli("history", "guestbook")["items"]
    assert [(item["revision"], item["rollbackOf"]) for item in history] == [(3, 1), (2, None), (1, None)]
    assert history[0]["digest"] == history[2]["digest"]
    assert cli("verify", "release", "guestbook")["verdict"] == "verified"
    row = cli("status", "guestbook")["items"][0]
    assert (row["revision"], row["outcome"], row["cluster"]) == (3, "pending", "east")
    assert len(cli("get", "release", "guestbook")["items"][0]["manifests"]) == 7
    assert cli.refusal("get", "proposal", "99") == "PROPOSAL_UNKNOWN"
    assert cli.refusal("history", "nothing") == "RELEASE_UNKNOWN"
    assert cli.refusal("rollback", "guestbook", "--to", "9", "--as", "bob") == "REVISION_UNKNOWN"


@pytest.mark.requires("render.inputs")
def test_argo_cd_and_podinfo_become_final(cli: Cli) -> None:
    argo = ["propose", str(shared_input("argo-cd/install.yaml")), "--name", "argo-cd", "-n", "argocd"]
    assert cli.refusal(*argo, "--as", "alice") == "IMAGE_NOT_PINNED"
    pins = ["--pin", str(EXAMPLES / "pins.yaml"), "--create-namespace", "--as", "alice"]
    assert len(cli(*argo, *pins)["changes"]) == 60
    assert cli.approve(1, "bob", "carol") == "final"
    cli("propose", str(shared_input("podinfo/kustomize")), "--name", "podinfo", *pins)
    assert cli.approve(2, "bob", "carol") == "final"
    manifests = cli("get", "release", "argo-cd")["items"][0]["manifests"]
    assert sum(manifest["kind"] == "CustomResourceDefinition" for manifest in manifests) == 3
    assert cli("diff", *argo[1:], *pins[:3], "--exit-code")["revision"] == 1


@pytest.mark.requires("cli.processes")
def test_a_taken_port_is_named_and_nothing_is_left_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Cli(tmp_path / "home", capsys)
    endpoints = made("init", "--validators", "2")["endpoints"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(endpoints[1].rpartition(":")[2])))
        taken.listen()
        error = made("up", "--no-bridges", status=4)["error"]
    assert error["name"] == "PORT_TAKEN"
    assert error["facts"]["port"] == int(endpoints[1].rpartition(":")[2])
    assert processes.running(made.home / "run") == []


@pytest.mark.requires("cli.errors")
def test_a_ledger_that_is_down_says_so(cli: Cli) -> None:
    cli("down")
    assert cli.refusal("status", status=4) == "RPC_UNREACHABLE"
    assert cli("down")["stopped"] == []
