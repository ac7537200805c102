"""A final proposal judged again: by the constitution, the keys and the requirement of its time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus import operators, release_reader
from consensus.operators import Approved, Evidence
from consensus.reader import View
from ledger import bodies, records, standard, statekeys
from ledger.authority.objects import read_stored, write_stored
from ledger.changes import Configure, Delete, Withdraw
from ledger.envelope import seal
from ledger.errors import Code, VerificationFailed
from ledger.identity import IdentityRecord, read_identity, revoke, write_identity
from ledger.records import ProposalRecord
from ledger.types import ActionKind, JsonObject, ProposalState, sha256
from tests.support import key_rings
from tests.support.chain import CHAIN_ID
from tests.support.ledger import (
    ALICE,
    BOB,
    CAROL,
    ROBOT,
    Ledger,
    Node,
    Subject,
    a_release,
    envelope,
)
from tests.unit.consensus.ledgers import reader_of

NAME = "guestbook"


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.commit()
    return made


def _view(ledger: Ledger, folder: Path) -> View:
    ledger.commit()
    return reader_of(Node(ledger), folder).at()


def _approved(ledger: Ledger, folder: Path, identifier: str) -> Approved:
    view = _view(ledger, folder)
    return view.read(lambda get: operators.approved(get, Evidence(view.chain_id), identifier)).value


def _code(ledger: Ledger, folder: Path, identifier: str) -> Code:
    with pytest.raises(VerificationFailed) as refused:
        _approved(ledger, folder, identifier)
    return refused.value.code


def _proposal(ledger: Ledger, identifier: str) -> ProposalRecord:
    return records.read_proposal(ledger.values[ledger.height][statekeys.proposal(identifier)])


def _identity(ledger: Ledger, who: Subject) -> IdentityRecord:
    return read_identity(ledger.values[ledger.height][statekeys.identity(who.did)])


def _forge(ledger: Ledger, identifier: str, **changes: Any) -> None:
    changed = dataclasses.replace(_proposal(ledger, identifier), **changes)
    ledger.edit(ledger.height, {statekeys.proposal(identifier): records.write(changed)})


def _finish(ledger: Ledger, identifier: str, *, constitution: int = 1, **changes: Any) -> None:
    """Call a proposal final that is not."""
    final = {"state": ProposalState.FINAL, "final_height": ledger.height, "constitution": constitution}
    _forge(ledger, identifier, **final, revision=1, **changes)


def _forge_object(ledger: Ledger, kind: str, name: str, change: Callable[[JsonObject], None]) -> None:
    key = statekeys.ledger_object_version(kind, name, 1)
    stored = read_stored(ledger.values[ledger.height][key])
    spec = json.loads(json.dumps(stored.spec))
    change(spec)
    ledger.edit(ledger.height, {key: write_stored(dataclasses.replace(stored, spec=spec))})


def _judge(ledger: Ledger, who: Subject, identifier: str, requirement: str | None = None) -> bytes:
    record = _proposal(ledger, identifier)
    required = requirement or record.requirement
    return envelope(who, bodies.judgement_body(ActionKind.APPROVAL, identifier, record.digest, required))


def _weaker(spec: JsonObject) -> None:
    spec["require"] |= {"humans": 1, "organisations": 1}


@pytest.mark.requires("release.every-change-proven")
def test_every_kind_of_change_is_judged_again(ledger: Ledger, tmp_path: Path) -> None:
    first = ledger.release("one")
    rule = standard.approval_rule("extra", 2, 1, ttl_blocks=77)
    configured = ledger.configure(rule, remove=(("Cluster", "west"),))
    ledger.release("two")
    back = ledger.roll_back(1)
    withdrawn = ledger.approve(envelope(BOB, bodies.withdraw_body(NAME)), (ALICE, CAROL))
    deleted = ledger.delete(prune=True)
    found = {one: _approved(ledger, tmp_path, one) for one in (first, configured, back, withdrawn, deleted)}
    assert {type(one.proposal.change) for one in found.values()} >= {Configure, Withdraw, Delete}
    for one in found.values():
        assert {approver.name for approver in one.approvers} == {"alice", "carol"}
    assert (found[first].requirement.rules, found[first].record.constitution) == ((("default", 1),), 1)
    assert (found[deleted].requirement.ttl_blocks, found[deleted].record.constitution) == (77, 2)


@pytest.mark.requires("release.every-change-proven")
def test_a_change_of_parameters_or_rules_meanwhile_is_no_doubt(ledger: Ledger, tmp_path: Path) -> None:
    before = ledger.release("one")
    waiting = envelope(ALICE, bodies.release_body(a_release(text="two")))
    ledger.commit(waiting)
    identifier = ledger.open(waiting).id
    spec = {"imageDigestRequired": True, "proposalTtlBlocks": 60}
    ledger.configure(standard.ledger_object("Parameters", "parameters", spec))
    ledger.constants = dataclasses.replace(
        ledger.constants,
        parameters=dataclasses.replace(ledger.constants.parameters, proposal_ttl_blocks=60),
    )
    ledger.configure(standard.approval_rule("extra", 2, 2, ttl_blocks=50))
    required = _digest(ttlBlocks=50, rules=[["default", 1], ["extra", 1]])
    for who in (BOB, CAROL):
        assert [r.code for r in ledger.commit(_judge(ledger, who, identifier, required))] == [0]
    assert _proposal(ledger, identifier).state is ProposalState.FINAL
    for one in (before, identifier):
        assert len(_approved(ledger, tmp_path, one).approvers) == 2


def _digest(**differing: Any) -> str:
    """Give the digest of what the standard rule requires, but for ``differing``."""
    named = {
        "humans": 2,
        "organisations": 2,
        "quorum": [],
        "delaySeconds": 0,
        "ttlBlocks": 500,
        "denyThreshold": 1,
        "rules": [["default", 1]],
        **differing,
    }
    return sha256(json.dumps(named, sort_keys=True, separators=(",", ":")).encode()).hex()


@pytest.mark.requires("release.every-change-proven")
def test_the_clusters_of_a_selector_are_those_of_the_revision(ledger: Ledger, tmp_path: Path) -> None:
    labelled = standard.ledger_object("Cluster", "east", {}, {"zone": "one"})
    ledger.configure(labelled)
    release = a_release()
    del release["spec"]["clusters"]
    release["spec"]["selector"] = {"matchLabels": {"zone": "one"}}
    identifier = ledger.approve(envelope(ROBOT, bodies.release_body(release)), (ALICE, CAROL))
    assert _approved(ledger, tmp_path, identifier).requirement.humans == 2
    found = release_reader.release(_view(ledger, tmp_path), "east", NAME).value
    assert found.clusters == ("east",)


@pytest.mark.requires("release.every-change-proven")
def test_a_delegation_counts_through_its_parent(ledger: Ledger, tmp_path: Path) -> None:
    mallory = Subject("mallory", "human", "b")
    spec: JsonObject = {
        "kind": "human",
        "organisation": "b",
        "cluster": None,
        "did": mallory.did,
        "inception": None,
        "proofs": [],
    }
    delegated = standard.binding("delegated", mallory.did, "operator")
    delegated["spec"]["parent"] = "operator-alice"
    ledger.configure(standard.ledger_object("Identity", "mallory", spec), delegated)
    made = envelope(CAROL, bodies.release_body(a_release(text="by two")))
    identifier = ledger.approve(made, (mallory, BOB))
    assert {who.name for who in _approved(ledger, tmp_path, identifier).approvers} == {"mallory", "bob"}


def _register(ledger: Ledger, ring: key_rings.Ring, following: key_rings.Ring) -> str:
    spec = key_rings.identity_spec([ring], [following], chain_id=CHAIN_ID)
    did = str(spec["did"])
    ledger.configure(
        standard.ledger_object("Identity", "dora", spec), standard.binding("operator-dora", did, "operator")
    )
    return did


def _as(did: str, body: bytes, nonce: int, *keys: key_rings.Ring) -> bytes:
    return seal(body, chain_id=CHAIN_ID, signer=did, nonce=nonce, not_after_height=1000, key=list(keys))


def _rotate(ledger: Ledger, did: str, old: key_rings.Ring, new: key_rings.Ring) -> None:
    presented = [key.to_json() for key in key_rings.presented(new)]
    rotation = bodies.key_change_body(ActionKind.ROTATION, presented, [])
    assert [r.code for r in ledger.commit(_as(did, rotation, 50, old, new))] == [0]


@pytest.mark.requires("release.keys-of-their-time")
def test_composite_keys_and_keys_that_retired_since_count(ledger: Ledger, tmp_path: Path) -> None:
    old, new = key_rings.composite("dora"), key_rings.plain("dora-two")
    did = _register(ledger, old, new)
    proposal = _as(did, bodies.release_body(a_release(text="hers")), 1, old)
    identifier = ledger.approve(proposal, (BOB,))
    _rotate(ledger, did, old, new)
    assert [r.code for r in ledger.commit(_judge(ledger, CAROL, identifier))] == [0]
    assert _approved(ledger, tmp_path, identifier).proposal.change.name == NAME  # type: ignore[union-attr]
    key = statekeys.key(old.key_id)
    held = ledger.values[ledger.height][key]
    ledger.edit(ledger.height, {key: held.replace(did.encode(), ALICE.did.encode())})
    assert _code(ledger, tmp_path, identifier) is Code.OPERATOR_SIGNATURE_INVALID


@pytest.mark.requires("release.revoked-counts-no-more")
def test_a_key_revoked_between_approval_and_finality_does_not_count(ledger: Ledger, tmp_path: Path) -> None:
    proposal = envelope(BOB, bodies.release_body(a_release()))
    identifier = ledger.approve(proposal, (ALICE,))
    assert [r.code for r in ledger.commit(envelope(ALICE, bodies.revocation_body(ALICE.did)))] == [0]
    assert [r.code for r in ledger.commit(_judge(ledger, CAROL, identifier))] == [0]
    assert _proposal(ledger, identifier).state is ProposalState.OPEN
    _finish(ledger, identifier)
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT


@pytest.mark.requires("release.revoked-counts-no-more")
def test_a_retired_key_revoked_before_finality_does_not_count(ledger: Ledger, tmp_path: Path) -> None:
    old, new = key_rings.composite("dora"), key_rings.plain("dora-two")
    did = _register(ledger, old, new)
    identifier = ledger.approve(envelope(ALICE, bodies.release_body(a_release())), (CAROL,))
    record = _proposal(ledger, identifier)
    body = bodies.judgement_body(ActionKind.APPROVAL, identifier, record.digest, record.requirement)
    _rotate(ledger, did, old, new)
    assert [r.code for r in ledger.commit(_as(did, bodies.revocation_body(did, (old.key_id,)), 51, new))] == [
        0
    ]
    opened = ledger.open(_as(did, body, 1, old))
    entry = dataclasses.replace(
        record.approvals[0], envelope=opened.id, signer=opened.envelope.signer, keys=opened.keys
    )
    ledger.edit(ledger.height, {statekeys.envelope(opened.id): _as(did, body, 1, old)})
    ledger.commit()
    _finish(ledger, identifier, approvals=(*record.approvals, entry), constitution=2)
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT


@pytest.mark.requires("release.revoked-counts-no-more")
@pytest.mark.parametrize("same_block", [True, False])
def test_a_key_revoked_after_finality_counted(ledger: Ledger, tmp_path: Path, same_block: bool) -> None:
    identifier = ledger.approve(envelope(ALICE, bodies.release_body(a_release())), (CAROL,))
    txs = (_judge(ledger, BOB, identifier), envelope(BOB, bodies.revocation_body(BOB.did)))
    blocks = [txs] if same_block else [(tx,) for tx in txs]
    assert {r.code for block in blocks for r in ledger.commit(*block)} == {0}
    assert {who.name for who in _approved(ledger, tmp_path, identifier).approvers} == {"bob", "carol"}


def _forge_keys(ledger: Ledger, who: Subject, **changes: Any) -> None:
    record = _identity(ledger, who)
    keys = tuple(dataclasses.replace(key, **changes) for key in record.keys)
    changed = write_identity(dataclasses.replace(record, keys=keys))
    at = {statekeys.identity(who.did): changed, statekeys.identity_version(who.did, 1): changed}
    ledger.edit(ledger.height, dict(at))


@pytest.mark.requires("release.keys-of-their-time")
@pytest.mark.parametrize("who", [ALICE, CAROL])
@pytest.mark.parametrize("changes", [{"purposes": ("report",)}, {"since": 900}])
def test_a_key_without_the_purpose_or_too_young_does_not_sign(
    ledger: Ledger, tmp_path: Path, who: Subject, changes: dict[str, Any]
) -> None:
    identifier = ledger.release()
    _forge_keys(ledger, who, **changes)
    assert _code(ledger, tmp_path, identifier) is Code.OPERATOR_SIGNATURE_INVALID


@pytest.mark.requires("release.keys-of-their-time")
def test_a_version_of_an_identity_that_is_not_its_own(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.release()
    record = revoke(_identity(ledger, CAROL), (), ledger.height)
    written = {
        statekeys.identity(CAROL.did): write_identity(record),
        statekeys.identity_version(CAROL.did, 1): write_identity(record),
    }
    ledger.edit(ledger.height, dict(written))
    assert _code(ledger, tmp_path, identifier) is Code.LEDGER_RECORD_INVALID


def _stricter(ledger: Ledger) -> None:
    ledger.configure(standard.approval_rule("stricter", 3, 2))


def _version(number: int) -> Callable[[Ledger, str], None]:
    return lambda ledger, identifier: _forge(ledger, identifier, constitution=number)


def _later_version(ledger: Ledger, identifier: str) -> None:
    """Name a constitution that came later and would ask for the same."""
    ledger.configure(standard.binding("another", BOB.did, "proposer"))
    _forge(ledger, identifier, constitution=2)


def _forged_rule(ledger: Ledger, identifier: str) -> None:
    _forge_object(ledger, "ApprovalRule", "default", _weaker)
    _forge(ledger, identifier, approvals=_proposal(ledger, identifier).approvals[:1])


def _forged_rule_and_requirement(ledger: Ledger, identifier: str) -> None:
    _forged_rule(ledger, identifier)
    _forge(ledger, identifier, requirement=_digest(humans=1, organisations=1))


def _forged_requirement(ledger: Ledger, identifier: str) -> None:
    _forge(ledger, identifier, requirement="ab" * 32)


def _forged_requirement_of_approvals(ledger: Ledger, identifier: str) -> None:
    forged = [dataclasses.replace(a, requirement="ab" * 32) for a in _proposal(ledger, identifier).approvals]
    _forge(ledger, identifier, approvals=tuple(forged))


def _without(kind: str, name: str) -> Callable[[Ledger, str], None]:
    """Leave an object out of the constitution's record."""

    def lie(ledger: Ledger, identifier: str) -> None:
        del identifier
        key = statekeys.constitution_version(1)
        record = records.read_constitution(ledger.values[ledger.height][key])
        changes: Any = {kind: tuple(v for v in getattr(record, kind) if v.name != name)}
        ledger.edit(ledger.height, {key: records.write(dataclasses.replace(record, **changes))})

    return lie


def _another_subject(ledger: Ledger, identifier: str) -> None:
    del identifier
    _forge_object(ledger, "RoleBinding", "operator-carol", lambda spec: spec.update(subject=BOB.did))


def _another_object(ledger: Ledger, identifier: str) -> None:
    del identifier
    key = statekeys.ledger_object_version("Role", "operator", 1)
    other = ledger.values[ledger.height][statekeys.ledger_object_version("Role", "governor", 1)]
    ledger.edit(ledger.height, {key: other})


def _no_such_object(ledger: Ledger, identifier: str) -> None:
    del identifier
    _forge_object(ledger, "ApprovalRule", "default", lambda spec: spec.update(match=3))


_LIES: dict[str, tuple[Callable[[Ledger, str], None], Code]] = {
    "no constitution": (lambda ledger, i: _forge(ledger, i, constitution=None), Code.LEDGER_RECORD_INVALID),
    "constitution 0": (_version(0), Code.LEDGER_RECORD_INVALID),
    "a constitution that is not there": (_version(7), Code.LEDGER_RECORD_INVALID),
    "a later constitution": (_later_version, Code.LEDGER_RECORD_INVALID),
    "a rule forged": (_forged_rule, Code.LEDGER_RECORD_INVALID),
    "a rule and the requirement forged": (_forged_rule_and_requirement, Code.APPROVALS_INSUFFICIENT),
    "another requirement": (_forged_requirement, Code.LEDGER_RECORD_INVALID),
    "approvals of another requirement": (_forged_requirement_of_approvals, Code.LEDGER_RECORD_INVALID),
    "no rule": (_without("rules", "default"), Code.APPROVALS_INSUFFICIENT),
    "an approver who is not bound": (_without("bindings", "operator-carol"), Code.APPROVALS_INSUFFICIENT),
    "a proposer who is not bound": (_without("bindings", "operator-alice"), Code.OPERATOR_SIGNATURE_INVALID),
    "a role that is not there": (_without("roles", "operator"), Code.OPERATOR_SIGNATURE_INVALID),
    "another's binding": (_another_subject, Code.LEDGER_RECORD_INVALID),
    "another role under its name": (_another_object, Code.LEDGER_RECORD_INVALID),
    "a rule that is none": (_no_such_object, Code.LEDGER_RECORD_INVALID),
    "no final height": (lambda ledger, i: _forge(ledger, i, final_height=None), Code.LEDGER_RECORD_INVALID),
    "final before it was proposed": (
        lambda ledger, i: _forge(ledger, i, final_height=1),
        Code.LEDGER_RECORD_INVALID,
    ),
    "final before it was approved": (
        lambda ledger, i: _forge(ledger, i, final_height=_proposal(ledger, i).height),
        Code.LEDGER_RECORD_INVALID,
    ),
    "under a break-glass object": (
        lambda ledger, i: _forge(ledger, i, break_glass="fire"),
        Code.LEDGER_RECORD_INVALID,
    ),
}


@pytest.mark.requires("release.constitution-of-its-time")
@pytest.mark.parametrize("name", _LIES)
def test_a_forged_constitution_or_requirement_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    lie, code = _LIES[name]
    identifier = ledger.release()
    lie(ledger, identifier)
    assert _code(ledger, tmp_path, identifier) is code


@pytest.mark.requires("release.constitution-of-its-time")
def test_a_constitution_that_was_replaced_judges_nothing_more(ledger: Ledger, tmp_path: Path) -> None:
    before = ledger.release("one")
    _stricter(ledger)
    proposal = envelope(ALICE, bodies.release_body(a_release(text="two")))
    identifier = ledger.approve(proposal, (BOB, CAROL))
    _finish(ledger, identifier, constitution=1)
    assert _code(ledger, tmp_path, identifier) is Code.LEDGER_RECORD_INVALID
    _finish(ledger, identifier, constitution=2)
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT
    assert len(_approved(ledger, tmp_path, before).approvers) == 2


@pytest.mark.requires("release.constitution-of-its-time")
def test_an_approval_kept_back_until_the_rules_changed_does_not_count(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.approve(envelope(ALICE, bodies.release_body(a_release())), (BOB,))
    kept_back = _judge(ledger, CAROL, identifier)
    _stricter(ledger)
    record, opened = _proposal(ledger, identifier), ledger.open(kept_back)
    entry = dataclasses.replace(
        record.approvals[0],
        envelope=opened.id,
        signer=opened.envelope.signer,
        keys=opened.keys,
        height=ledger.height,
    )
    ledger.edit(ledger.height, {statekeys.envelope(opened.id): kept_back})
    ledger.commit()
    _finish(ledger, identifier, constitution=1, approvals=(*record.approvals, entry))
    assert _code(ledger, tmp_path, identifier) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.constitution-of-its-time")
def test_approvals_given_before_the_rules_changed_do_not_count(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.approve(envelope(ALICE, bodies.release_body(a_release())), (BOB,))
    ledger.configure(standard.approval_rule("extra", 2, 1))
    required = _digest(rules=[["default", 1], ["extra", 1]])
    assert [r.code for r in ledger.commit(_judge(ledger, CAROL, identifier, required))] == [0]
    _finish(ledger, identifier, constitution=2)
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT


def _with_break_glass(ledger: Ledger, text: str, who: Subject = BOB) -> bytes:
    spec = {
        "members": sorted([ALICE.did, BOB.did]),
        "count": 2,
        "operations": ["apply"],
        "kinds": ["*"],
        "namespaces": [NAME],
        "clusters": ["*"],
        "notAfterTime": 2**40,
        "usesMax": 3,
    }
    ledger.configure(standard.ledger_object("BreakGlass", "fire", spec))
    return envelope(who, bodies.proposal_body({"release": a_release(text=text)}, break_glass="fire"))


@pytest.mark.requires("release.break-glass-proven")
def test_a_break_glass_proposal_needs_its_members(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.approve(_with_break_glass(ledger, "fire"), (ALICE, BOB))
    found = _approved(ledger, tmp_path, identifier)
    assert (found.requirement.members, found.requirement.organisations) == (
        tuple(sorted([ALICE.did, BOB.did])),
        1,
    )
    one = _proposal(ledger, identifier).approvals[:1]
    _forge(ledger, identifier, approvals=one)
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT


@pytest.mark.requires("release.break-glass-proven")
def test_a_member_who_is_none_breaks_no_glass(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.approve(_with_break_glass(ledger, "fire"), (ALICE, BOB))
    _forge_object(
        ledger, "BreakGlass", "fire", lambda spec: spec.update(members=sorted([BOB.did, CAROL.did]))
    )
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT
    members = sorted([ALICE.did, CAROL.did])
    _forge_object(ledger, "BreakGlass", "fire", lambda spec: spec.update(members=members))
    assert _code(ledger, tmp_path, identifier) is Code.OPERATOR_SIGNATURE_INVALID


@pytest.mark.requires("release.break-glass-proven")
def test_a_break_glass_object_that_does_not_cover_the_change(ledger: Ledger, tmp_path: Path) -> None:
    identifier = ledger.approve(_with_break_glass(ledger, "fire"), (ALICE, BOB))
    _forge_object(ledger, "BreakGlass", "fire", lambda spec: spec.update(namespaces=["other"]))
    assert _code(ledger, tmp_path, identifier) is Code.APPROVALS_INSUFFICIENT
