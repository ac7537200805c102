"""Would this pass, and what is still missing?"""

from __future__ import annotations

from typing import Any

import pytest

from ledger import bodies, canonical
from ledger.errors import Code
from tests.support.application import Chain
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    STRANGER,
    Pen,
    Subject,
    identifier,
    release,
    requirement,
)


def chain() -> Chain:
    started = Chain()
    started.start()
    started.block([])
    return started


def ask(started: Chain, question: Any) -> Any:
    response = started.query("/dry-run", canonical.dump(question))
    assert response.code == 0, response.log
    return canonical.load(response.value)


def would(started: Chain, who: Subject, body: bytes) -> Any:
    return ask(started, {"signer": who.did, "body": canonical.load(body)})


@pytest.mark.requires("abci.dry-run")
def test_an_action_is_tried_and_leaves_no_trace() -> None:
    started = chain()
    before = started.info()
    told = would(started, AGENT, bodies.release_body(release()))
    assert (told["code"], told["name"], told["refusal"]) == (0, "OK", None)
    assert told["requirement"]["digest"] == requirement()
    assert told["missing"] == {"humans": 2, "organisations": 2, "quorum": []}
    assert told["approvers"] == ["alice", "bob", "carol"]
    assert (told["operation"], told["risk"], told["clusters"]) == ("apply", "low", ["east"])
    started.block([])
    assert started.info() == (2, before[1])


@pytest.mark.requires("abci.dry-run")
def test_a_refusal_is_told_with_its_code() -> None:
    started = chain()
    told = would(started, ALICE, bodies.rollback_body("web", 1))
    assert (told["code"], told["name"]) == (Code.RELEASE_UNKNOWN, "RELEASE_UNKNOWN")
    assert told["refusal"]["expected"]
    assert would(started, STRANGER, bodies.release_body(release()))["name"] == "SIGNER_UNKNOWN"
    freeze = would(started, AGENT, bodies.freeze_body("stop"))
    assert freeze["name"] == "PERMISSION_DENIED"
    assert would(started, BOB, bodies.freeze_body("stop"))["name"] == "OK"


@pytest.mark.requires("abci.dry-run")
def test_an_open_proposal_says_what_it_still_needs() -> None:
    started, pen = chain(), Pen()
    tx = pen.propose(ALICE)
    started.block([tx, pen.approve(ALICE, tx)])
    told = ask(started, {"proposal": identifier(tx)})
    assert (told["state"], told["missing"]) == ("open", {"humans": 1, "organisations": 1, "quorum": []})


@pytest.mark.requires("abci.dry-run")
@pytest.mark.parametrize(
    ("question", "code"),
    [
        (b"", Code.BODY_NOT_JSON),
        (b"[]", Code.FIELD_INVALID),
        (b"{}", Code.QUERY_INVALID),
        (b'{"proposal":"x"}', Code.FIELD_INVALID),
        (b'{"proposal":"%s"}' % (b"0" * 64), Code.PROPOSAL_UNKNOWN),
        (b'{"body":1}', Code.QUERY_INVALID),
    ],
)
def test_a_question_without_sense_is_refused(question: bytes, code: Code) -> None:
    assert chain().query("/dry-run", question).code == code
