"""``conclave trust``: from a height and hash, from a signed bundle, and the log of why."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from conclave.home import load
from conclave.verbs import trust
from consensus.incident import FILE_NAME
from consensus.trust_bundle import decode
from consensus.trust_store import TrustStore
from ledger import canonical
from tests.support.ledger import BOB, EAST
from tests.unit.conclave.desk import Desk

USAGE, VERIFICATION = 2, 3


@pytest.fixture
def named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Height and hash of a header that a person could read out."""
    monkeypatch.setattr(trust, "RpcClient", lambda _: desk.node)
    monkeypatch.setattr(trust, "time", SimpleNamespace(time_ns=lambda: desk.ledger.chain.now_ns))
    desk.run("get", "clusters")
    desk.ledger.commit()
    return "3", desk.ledger.chain.trusted(3).hash.hex()


@pytest.mark.requires("trust.reset")
def test_beginning_anew_keeps_what_was_believed_and_the_reason(desk: Desk, named: tuple[str, str]) -> None:
    desk.run("trust", *named, "--reason", "off for a month")
    home = load(desk.path)
    assert home.root is not None
    assert (home.root.height, home.root.hash) == (3, named[1])
    state = TrustStore(home.client_trust).load()
    assert state is not None
    assert (state.root.height, state.root.hash) == (3, bytes.fromhex(named[1]))
    kinds = [entry["kind"] for entry in desk.run("trust", "--log")["entries"]]
    assert kinds[:2] == ["root", "header"]
    assert kinds[-2:] == ["reset", "header"]
    said = desk.show("trust", "--log")
    assert "off for a month" in said
    assert "verified" in said


@pytest.mark.requires("trust.reset")
def test_a_wrong_hash_changes_nothing(desk: Desk, named: tuple[str, str]) -> None:
    home = load(desk.path)
    before = (home.client_trust.read_bytes(), (desk.path / "ledger.json").read_bytes())
    desk.run("trust", named[0], "ab" * 32, status=VERIFICATION)
    assert (home.client_trust.read_bytes(), (desk.path / "ledger.json").read_bytes()) == before


@pytest.mark.requires("witness.halts")
def test_an_incident_halts_every_command_until_a_person_names_a_header(
    desk: Desk, named: tuple[str, str]
) -> None:
    halted = load(desk.path).client_trust.with_name(FILE_NAME)
    halted.write_bytes(b"{}")
    for words in (("get", "clusters"), ("trust",)):
        assert desk.refused(*words, status=VERIFICATION) == "HEADERS_DIVERGED"
    desk.run("trust", named[0], "ab" * 32, status=VERIFICATION)
    assert halted.exists()
    desk.run("trust", *named, "--reason", "the others forked")
    assert not halted.exists()
    assert [path.read_bytes() for path in halted.parent.glob("resolved-*.json")] == [b"{}"]


@pytest.mark.requires("trust.bundle")
def test_two_people_vouch_and_a_third_begins_from_it(
    desk: Desk, named: tuple[str, str], tmp_path: Path
) -> None:
    del named
    file = tmp_path / "root.json"
    desk.run("trust", "--sign", str(file), "--as", "alice")
    desk.ledger.commit()
    desk.run("trust", "--sign", str(file), "--as", "carol")
    signers = [found for did in (_did(desk, "alice"), _did(desk, "carol")) for found in ("--signer", did)]
    assert len(decode(file.read_bytes()).signatures) == 2
    honest = file.read_bytes()
    forged = json.loads(honest)
    forged["hash"] = "ab" * 32
    file.write_bytes(canonical.dump(forged))
    desk.run("trust", "--sign", str(file), "--as", "alice", status=VERIFICATION)
    desk.run("trust", "--bundle", str(file), *signers, status=VERIFICATION)
    file.write_bytes(honest)
    strangers = ("--signer", BOB.did, "--signer", EAST.did, "--need", "1")
    desk.run("trust", "--bundle", str(file), *strangers, status=VERIFICATION)
    done = desk.run("trust", "--bundle", str(file), *signers)
    assert done["height"] == decode(honest).height
    assert done["by"].startswith("bundle signed by ")


@pytest.mark.requires("trust.bundle")
@pytest.mark.parametrize(
    "arguments",
    [("3",), ("--bundle", "x"), ("--signer", "x"), ("--log", "--sign", "x"), ("3", "ab" * 32, "--log")],
)
def test_a_mixture_is_wrong_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk.run("trust", *arguments, status=USAGE)["error"]["name"] == "USAGE"


def _did(desk: Desk, name: str) -> str:
    return load(desk.path).subject(name).did
