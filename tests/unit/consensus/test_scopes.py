"""What a change touched, found again: also what it took from the release as it was before.

A machine that forgets what leaves, or what a delegator is denied, is what a dishonest quorum would run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abci_app.machine import world
from consensus import operators
from consensus.evidence import Evidence
from consensus.operators import Approved
from ledger import bodies, records, standard, statekeys
from ledger.authority import constitution
from ledger.errors import Code, VerificationFailed
from ledger.records import ProposalRecord
from ledger.types import ActionKind, JsonObject, ProposalState, sha256
from tests.support.ledger import ALICE, BOB, CAROL, ROBOT, Ledger, Node, Subject, a_release, envelope
from tests.unit.consensus.ledgers import reader_of

SECRET: JsonObject = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key", "namespace": "guestbook"},
}
EVERYBODY = (ALICE, BOB, CAROL)
TWO = (BOB, CAROL)


@pytest.fixture
def ledger() -> Ledger:
    """A ledger where to delete a Secret needs three humans."""
    made = Ledger()
    made.commit()
    rule = standard.approval_rule("secrets", 3, 2)
    rule["spec"]["match"] |= {"operations": ["delete"], "kinds": ["Secret"]}
    made.configure(rule)
    return made


def _body(*, secret: bool, text: str = "hello") -> bytes:
    release = a_release(text=text)
    release["spec"]["manifests"] += [SECRET] if secret else []
    return bodies.release_body(release)


def _approved(ledger: Ledger, folder: Path, identifier: str) -> Approved:
    ledger.commit()
    view = reader_of(Node(ledger), folder).at()
    return view.read(lambda get: operators.approved(get, Evidence(view.chain_id), identifier)).value


def _code(ledger: Ledger, folder: Path, identifier: str) -> Code:
    with pytest.raises(VerificationFailed) as refused:
        _approved(ledger, folder, identifier)
    return refused.value.code


def _record(ledger: Ledger, identifier: str) -> ProposalRecord:
    return records.read_proposal(ledger.values[ledger.height][statekeys.proposal(identifier)])


def _judge(ledger: Ledger, who: Subject, identifier: str, required: str) -> bytes:
    record = _record(ledger, identifier)
    return envelope(who, bodies.judgement_body(ActionKind.APPROVAL, identifier, record.digest, required))


def _forget(patch: pytest.MonkeyPatch) -> None:
    honest: Any = world._scope
    patch.setattr(world, "_scope", lambda operation, content, _, at: honest(operation, content, None, at))


@pytest.mark.requires("release.leaving-proven")
@pytest.mark.parametrize("how", ["release", "rollback"])
def test_a_change_that_drops_an_object_needed_what_its_deletion_needs(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    ledger.approve(envelope(ALICE, _body(secret=False, text="one")), TWO)
    kept = ledger.approve(envelope(ALICE, _body(secret=True)), TWO)
    body = _body(secret=False) if how == "release" else bodies.rollback_body("guestbook", 1)
    dropped = ledger.approve(envelope(ALICE, body), EVERYBODY)
    again = ledger.approve(envelope(ALICE, _body(secret=True)), TWO)
    with monkeypatch.context() as patch:
        _forget(patch)
        forgotten = ledger.approve(envelope(ALICE, body), TWO)
    for identifier in (kept, dropped, again, forgotten):
        assert _record(ledger, identifier).state is ProposalState.FINAL
    assert _approved(ledger, tmp_path, kept).requirement.rules == (("default", 1),)
    assert _approved(ledger, tmp_path, dropped).requirement.rules == (("default", 1), ("secrets", 1))
    assert _code(ledger, tmp_path, forgotten) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.leaving-proven")
def test_who_proposes_may_delete_what_leaves(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.approve(envelope(ALICE, _body(secret=True)), TWO)
    honest = envelope(ROBOT, _body(secret=False))
    assert [r.code for r in ledger.commit(honest)] == [Code.PERMISSION_DENIED], "it may no Secret"
    with monkeypatch.context() as patch:
        _forget(patch)
        identifier = _proposed(ledger, envelope(ROBOT, _body(secret=False)))
    for who in EVERYBODY:
        assert _agree(ledger, who, identifier) == Code.OK
    assert _record(ledger, identifier).state is ProposalState.FINAL
    assert _code(ledger, tmp_path, identifier) is Code.OPERATOR_SIGNATURE_INVALID


def _proposed(ledger: Ledger, *txs: bytes) -> str:
    assert {r.code for r in ledger.commit(*txs)} == {0}
    return str(ledger.open(txs[0]).id)


def _agree(ledger: Ledger, who: Subject, identifier: str) -> int:
    """Approve that the Secret leaves."""
    (met,) = ledger.commit(_judge(ledger, who, identifier, _REQUIRED))
    return met.code


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hex()


_REQUIRED = _digest(
    {
        "humans": 3,
        "organisations": 2,
        "quorum": [],
        "delaySeconds": 0,
        "ttlBlocks": 500,
        "denyThreshold": 1,
        "rules": [["default", 1], ["secrets", 1]],
        "leaving": _digest([["Secret", "guestbook", "key"]]),
    }
)


@pytest.mark.requires("release.leaving-proven")
@pytest.mark.parametrize("before", [0, 1])
def test_a_proposal_of_the_block_that_made_another_revision_was_judged_by_one_of_both(
    ledger: Ledger, tmp_path: Path, before: int
) -> None:
    for _ in range(before):
        ledger.approve(envelope(ALICE, _body(secret=False)), TWO)
    other = ledger.approve(envelope(ALICE, _body(secret=True)), (BOB,))
    last = _judge(ledger, CAROL, other, _record(ledger, other).requirement)
    identifier = _proposed(ledger, envelope(ROBOT, _body(secret=False)), last)
    assert _record(ledger, other).final_height == _record(ledger, identifier).height
    for who in EVERYBODY:
        assert _agree(ledger, who, identifier) == Code.OK
    found = _approved(ledger, tmp_path, identifier)
    assert (found.record.revision, len(found.requirement.rules)) == (before + 2, 2)


@pytest.mark.requires("release.leaving-proven")
def test_a_release_that_was_deleted_is_no_first_one(ledger: Ledger, tmp_path: Path) -> None:
    ledger.approve(envelope(ALICE, _body(secret=True)), TWO)
    ledger.approve(envelope(ALICE, bodies.delete_body("guestbook", prune=True)), EVERYBODY)
    back = ledger.approve(envelope(ALICE, _body(secret=False)), EVERYBODY)
    assert _approved(ledger, tmp_path, back).requirement.humans == 3


@pytest.mark.requires("authority.delegator-denied")
def test_a_delegation_past_its_delegators_denial_does_not_count(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dora = Subject("dora", "human", "b")
    spec = {"kind": "human", "organisation": "b", "cluster": None, "did": dora.did, "inception": None}
    lent = standard.binding("lent", dora.did, "operator")
    lent["spec"]["parent"] = "operator-alice"
    rule = {"effect": "deny", "verbs": ["approve"], "kinds": ["*"], "namespaces": ["guestbook"]}
    denied = standard.ledger_object("Role", "no", {"rules": [rule | {"clusters": ["*"], "names": ["*"]}]})
    put = (standard.ledger_object("Identity", "dora", spec | {"proofs": []}), lent)
    ledger.configure(*put, denied, standard.binding("no-alice", ALICE.did, "no"))
    waiting = _proposed(ledger, envelope(CAROL, _body(secret=False)))
    required = _record(ledger, waiting).requirement
    with monkeypatch.context() as patch:
        patch.setattr(constitution, "_delegators", lambda *_: {})
        patch.setattr(constitution, "delegators_of", lambda _: ())
        patch.setattr("ledger.authority.coverage.delegators_of", lambda _: ())
        assert {
            r.code for who in (dora, BOB) for r in ledger.commit(_judge(ledger, who, waiting, required))
        } == {0}
    assert _record(ledger, waiting).state is ProposalState.FINAL
    assert _code(ledger, tmp_path, waiting) is Code.APPROVALS_INSUFFICIENT
