"""Homes: made whole or not at all, read strictly, keys by URI."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from abci_app.genesis import GenesisValidator, genesis_state
from conclave import __main__ as program
from conclave.client import open_key, trust_root
from conclave.home import Home, load
from ledger import records, statekeys
from ledger.authority.objects import read_approval_rule, read_stored
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.identity import read_identity
from ledger.keys import did_key
from ledger.types import SubjectKind


def init(path: Path, *arguments: str) -> int:
    return program.run(["init", "--home", str(path), "--base-port", "21000", *arguments])


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    assert init(tmp_path / "home") == 0
    capsys.readouterr()
    return load(tmp_path / "home")


@pytest.mark.requires("cli.init")
def test_init_without_options_makes_what_the_tour_uses(home: Home) -> None:
    assert [(s.name, s.kind.value, s.organisation) for s in home.subjects] == [
        ("alice", "human", "A"),
        ("bob", "human", "A"),
        ("carol", "human", "B"),
        ("scout", "agent", "A"),
        ("bridge-east", "node", "infrastructure"),
    ]
    assert home.clusters == ("east",)
    assert len(home.nodes()) == len(home.endpoints) == 4
    assert [home.endpoints[0], home.endpoints[3]] == ["http://127.0.0.1:21001", "http://127.0.0.1:21007"]
    for subject in home.subjects:
        assert open_key(home, subject).did == subject.did
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.path / "ledger.json").stat().st_mode) == 0o600


@pytest.mark.requires("cli.init")
def test_the_machine_accepts_the_genesis_that_init_writes(home: Home) -> None:
    genesis = json.loads(home.genesis.read_bytes())
    validators = [
        GenesisValidator(base64.b64decode(entry["pub_key"]["value"]), int(entry["power"]))
        for entry in genesis["validators"]
    ]
    app_state = json.dumps(genesis["app_state"]).encode()
    state = genesis_state(app_state, genesis["chain_id"], validators)
    rule = read_approval_rule(read_stored(state[statekeys.ledger_object("ApprovalRule", "default")]))
    assert (rule.require.humans, rule.require.organisations) == (2, 2)
    identity = read_identity(state[statekeys.identity(home.subject("scout").did)])
    assert (identity.kind, identity.organisation) == (SubjectKind.AGENT, "A")
    assert records.read_parameters(state[statekeys.PARAMETERS]).image_digest_required
    bound = records.read_validators(state[statekeys.VALIDATORS]).validators
    assert [(v.name, v.node) for v in bound] == [
        (f"node{i}", did_key(v.public_key)) for i, v in enumerate(validators)
    ]
    node = read_identity(state[statekeys.identity(did_key(validators[0].public_key))])
    assert (node.kind, node.name, node.cluster) == (SubjectKind.NODE, "node0", None)
    assert trust_root(home).chain_id == home.chain_id
    assert home.genesis.read_bytes() == (home.node(3) / "config" / "genesis.json").read_bytes()


@pytest.mark.requires("cli.init")
def test_init_options_reach_the_genesis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--validators",
        "1",
        "--human",
        "ann:ops",
        "--human",
        "ben:sec",
        "--agent",
        "bot",
        "-o",
        "json",
    ]
    arguments += [
        "--cluster",
        "n",
        "--cluster",
        "s",
        "--rule",
        "humans=1,organisations=1",
        "--no-require-digest",
    ]
    assert init(tmp_path / "h", *arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    state = json.loads((tmp_path / "h" / "genesis.json").read_bytes())["app_state"]
    assert state["parameters"]["imageDigestRequired"] is False
    (rule,) = [entry for entry in state["objects"] if entry["kind"] == "ApprovalRule"]
    assert (rule["spec"]["require"]["humans"], rule["spec"]["require"]["organisations"]) == (1, 1)
    names = [entry["name"] for entry in state["identities"]]
    assert names == ["ann", "ben", "bot", "bridge-n", "bridge-s", "node0"]
    assert shown["clusters"] == ["n", "s"]
    assert shown["chainId"].startswith("conclave-")


@pytest.mark.requires("cli.init")
def test_two_inits_make_two_chains(tmp_path: Path) -> None:
    assert init(tmp_path / "a", "--validators", "1") == 0
    assert init(tmp_path / "b", "--validators", "1") == 0
    assert load(tmp_path / "a").chain_id != load(tmp_path / "b").chain_id


@pytest.mark.requires("cli.init")
def test_a_home_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keep").write_text("mine")
    assert init(tmp_path) == 4
    assert "HOME_EXISTS" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


@pytest.mark.requires("cli.init")
@pytest.mark.parametrize(
    ("arguments", "name", "status"),
    [
        (["--human", "ann:ops"], "GENESIS_INVALID", 1),
        (["--rule", "humans=4,organisations=2"], "GENESIS_INVALID", 1),
        (["--rule", "humans=0,organisations=1"], "USAGE", 2),
        (["--rule", "anything"], "USAGE", 2),
        (["--human", "ann"], "USAGE", 2),
        (["--human", "ann:a", "--human", "ann:b"], "USAGE", 2),
        (["--human", "node0:a", "--human", "ann:b"], "USAGE", 2),
        (["--human", "Ann:a", "--human", "ben:b"], "FIELD_INVALID", 1),
        (["--cluster", "-"], "FIELD_INVALID", 1),
    ],
)
def test_a_failed_init_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], name: str, status: int
) -> None:
    assert init(tmp_path / "h", *arguments) == status
    assert name in capsys.readouterr().err
    assert not (tmp_path / "h").exists()


@pytest.mark.requires("cli.home")
def test_who_speaks_must_be_named_where_there_is_a_choice(home: Home) -> None:
    assert home.speaker("scout").name == "scout"
    with pytest.raises(Refused) as refusal:
        home.speaker(None)
    assert refusal.value.code is Code.USAGE
    assert "alice, bob, carol" in refusal.value.expected
    with pytest.raises(Refused) as refusal:
        home.speaker("mallory")
    assert refusal.value.code is Code.NAME_UNKNOWN
    alone = Home(home.path, "a", "a", (), (), (home.subject("scout"), home.subject("bob")))
    assert alone.speaker(None).name == "bob"


@pytest.mark.requires("cli.home")
def test_a_key_that_is_not_the_subjects_is_refused(home: Home) -> None:
    (home.path / "keys" / "bob.pem").rename(home.path / "keys" / "alice.pem")
    with pytest.raises(Refused) as refusal:
        open_key(home, home.subject("alice"))
    assert refusal.value.code is Code.KEY_NOT_OF_SIGNER


@pytest.mark.requires("cli.home")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"name": 1}',
        b'{"name":"a","chainId":"b","endpoints":[],"clusters":[],"subjects":[]}',
    ],
)
def test_a_damaged_home_is_named(home: Home, content: bytes) -> None:
    (home.path / "ledger.json").write_bytes(content)
    with pytest.raises(EnvironmentFault) as refusal:
        load(home.path)
    assert refusal.value.code is Code.HOME_INVALID
    assert refusal.value.facts["file"] == str(home.path / "ledger.json")


@pytest.mark.requires("cli.home")
def test_a_damaged_genesis_is_named(home: Home) -> None:
    home.genesis.write_bytes(b"{}")
    with pytest.raises(EnvironmentFault) as refusal:
        trust_root(home)
    assert refusal.value.facts["file"] == str(home.genesis)
    home.genesis.unlink()
    with pytest.raises(EnvironmentFault) as refusal:
        trust_root(home)
    assert refusal.value.code is Code.HOME_INVALID


@pytest.mark.requires("cli.home")
def test_new_keys_are_remembered_and_listed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--home", str(home.path)]
    assert program.run(["key", "new", "dave", "--organisation", "C", *at, "-o", "json"]) == 0
    did = json.loads(capsys.readouterr().out)["did"]
    assert program.run(["key", "show", "dave", *at, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["did"] == did
    assert program.run(["key", "list", *at]) == 0
    listing = capsys.readouterr().out
    assert did in listing
    assert "PRIVATE" not in listing
    assert program.run(["key", "new", "dave", "--organisation", "C", *at]) == 2
