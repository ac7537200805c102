"""What a call lacks and only a person can say is asked for, where the client can; else it is refused."""

from __future__ import annotations

from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client

from consensus import release_reader
from mcp_server.chain import Principal, Unguarded
from mcp_server.proposer import Proposer
from mcp_server.server import build
from tests.support.ledger import ROBOT, Ledger
from tests.support.mcp import Speaking, a_story, let_propose, source_of

GIVEN: dict[str, Any] = {"release": "guestbook", "operation": "rollback", "toRevision": 2}


class Person:
    """Who sits before the client and answers forms."""

    def __init__(self, action: str, content: dict[str, Any] | None = None) -> None:
        self.action, self.content = action, content
        self.asked: list[types.ElicitRequestFormParams] = []

    async def answer(self, context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Fill in a form, or not."""
        del context
        assert isinstance(params, types.ElicitRequestFormParams)
        self.asked.append(params)
        return types.ElicitResult(action=self.action, content=self.content)  # type: ignore[arg-type]


def called(
    person: Person | None, mode: str = "2026-07-28", **given: Any
) -> tuple[types.CallToolResult, Ledger]:
    """Call ``request_change`` as the robot, with a person at the client or none."""
    ledger = let_propose(a_story())
    source = source_of(Speaking(ledger))
    proposer = Proposer(source.rpc, source.reader, {ROBOT.did: [ROBOT]})
    local = Principal(ROBOT.did, ROBOT.key_id)
    server = build(source, Unguarded(), local=local, proposer=proposer)
    found: list[types.CallToolResult] = []

    async def run() -> None:
        callback = None if person is None else person.answer
        async with Client(server, mode=mode, elicitation_callback=callback) as client:
            found.append(await client.call_tool("request_change", given))

    anyio.run(run)
    return found[0], ledger


@pytest.mark.requires("mcp.asking")
def test_a_reason_that_is_missing_is_asked_for_and_goes_with_the_proposal() -> None:
    person = Person("accept", {"reason": "the last one is slow"})
    found, ledger = called(person, "2026-07-28", **GIVEN)
    assert not found.is_error
    (form,) = person.asked
    assert list(form.requested_schema["properties"]) == ["reason"]
    assert found.structured_content is not None
    number = found.structured_content["items"][0]["number"]
    view = source_of(Speaking(ledger)).view()
    record = release_reader.proposal(view, number).value
    assert release_reader.proposed(view, record.id).value.reason == "the last one is slow"


@pytest.mark.requires("mcp.asking")
@pytest.mark.parametrize("person", [Person("decline"), Person("cancel"), None])
def test_where_nobody_says_it_the_call_is_refused_and_nothing_is_proposed(person: Person | None) -> None:
    found, ledger = called(person, "2026-07-28", **GIVEN)
    assert found.is_error
    assert "FIELD_MISSING" in found.model_dump_json()
    assert ledger.height == let_propose(a_story()).height
    assert person is None or len(person.asked) == 1


@pytest.mark.requires("mcp.asking")
def test_a_client_of_the_older_revision_is_refused_and_not_asked() -> None:
    person = Person("accept", {"reason": "r"})
    found, _ = called(person, mode="legacy", **GIVEN)
    assert "FIELD_MISSING" in found.model_dump_json()
    assert person.asked == []


@pytest.mark.requires("mcp.asking")
def test_what_was_not_asked_for_is_no_argument() -> None:
    person = Person("accept", {"reason": "r", "toRevision": 1})
    found, ledger = called(person, release="guestbook", operation="rollback")
    assert "FIELD_UNKNOWN" in found.model_dump_json()
    assert ledger.height == let_propose(a_story()).height
