"""Verbs that change the ledger: what is signed is what was asked for, and the machine takes it."""

from __future__ import annotations

import click
import pytest
import yaml

from conclave.command import Session
from conclave.completion import release_names
from conclave.home import load
from conclave.output import Output
from consensus.node.genesis import NodeKey, write_node_files
from consensus.node.spec import NodePaths
from ledger import records, standard, statekeys
from ledger.keys import key_id
from ledger.types import JsonObject
from tests.support.ledger import ALICE, BOB
from tests.unit.conclave.desk import CONFIG_MAP, Desk
from tests.unit.conclave.paths import EXAMPLES

ROLE = standard.ledger_object(
    "Role",
    "reader",
    {
        "rules": [
            {
                "effect": "allow",
                "verbs": ["propose"],
                "kinds": ["ConfigMap"],
                "namespaces": ["*"],
                "clusters": ["*"],
                "names": ["*"],
            }
        ]
    },
)


def only(answer: JsonObject) -> JsonObject:
    (item,) = answer["items"]
    found: JsonObject = item
    return found


@pytest.mark.requires("cli.objects")
def test_ledger_objects_are_put_by_one_proposal_in_the_order_they_need(desk: Desk) -> None:
    binding = standard.binding("reader-bob", BOB.did, "reader")
    folder = desk.write("objects/1.yaml", binding).parent
    desk.write("objects/2.yaml", ROLE)
    answer = desk.run("propose", str(folder), "--reason", "bob reads", "--as", "alice")
    assert answer["put"] == ["Role/reader", "RoleBinding/reader-bob"]
    assert "+ RoleBinding/reader-bob" in desk.show("approve", "1", "--as", "bob", "--yes")
    desk.run("approve", "1", "--as", "carol")
    assert only(desk.run("get", "role", "reader"))["spec"] == ROLE["spec"]
    assert only(desk.run("get", "binding", "reader-bob"))["spec"]["subject"] == BOB.did
    assert only(desk.run("get", "proposal", "1"))["reason"] == "bob reads"
    assert "configure put/Role/reader" in desk.show("get", "proposals")


@pytest.mark.requires("cli.objects")
def test_the_example_of_ledger_objects_is_taken_by_the_machine(desk: Desk) -> None:
    answer = desk.run("propose", str(EXAMPLES / "constitution"), "--as", "alice")
    assert answer["put"] == ["Cluster/east", "Role/team-a", "ApprovalRule/high-risk"]
    desk.approve(answer)
    assert only(desk.run("get", "cluster", "east"))["labels"] == {"tier": "production"}


@pytest.mark.requires("cli.objects")
def test_objects_are_removed_by_kind_and_name(desk: Desk) -> None:
    desk.approve(desk.run("propose", str(desk.write("r.yaml", ROLE)), "--as", "alice"))
    answer = desk.run("remove", "role/reader", "--as", "alice")
    assert answer["remove"] == ["Role/reader"]
    desk.approve(answer)
    assert desk.refused("get", "roles", "reader") == "NAME_UNKNOWN"


@pytest.mark.requires("cli.objects")
@pytest.mark.parametrize("text", ["reader", "Release/a", "/a", "Parameters/parameters"])
def test_what_cannot_be_removed_is_wrong_usage(desk: Desk, text: str) -> None:
    assert desk.refused("remove", text, "--as", "alice", status=2) == "USAGE"


@pytest.mark.requires("cli.objects")
def test_a_source_is_ledger_objects_or_a_release_never_both(desk: Desk) -> None:
    mixed = desk.write("mixed.yaml", ROLE, CONFIG_MAP)
    assert desk.refused("propose", str(mixed), "--as", "alice", status=2) == "USAGE"
    alone = desk.write("alone.yaml", ROLE)
    assert desk.refused("propose", str(alone), "--cluster", "east", "--as", "alice", status=2) == "USAGE"


@pytest.mark.requires("cli.objects")
def test_a_break_glass_proposal_names_its_object_and_makes_an_incident(desk: Desk) -> None:
    spec = {
        "members": [BOB.did],
        "count": 1,
        "operations": ["apply"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "notAfterTime": 2**40,
        "usesMax": 1,
    }
    outage = desk.write("g.yaml", standard.ledger_object("BreakGlass", "outage", spec))
    desk.approve(desk.run("propose", str(outage), "--as", "alice"))
    hotfix = str(desk.write("hotfix/a.yaml", CONFIG_MAP).parent)
    desk.run("propose", hotfix, "--cluster", "east", "--break-glass", "outage", "--as", "bob")
    assert desk.run("approve", "2", "--as", "bob")["state"] == "final"
    assert only(desk.run("get", "incidents"))["kind"] == "break-glass"
    assert only(desk.run("get", "break-glasses"))["name"] == "outage"


@pytest.mark.requires("cli.delivery")
def test_how_a_release_goes_out_comes_from_its_release_file(desk: Desk) -> None:
    spec = {
        "clusters": ["east", "west"],
        "rollout": {"waves": [{"clusters": ["east"]}], "maxUnavailable": 1},
        "health": {"healthyPercent": 90},
    }
    file = desk.write("shop/release.yaml", standard.ledger_object("Release", "guestbook", spec))
    desk.write("shop/a.yaml", CONFIG_MAP)
    desk.approve(desk.run("propose", str(file.parent), "--as", "alice"))
    rollout = only(desk.run("get", "rollout", "guestbook"))
    assert (rollout["waves"], rollout["maxUnavailable"]) == ([["east"], ["west"]], 1)
    rows = {row["cluster"]: row for row in desk.run("status")["items"]}
    assert (rows["east"]["inRollout"], rows["west"]["inRollout"]) == ("started", "waiting")
    assert rows["west"]["rollout"] == {
        "revision": 1,
        "state": "progressing",
        "wave": 1,
        "waves": 2,
        "pausedBy": None,
    }
    assert "progressing 1/2, waiting" in desk.show("status")
    desk.report()
    rows = {row["cluster"]: row for row in desk.run("status")["items"]}
    assert (rows["east"]["inRollout"], rows["west"]["inRollout"]) == ("healthy", "started")


@pytest.mark.requires("cli.delivery")
def test_a_selector_stands_in_for_clusters_unless_a_flag_names_some(desk: Desk) -> None:
    cluster = standard.ledger_object("Cluster", "west", {}, {"tier": "prod"})
    desk.approve(desk.run("propose", str(desk.write("c.yaml", cluster)), "--as", "alice"))
    selector = {"selector": {"matchLabels": {"tier": "prod"}}}
    file = desk.write("shop/release.yaml", standard.ledger_object("Release", "guestbook", selector))
    desk.write("shop/a.yaml", CONFIG_MAP)
    assert "clusters with tier=prod" in desk.show("propose", str(file.parent), "--as", "alice")
    flagged = desk.run("propose", str(file.parent), "--cluster", "east", "--as", "alice")
    assert flagged["clusters"] == ["east"]
    desk.run("approve", "2", "--as", "bob")
    desk.run("approve", "2", "--as", "carol")
    assert only(desk.run("get", "release", "guestbook"))["clusters"] == ["west"]


@pytest.mark.requires("cli.end-of-release")
def test_a_release_is_withdrawn(desk: Desk) -> None:
    desk.release()
    answer = desk.run("withdraw", "guestbook", "--as", "alice")
    assert answer["release"] == "guestbook"
    desk.approve(answer)
    assert only(desk.run("get", "release", "guestbook"))["state"] == "withdrawn"


@pytest.mark.requires("cli.end-of-release")
@pytest.mark.parametrize(("flag", "prune"), [("--prune", True), ("--keep-objects", False)])
def test_a_release_is_deleted_with_or_without_its_objects(desk: Desk, flag: str, *, prune: bool) -> None:
    desk.release()
    answer = desk.run("delete", "guestbook", flag, "--as", "alice")
    assert answer["prune"] is prune
    assert "delete guestbook" in desk.show("approve", str(answer["number"]), "--as", "bob", "--yes")
    desk.run("approve", str(answer["number"]), "--as", "carol")
    assert only(desk.run("status"))["desired"] == "deleted"


@pytest.mark.requires("cli.end-of-release")
def test_what_becomes_of_the_objects_has_to_be_said(desk: Desk) -> None:
    assert desk.refused("delete", "guestbook", "--as", "alice", status=2) == "USAGE"


@pytest.mark.requires("cli.stop")
def test_a_rollout_is_paused_and_resumed_by_one_person(desk: Desk) -> None:
    desk.release()
    assert desk.run("pause", "guestbook", "--as", "bob")["rollout"] == "paused"
    rollout = only(desk.run("status"))["rollout"]
    assert (rollout["state"], rollout["pausedBy"]) == ("paused", BOB.did)
    desk.run("resume", "guestbook", "--as", "alice")
    assert only(desk.run("status"))["rollout"]["state"] == "progressing"


@pytest.mark.requires("cli.stop")
def test_a_freeze_has_the_scope_it_was_given_and_ends_by_approval(desk: Desk) -> None:
    patterns = ["--cluster", "prod-*", "--cluster", "east", "--release", "guestbook"]
    made = desk.run("freeze", "holidays", *patterns, "--reason", "nobody is here", "--as", "carol")
    assert (made["clusters"], made["namespaces"]) == (["east", "prod-*"], ["*"])
    found = only(desk.run("get", "freezes"))
    assert (found["name"], found["clusters"], found["releases"]) == (
        "holidays",
        ["east", "prod-*"],
        ["guestbook"],
    )
    assert desk.run("status")["freezes"] == [found]
    assert "holidays, clusters east prod-*" in desk.show("status")
    desk.approve(desk.run("remove", "Freeze/holidays", "--as", "alice"))
    assert desk.run("get", "freezes")["items"] == []


@pytest.mark.requires("cli.stop")
def test_keys_are_revoked_by_name(desk: Desk) -> None:
    answer = desk.run("revoke", "robot", "--reason", "stolen", "--as", "bob")
    identity = only(desk.run("get", "identity", "robot"))
    assert answer["keys"] == [identity["keys"][0]["keyId"]]
    assert identity["keys"][0]["state"] == "revoked"
    assert "revoked" in desk.show("get", "identities")
    assert desk.refused("revoke", "nobody", "--as", "bob") == "NAME_UNKNOWN"


@pytest.mark.requires("cli.explain")
def test_explain_tells_what_a_source_would_need_and_that_it_is_no_proof(desk: Desk) -> None:
    source = str(desk.write("guestbook/config.yaml", CONFIG_MAP).parent)
    answer = desk.run("explain", source, "--cluster", "east", "--as", "robot")
    assert (answer["code"], answer["proven"], answer["node"]) == (0, False, desk.node.endpoint)
    assert answer["requirement"]["humans"] == 2
    assert answer["missing"]["humans"] == 2
    assert answer["approvers"] == ["alice", "bob", "carol"]
    assert desk.run("get", "proposals")["items"] == []
    assert "not a proof" in desk.show("explain", source, "--cluster", "east", "--as", "robot")


@pytest.mark.requires("cli.explain")
def test_explain_tells_what_an_open_proposal_still_misses(desk: Desk) -> None:
    source = str(desk.write("guestbook/config.yaml", CONFIG_MAP).parent)
    desk.run("propose", source, "--cluster", "east", "--as", "alice")
    desk.run("approve", "1", "--as", "bob")
    answer = desk.run("explain", "1")
    assert "missing: humans 1, organisations 1\n" in desk.show("explain", "1")
    assert (answer["state"], answer["missing"]["humans"], answer["missing"]["organisations"]) == (
        "open",
        1,
        1,
    )


@pytest.mark.requires("cli.explain")
def test_explain_names_the_rule_that_would_refuse(desk: Desk) -> None:
    answer = desk.run("explain", str(desk.write("r.yaml", ROLE)), "--as", "robot", status=1)
    assert answer["name"] == "PERMISSION_DENIED"
    text = desk.show("explain", str(desk.write("r.yaml", ROLE)), "--as", "robot", status=1)
    assert "it would be refused: PERMISSION_DENIED" in text


@pytest.mark.requires("cli.explain")
def test_an_answer_that_is_none_is_the_nodes_fault(desk: Desk) -> None:
    desk.node.lies["dry_run"] = lambda honest: type(honest)(0, "", b"", b"[1]", honest.height, None)
    source = str(desk.write("r.yaml", ROLE))
    assert desk.refused("explain", source, "--as", "alice", status=4) == "RPC_ANSWER_INVALID"


def registered(desk: Desk, name: str, *options: str) -> JsonObject:
    """Make an identity with the command line and have the ledger register it."""
    made = desk.run("key", "identity", name, "--organisation", "c", *options)
    desk.approve(desk.run("propose", str(desk.write(f"{name}.yaml", made)), "--as", "alice"))
    return only(desk.run("get", "identity", name))


@pytest.mark.requires("cli.keys-change")
@pytest.mark.parametrize("options", [(), ("--post-quantum",)])
def test_an_identity_made_here_is_registered_and_rotates(desk: Desk, options: tuple[str, ...]) -> None:
    before = registered(desk, "erin", *options)
    assert before["did"].startswith("did:conclave:")
    for number in (1, 2):
        answer = desk.run("key", "rotate", "erin")
        after = only(desk.run("get", "identity", "erin"))
        assert [key["state"] for key in after["keys"]] == ["retired"] * number + ["active"]
        assert after["keys"][-1]["keyId"] == answer["keyId"]
        assert load(desk.path).subject("erin").key == f"file:keys/erin.{number}.pem"
    assert desk.run("key", "show", "erin")["keyId"] == answer["keyId"]


@pytest.mark.requires("cli.keys-change")
def test_a_lost_key_is_recovered_by_the_next_one(desk: Desk) -> None:
    registered(desk, "erin")
    (desk.path / "keys" / "erin.0.pem").unlink()
    assert desk.refused("key", "rotate", "erin", status=4) == "KEY_FILE_INVALID"
    desk.run("key", "recover", "erin")
    states = [key["state"] for key in only(desk.run("get", "identity", "erin"))["keys"]]
    assert states == ["revoked", "active"]
    assert only(desk.run("get", "incidents"))["kind"] == "recovery"


@pytest.mark.requires("cli.keys-change")
def test_a_home_that_missed_its_own_rotation_follows_the_ledger(desk: Desk) -> None:
    registered(desk, "erin")
    before = (desk.path / "ledger.json").read_bytes()
    desk.run("key", "rotate", "erin")
    (desk.path / "ledger.json").write_bytes(before)
    assert desk.run("key", "rotate", "erin")["key"] == "file:keys/erin.1.pem"
    assert load(desk.path).subject("erin").key == "file:keys/erin.1.pem"


@pytest.mark.requires("cli.keys-change")
def test_keys_that_cannot_change_are_told_apart(desk: Desk) -> None:
    assert desk.refused("key", "rotate", "alice", status=2) == "USAGE"
    assert desk.refused("key", "identity", "alice", "--organisation", "a", status=2) == "USAGE"


@pytest.mark.requires("cli.keys-change")
def test_the_identity_object_is_yaml_without_a_private_half(desk: Desk) -> None:
    text = desk.show("key", "identity", "erin", "--organisation", "c", "--kind", "agent")
    made = yaml.safe_load(text)
    assert (made["kind"], made["metadata"]["name"], made["spec"]["kind"]) == ("Identity", "erin", "agent")
    assert "PRIVATE" not in text
    modes = {path.stat().st_mode & 0o077 for path in (desk.path / "keys").glob("erin.*.pem")}
    assert modes == {0}


@pytest.mark.requires("cli.get")
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("roles", {"governor", "guardian", "operator", "proposer"}),
        ("rules", {"default"}),
        ("clusters", {"east", "west"}),
        ("identities", {"alice", "bob", "carol", "robot", "east-bridge"}),
        ("freezes", set()),
        ("incidents", set()),
        ("rollouts", set()),
        ("validators", set()),
        ("break-glasses", set()),
    ],
)
def test_every_kind_is_listed_whole(desk: Desk, kind: str, names: set[str]) -> None:
    answer = desk.run("get", kind)
    assert {item["name"] for item in answer["items"]} == names
    assert answer["readAt"]["chainId"] == desk.ledger.chain.chain_id
    shown = desk.show("get", kind)
    assert all(name in shown for name in names)


@pytest.mark.requires("cli.get")
def test_bindings_and_parameters_are_told_in_people_s_words(desk: Desk) -> None:
    assert "governor-alice" in desk.show("get", "bindings", "governor-alice")
    assert ALICE.did not in desk.show("get", "bindings", "governor-alice")
    assert only(desk.run("get", "parameters", "openProposalsMax"))["value"] == 64


@pytest.mark.requires("cli.get")
def test_a_list_with_a_record_held_back_is_refused(desk: Desk) -> None:
    desk.ledger.edit(desk.ledger.height, {b"object/Role/governor": None})
    desk.ledger.commit()
    assert desk.refused("get", "roles", status=3) == "LEDGER_RECORD_INVALID"


@pytest.mark.requires("cli.completion")
def test_release_names_complete_and_a_home_that_is_not_there_offers_none(desk: Desk) -> None:
    desk.release()
    context = click.Context(click.Command("status"), obj=Session(desk.path, None, Output()))
    parameter = click.Argument(["release"])
    assert release_names(context, parameter, "gu") == ["guestbook"]
    assert release_names(context, parameter, "x") == []
    context.obj.home = desk.path / "nowhere"
    assert release_names(context, parameter, "") == []


@pytest.mark.requires("cli.key-serve")
def test_a_bridge_is_given_the_identity_that_may_report_for_its_cluster(desk: Desk) -> None:
    options = ("--kind", "node", "--cluster", "east")
    made = desk.run("key", "identity", "node", "--organisation", "a", *options)
    assert desk.refused("key", "serve", "node") == "NAME_UNKNOWN"
    desk.approve(desk.run("propose", str(desk.write("node.yaml", made)), "--as", "alice"))
    before = load(desk.path)
    assert before.bridge_subject("east").name == "east-bridge"
    assert desk.run("key", "serve", "node")["did"] == made["spec"]["did"]
    after = load(desk.path)
    assert (after.bridge_subject("east").name, after.bridge_subject("east").did) == (
        "node",
        made["spec"]["did"],
    )
    assert set(after.subjects) == set(before.subjects)
    assert "restart the bridge of east" in desk.show("key", "rotate", "node")
    assert load(desk.path).bridge_subject("east").key == "file:keys/node.1.pem"
    assert desk.refused("key", "serve", "alice") == "REPORTER_NOT_OF_CLUSTER"
    (desk.path / "keys" / "node.1.pem").write_bytes((desk.path / "keys" / "node.0.pem").read_bytes())
    assert desk.refused("key", "serve", "node") == "KEY_NOT_OF_SIGNER"


@pytest.mark.requires("cli.node-identity")
def test_a_joined_node_becomes_a_validator_by_what_it_is_told_to_propose(desk: Desk) -> None:
    own, other = NodeKey.from_seed(b"v" * 32), NodeKey.from_seed(b"n" * 32)
    write_node_files(NodePaths(desk.path / "nodes" / "node4"), b"{}", own, other)
    before = records.ValidatorsRecord((records.ValidatorRecord("node0", key_id(other.public), 10, None),))
    desk.ledger.edit(desk.ledger.height, {statekeys.VALIDATORS: records.write(before)})
    desk.ledger.commit()
    made = desk.run("node", "identity", "4", "--organisation", "d", "--power", "3")["items"]
    text = desk.show("node", "identity", "4", "--organisation", "d", "--power", "3")
    assert list(yaml.safe_load_all(text)) == made
    assert [item["kind"] for item in made] == ["Identity", "Validator"]
    desk.approve(desk.run("propose", str(desk.write("node.yaml", *made)), "--as", "alice"))
    found = only(desk.run("get", "validators", "node4"))
    assert (found["keyId"], found["power"]) == (key_id(own.public), 3)
    assert found["node"] == only(desk.run("get", "identity", "node4"))["did"]
    assert desk.refused("node", "identity", "9", "--organisation", "d") == "NAME_UNKNOWN"
