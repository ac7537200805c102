"""What proposes asks the node first, shows what it says, and signs the digest of exactly that."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.answers import QueryAnswer
from ledger import canonical, standard, statekeys
from ledger.errors import Code
from ledger.types import JsonObject, sha256
from tests.support.ledger import ALICE
from tests.unit.conclave.desk import CONFIG_MAP, Desk
from tests.unit.conclave.test_verbs import ROLE, only

OPTIONS = ("--cluster", "east", "--as", "alice")


def source(desk: Desk) -> str:
    """Write a release and give its folder."""
    return str(desk.write("guestbook/config.yaml", CONFIG_MAP).parent)


def answering(desk: Desk, value: Any) -> None:
    """Have the node answer dry runs with ``value``."""
    desk.node.lies["dry_run"] = lambda honest: QueryAnswer(0, "", b"", value, honest.height, None)


def spoken(desk: Desk) -> bool:
    """Tell whether alice ever signed anything that was included."""
    return desk.ledger.values[desk.ledger.height].get(statekeys.account(ALICE.did)) is not None


@pytest.mark.requires("cli.dry-run")
def test_a_proposal_carries_the_digest_of_the_answer_that_was_shown(desk: Desk) -> None:
    expected = desk.run("propose", source(desk), "--dry-run", *OPTIONS)
    made = desk.run("propose", source(desk), *OPTIONS)["dryRun"]
    assert (made["proven"], made["node"]) == (False, desk.node.endpoint)
    assert made["digest"] == sha256(canonical.dump(made["answer"])).hex() == expected["digest"]
    assert (made["answer"]["missing"]["humans"], made["answer"]["approvers"]) == (
        2,
        ["alice", "bob", "carol"],
    )
    assert only(desk.run("get", "proposal", "1"))["dryRun"] == made["digest"]
    explained = desk.run("explain", "1")
    assert explained["dryRun"] == made["digest"] != explained["digest"]
    assert made["digest"] in desk.show("explain", "1")
    assert made["digest"] in desk.show("approve", "1", "--as", "bob", "--yes")


@pytest.mark.requires("cli.dry-run")
def test_people_see_what_is_missing_before_and_after(desk: Desk) -> None:
    tried = desk.show("propose", source(desk), "--dry-run", *OPTIONS)
    assert "not a proof" in tried
    assert not spoken(desk)
    for text in (tried, desk.show("propose", source(desk), *OPTIONS)):
        assert "missing: humans 2, organisations 2\n" in text
        assert "may approve: alice, bob, carol\n" in text


@pytest.mark.requires("cli.dry-run")
@pytest.mark.parametrize("tried", [(), ("--dry-run",)])
def test_what_would_be_refused_is_not_signed(desk: Desk, tried: tuple[str, ...]) -> None:
    file = str(desk.write("r.yaml", ROLE))
    answer = desk.run("propose", file, "--as", "robot", *tried, status=1)
    assert (answer["error"]["name"], answer["error"]["facts"]["node"]) == (
        "PERMISSION_DENIED",
        desk.node.endpoint,
    )
    assert not any(desk.ledger.txs.values())


@pytest.mark.requires("cli.dry-run")
def test_every_verb_that_proposes_can_be_tried(desk: Desk) -> None:
    desk.release("east")
    before = desk.ledger.height
    for arguments in (
        ("rollback", "guestbook", "--to", "1"),
        ("withdraw", "guestbook"),
        ("delete", "guestbook", "--prune"),
        ("remove", "Cluster/west"),
    ):
        assert desk.run(*arguments, "--dry-run", "--as", "alice")["missing"]["humans"] == 2
    assert desk.ledger.height == before


def _broken(**change: object) -> bytes:
    honest: JsonObject = {"code": 0, "name": "OK", "refusal": None}
    return canonical.dump(honest | change)


@pytest.mark.requires("cli.dry-run")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[1]",
        _broken(code="0"),
        _broken(code=[]),
        _broken(code=9999),
        _broken(refusal={}),
        _broken(code=300),
        _broken(code=300, refusal="no"),
        _broken(requirement=[]),
        _broken(extra=1),
    ],
)
def test_a_node_that_makes_no_dry_run_is_no_obstacle_to_proposing(desk: Desk, answer: bytes) -> None:
    answering(desk, answer)
    assert desk.refused("propose", source(desk), "--dry-run", *OPTIONS, status=4) == "RPC_ANSWER_INVALID"
    assert desk.run("propose", source(desk), *OPTIONS)["dryRun"] is None
    assert only(desk.run("get", "proposal", "1"))["dryRun"] is None


@pytest.mark.requires("cli.dry-run")
def test_a_node_that_does_not_know_the_question_is_no_obstacle_either(desk: Desk) -> None:
    desk.node.lies["dry_run"] = lambda honest: QueryAnswer(
        int(Code.QUERY_INVALID), "?", b"", b"", honest.height, None
    )
    assert desk.run("propose", source(desk), *OPTIONS)["dryRun"] is None


@pytest.mark.requires("cli.requirement-now")
def test_who_said_yes_approves_under_what_is_required_now(desk: Desk) -> None:
    """A rule that came into force after a proposal voids its approvals; they can be given again."""
    made = desk.run("propose", source(desk), *OPTIONS)
    desk.run("approve", "1", "--as", "bob")
    rule = standard.approval_rule("more", 2, 2, ttl_blocks=50)
    desk.approve(desk.run("propose", str(desk.write("objects/1.yaml", rule).parent), "--as", "alice"))
    assert desk.refused("approve", "1", "--as", "carol") == "REQUIREMENT_CHANGED"
    shown = desk.show("approve", "1", "--as", "carol", "--yes")
    assert "what it needs has changed since" in shown
    assert "more" in shown
    assert desk.run("approve", "1", "--as", "bob", "--yes")["state"] == "final"
    assert made["state"] == "open"


@pytest.mark.requires("cli.requirement-now")
@pytest.mark.parametrize("digest", ["f" * 64, "no digest", 7, None])
def test_a_digest_that_a_node_makes_up_approves_nothing(desk: Desk, digest: object) -> None:
    desk.run("propose", source(desk), *OPTIONS)
    answering(
        desk, canonical.dump({"code": 0, "name": "OK", "refusal": None, "requirement": {"digest": digest}})
    )
    if digest == "f" * 64:
        assert desk.refused("approve", "1", "--as", "bob", "--yes") == "REQUIREMENT_CHANGED"
    else:
        assert desk.run("approve", "1", "--as", "bob", "--yes")["state"] == "open"
