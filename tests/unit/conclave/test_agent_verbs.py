"""What people do about agents at the command line: policies, suspensions, anchors, observations."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ledger.agent_policy import read_policy
from ledger.bodies import anchor_body, observation_body, suspension_body
from mcp_server.catalogue import BY_NAME
from mcp_server.guard.reach import JUDGED
from tests.support.agents import policy_object
from tests.support.ledger import EAST, ROBOT, envelope
from tests.unit.conclave.desk import CONFIG_MAP, Desk
from tests.unit.conclave.paths import EXAMPLES
from tests.unit.conclave.test_verbs import only

EXAMPLE = EXAMPLES / "agent-policy.yaml"
LOG = "ab" * 32


def commit(desk: Desk, *said: tuple[Any, bytes]) -> None:
    """Let others say something on the ledger."""
    results = desk.ledger.commit(*(envelope(who, body) for who, body in said))
    assert {result.code for result in results} == {0}
    desk.ledger.commit()


def with_policy(desk: Desk) -> None:
    """Put a policy under which the node of east watches over the robot."""
    source = desk.write("policy.yaml", policy_object("robot", ROBOT.did, EAST.did))
    desk.approve(desk.run("propose", str(source), "--as", "alice"))


@pytest.mark.requires("cli.agents")
def test_the_example_of_a_policy_is_put_once_it_names_ones_own_agent(desk: Desk) -> None:
    written = yaml.safe_load(EXAMPLE.read_text())
    written["metadata"]["name"] = "robot"
    written["spec"] |= {"agent": ROBOT.did, "guards": [EAST.did]}
    desk.approve(desk.run("propose", str(desk.write("mine.yaml", written)), "--as", "alice"))
    found = only(desk.run("get", "agentpolicy", "robot"))
    assert read_policy(found["spec"]) == read_policy(written["spec"])
    shown = desk.show("get", "agentpolicies")
    assert "robot" in shown
    assert "east-bridge" in shown
    desk.approve(desk.run("remove", "agentpolicy/robot", "--as", "alice"))
    assert desk.run("get", "agentpolicies")["items"] == []


@pytest.mark.requires("cli.agents")
def test_the_example_names_tools_and_arguments_that_there_are() -> None:
    policy = read_policy(yaml.safe_load(EXAMPLE.read_text())["spec"])
    assert sorted(tool.tool for tool in policy.tools) == sorted(BY_NAME)
    for tool in policy.tools:
        named = {rule.path.split(".")[0].removesuffix("[]") for rule in tool.arguments}
        reached = {path.split(".")[0].removesuffix("[]") for path in JUDGED if tool.opens_proposal}
        # A proof file goes past every other rule, so that no policy to begin with has it in an answer.
        arguments = {*BY_NAME[tool.tool].input_schema["properties"]} - {"inline"}
        assert named == arguments | reached, tool.tool
        required = {rule.path for rule in tool.arguments if rule.required}
        assert required == set(BY_NAME[tool.tool].input_schema.get("required", ())), tool.tool


@pytest.mark.requires("cli.agents")
def test_a_person_cuts_an_agent_off_and_the_quorum_lets_it_back(desk: Desk) -> None:
    made = desk.run("suspend", "robot", "--reason", "it repeats itself", "--as", "bob")
    assert (made["name"], made["agent"]) == ("robot", ROBOT.did)
    found = only(desk.run("get", "suspensions"))
    assert (found["name"], found["reason"], found["code"]) == ("robot", "it repeats itself", None)
    assert "it repeats itself" in desk.show("get", "suspension", "robot")
    assert only(desk.run("get", "incidents"))["kind"] == "agent-suspended"
    assert desk.refused("suspend", "robot", "--as", "carol") == "OBJECT_DUPLICATE"
    assert desk.refused("suspend", "alice", "--as", "carol") == "FIELD_INVALID"
    desk.approve(desk.run("remove", "Suspension/robot", "--as", "alice"))
    assert desk.run("get", "suspensions")["items"] == []
    assert "Suspension/robot" in desk.show("suspend", "robot", "--as", "carol")


@pytest.mark.requires("cli.agents")
def test_suspensions_of_a_guard_anchors_and_observations_are_listed(desk: Desk) -> None:
    with_policy(desk)
    commit(
        desk,
        (EAST, anchor_body(LOG, 7, "cd" * 32)),
        (ROBOT, observation_body("observation", "the queue\x1b[2J\u202egrows")),
        (ROBOT, observation_body("observation", "and grows")),
        (EAST, suspension_body(ROBOT.did, code=904, evidence="cd" * 32)),
    )
    anchor = only(desk.run("get", "anchors", LOG))
    assert (anchor["node"], anchor["count"], anchor["number"]) == (EAST.did, 7, 1)
    assert "east-bridge" in desk.show("get", "anchors")
    texts = [item["text"] for item in desk.run("get", "observations", "robot")["items"]]
    assert texts == ["and grows", "the queue\x1b[2J\u202egrows"]
    shown = desk.show("get", "observations")
    assert "grows" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert only(desk.run("get", "suspensions"))["code"] == 904
    assert "904" in desk.show("get", "suspensions")
    assert desk.refused("get", "observations", "nobody") == "NAME_UNKNOWN"


@pytest.mark.requires("cli.agents")
def test_an_agents_own_rejection_takes_its_proposal_back(desk: Desk) -> None:
    source = desk.write("guestbook/config.yaml", CONFIG_MAP)
    made = desk.run("propose", str(source.parent), "--cluster", "east", "--as", "robot")
    assert desk.run("reject", str(made["number"]), "--as", "robot")["state"] == "rejected"
