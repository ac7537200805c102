"""``conclave export proof`` and ``conclave verify FILE``: from a ledger to a file, and from a file alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.light.render import validators_json
from consensus.light.timestamp import format_time
from consensus.light.types import SECOND_NS, LightBlock
from ledger.errors import Code, EnvironmentFault
from tests.support.chain import set_of
from tests.support.ledger import ALICE, CAROL
from tests.unit.conclave.desk import Desk

ROOT = Path(__file__).resolve().parents[3]
REFUSED, USAGE, VERIFICATION, ENVIRONMENT = 1, 2, 3, 4


@pytest.fixture
def proof(desk: Desk, tmp_path: Path) -> Path:
    """A proof of the first revision of a release."""
    desk.ledger.release()
    desk.ledger.commit()
    file = tmp_path / "web-1.proof.json"
    desk.run("export", "proof", "release/guestbook", "--revision", "1", "-o", str(file))
    return file


@pytest.fixture
def genesis(desk: Desk, tmp_path: Path) -> Path:
    """The genesis file of the desk's ledger."""
    chain = desk.ledger.chain
    validators = [
        {**v, "power": v["voting_power"], "name": ""} for v in validators_json(set_of(chain.members[1]))
    ]
    document = {"chain_id": chain.chain_id, "initial_height": "1", "validators": validators, "app_state": {}}
    file = tmp_path / "genesis.json"
    file.write_text(json.dumps(document))
    return file


def _at(desk: Desk, later_s: int = 1) -> tuple[str, str]:
    return "--at", format_time(desk.ledger.chain.now_ns + later_s * SECOND_NS)


@pytest.mark.requires("cli.export-proof")
def test_an_export_says_how_to_verify_it(desk: Desk, proof: Path, tmp_path: Path) -> None:
    said = desk.show("export", "proof", "release/guestbook", "-o", str(tmp_path / "again.json"))
    newest = desk.ledger.chain.trusted(desk.ledger.height)
    assert f"--trust-height {newest.height} --trust-hash {newest.hash.hex()}" in said
    assert (tmp_path / "again.json").read_bytes() == proof.read_bytes()
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.requires("cli.export-proof")
@pytest.mark.parametrize("what", ["proposal/1", "Cluster/east", "identity/alice", "key/nothing", "headers"])
def test_everything_that_can_be_exported_verifies(
    desk: Desk, tmp_path: Path, genesis: Path, what: str
) -> None:
    desk.ledger.release()
    desk.ledger.commit()
    file = tmp_path / "p.json"
    desk.run("export", "proof", what, "-o", str(file))
    found = desk.run("verify", str(file), "--genesis", str(genesis), *_at(desk))
    assert (found["verdict"], found["isAbsent"]) == ("verified", what == "key/nothing")
    named = desk.run("export", "proof", what, "--from", "3", "-o", str(file))
    assert named["from"] == {"height": 3, "hash": desk.ledger.chain.trusted(3).hash.hex()}


@pytest.mark.requires("cli.export-proof")
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("release/guestbook",), USAGE),
        (("release/guestbook", "-o", "json"), USAGE),
        (("release/guestbook", "-o", "a", "-o", "b"), USAGE),
        (("release", "-o", "a"), USAGE),
        (("proposal/1", "--revision", "1", "-o", "a"), USAGE),
        (("release/none", "-o", "a"), REFUSED),
        (("release/guestbook", "--revision", "9", "-o", "a"), REFUSED),
        (("proposal/99", "-o", "a"), REFUSED),
        (("headers", "--from", "999", "-o", "a"), REFUSED),
        (("headers", "-o", "nowhere/a"), ENVIRONMENT),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int
) -> None:
    desk.ledger.release()
    desk.ledger.commit()
    monkeypatch.chdir(tmp_path)
    desk.run("export", "proof", *arguments, status=status)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


@pytest.mark.requires("cli.export-proof")
def test_with_an_expired_root_the_proof_begins_at_the_newest_header(desk: Desk, tmp_path: Path) -> None:
    desk.run("get", "clusters")
    desk.ledger.chain._step_ns = 24 * 3600 * SECOND_NS
    for _ in range(10):
        desk.ledger.commit()
        desk.run("get", "clusters")
    for _ in range(6):
        desk.ledger.commit()
    newest = desk.ledger.height
    done = desk.run("export", "proof", "Cluster/east", "-o", str(tmp_path / "p.json"))
    assert (done["from"]["height"], done["fromGenesis"]) == (newest, False)


@pytest.mark.requires("cli.export-proof")
def test_with_a_root_the_node_has_pruned_the_proof_begins_at_the_newest_header(
    desk: Desk, tmp_path: Path
) -> None:
    desk.run("get", "clusters")

    def pruned(block: LightBlock) -> LightBlock:
        if block.height < 2:
            raise EnvironmentFault(Code.RPC_REFUSED, got=block.height)
        return block

    desk.node.lies["light_block"] = pruned
    done = desk.run("export", "proof", "Cluster/east", "-o", str(tmp_path / "p.json"))
    assert done["from"]["height"] == desk.ledger.height


@pytest.mark.requires("cli.verify-file")
def test_the_report_tells_who_what_when_and_by_whose_signatures(
    desk: Desk, proof: Path, genesis: Path
) -> None:
    said = desk.show("verify", str(proof), "--genesis", str(genesis), *_at(desk))
    for word in (
        "VERIFIED",
        "revision 1 of release guestbook",
        "alice",
        "carol",
        "approved it",
        ALICE.key_id,
    ):
        assert word in said
    assert "signed by 4 of 4 validators with 100.0 % of the power" in said
    assert "as you said" in said
    found = desk.run("verify", str(proof), "--genesis", str(genesis), *_at(desk))
    (proposal,) = found["proposals"]
    voices = [(v["act"], v["did"], v["height"], v["inBlock"], v["counted"]) for v in proposal["voices"]]
    assert voices == [
        ("proposed", ALICE.did, 3, True, True),
        ("approved", ALICE.did, 4, True, True),
        ("approved", CAROL.did, 5, True, True),
    ]
    assert (found["asOfNamed"], found["stateHeight"], found["root"]["kind"]) == (True, 5, "genesis")
    assert proposal["finalBy"]["power"] == {"signed": 40, "total": 40}
    assert found["release"]["manifests"][0]["data"] == {"text": "hello"}


@pytest.mark.requires("cli.verify-file")
def test_exit_codes_tell_what_happened(desk: Desk, proof: Path, genesis: Path, tmp_path: Path) -> None:
    digest = desk.ledger.chain.trusted(1).hash.hex()
    trusted = ("--genesis", str(genesis))
    desk.run("verify", str(proof), "--trust-height", "1", "--trust-hash", digest, *_at(desk))
    broken = tmp_path / "broken.json"
    broken.write_bytes(proof.read_bytes().replace(b"hello", b"hullo") + b" ")
    usage: list[tuple[str, ...]] = [
        (str(proof),),
        (str(proof), *trusted, "--trust-height", "1"),
        (str(proof), "--trust-hash", digest),
        (str(proof), *trusted, "--at", "yesterday"),
        (str(proof), *trusted, "--revision", "1"),
        (str(proof), "guestbook", *trusted),
        ("release", "guestbook", *trusted),
    ]
    for arguments in usage:
        assert desk.run("verify", *arguments, status=USAGE)["error"]["name"] == "USAGE"
    failing = {
        ("verify", str(broken), *trusted): VERIFICATION,
        ("verify", str(proof), "--trust-height", "1", "--trust-hash", "ab" * 32, *_at(desk)): VERIFICATION,
        ("verify", str(tmp_path / "none.json"), *trusted): ENVIRONMENT,
        ("verify", str(proof), "--genesis", str(broken)): REFUSED,
    }
    for arguments, status in failing.items():
        assert desk.run(*arguments, status=status)["verdict"]
    later = desk.run("verify", str(proof), *trusted, *_at(desk, 15 * 24 * 3600), status=VERIFICATION)
    assert later["verdict"] == "TRUST_EXPIRED"
    assert "--at " in later["error"]["todo"]


_OFFLINE = """
import sys
from conclave import __main__ as program
status = program.run(sys.argv[1:])
clients = {"socket", "_socket", "ssl", "http.client", "urllib.request", "asyncio", "urllib3", "consensus.rpc"}
sys.exit(90 if clients & set(sys.modules) else status)
"""


@pytest.mark.requires("proof-file.no-network")
def test_judging_a_file_loads_no_network_client(desk: Desk, proof: Path, genesis: Path) -> None:
    argv = [sys.executable, "-c", _OFFLINE, "verify", str(proof), "--genesis", str(genesis), *_at(desk)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CONCLAVE_HOME": "/nowhere"}
    done = subprocess.run([*argv, "-o", "json"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "verified"
    online = [sys.executable, "-c", _OFFLINE, "verify", "release", "guestbook"]
    told = subprocess.run(online, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 90  # what the check above would have seen
