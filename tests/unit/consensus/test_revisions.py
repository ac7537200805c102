"""What a cluster shall have: approved, whoever wrote the desired record; and the ledger's other lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus import release_reader
from consensus.reader import View
from ledger import autoscale, bodies, records, standard, statekeys
from ledger.autoscale import ObjectScale, ScaleRecord
from ledger.errors import Code, Refused, VerificationFailed
from ledger.records import DesiredState, IncidentKind
from ledger.rollout import RolloutState
from ledger.types import JsonObject
from tests.support.ledger import ALICE, BOB, CAROL, Ledger, Node, a_release, envelope
from tests.support.manifests import deployment
from tests.unit.consensus.ledgers import reader_of

NAME = "guestbook"
WEB = "apps/v1/Deployment/guestbook/web"
DESIRED = statekeys.desired("east", NAME)


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.commit()
    made.release("one")
    return made


def _view(ledger: Ledger, folder: Path) -> View:
    ledger.commit()
    return reader_of(Node(ledger), folder).at()


def _at(ledger: Ledger, key: bytes) -> bytes:
    return ledger.values[ledger.height][key]


def _code(ledger: Ledger, folder: Path) -> Code:
    view = _view(ledger, folder)
    with pytest.raises(VerificationFailed) as refused:
        release_reader.release(view, "east", NAME)
    return refused.value.code


def _forge(key: bytes, **changes: Any) -> Callable[[Ledger], None]:
    readers = {"desired": records.read_desired, "revision": records.read_revision}
    readers |= {"incident": records.read_incident}
    read: Callable[[bytes], Any] = readers[key.split(b"/")[0].decode()]
    return lambda ledger: ledger.edit(
        ledger.height, {key: records.write(dataclasses.replace(read(_at(ledger, key)), **changes))}
    )


@pytest.mark.requires("releases.recreate")
def test_what_may_be_made_anew_is_what_was_signed(ledger: Ledger, tmp_path: Path) -> None:
    signed = a_release(text="two")
    signed["spec"]["recreate"] = ["v1/ConfigMap/guestbook/greeting"]
    ledger.approve(envelope(ALICE, bodies.release_body(signed)), (ALICE, CAROL))
    wanted = release_reader.release(_view(ledger, tmp_path), "east", NAME).value
    assert (wanted.revision, wanted.recreate) == (2, ("v1/ConfigMap/guestbook/greeting",))


@pytest.mark.requires("release.desired-proven")
def test_a_release_is_what_its_cluster_shall_have_now(ledger: Ledger, tmp_path: Path) -> None:
    ledger.release("two")
    _forge(DESIRED, revision=1)(ledger)
    view = _view(ledger, tmp_path)
    assert release_reader.release_record(view, NAME).value.revision == 2
    assert release_reader.release(view, "east", NAME).value.manifests[0]["data"] == {"text": "one"}
    wanted = release_reader.desired(view, "east", NAME).value
    assert wanted is not None
    assert (wanted.revision, wanted.state) == (1, DesiredState.PRESENT)
    assert release_reader.desired(view, "west", NAME).value is None


def _unapproved(ledger: Ledger) -> None:
    """Desire a revision whose content two of three approvals are missing from."""
    proposal = envelope(BOB, bodies.release_body(a_release(text="evil")))
    identifier = ledger.approve(proposal, (ALICE,))
    first = records.read_revision(_at(ledger, statekeys.revision(NAME, 1)))
    opened = ledger.open(proposal)
    second = dataclasses.replace(
        first, revision=2, content=identifier, authority=identifier, digest=opened.digest
    )
    release = records.read_release(_at(ledger, statekeys.release(NAME)))
    changes = {
        statekeys.revision(NAME, 2): records.write(second),
        statekeys.release(NAME): records.write(dataclasses.replace(release, revision=2)),
    }
    ledger.edit(ledger.height, dict(changes))
    _forge(DESIRED, revision=2)(ledger)


_LIES: dict[str, tuple[Callable[[Ledger], None], Code]] = {
    "an unapproved revision": (_unapproved, Code.PROPOSAL_UNDER_APPROVED),
    "no such revision": (_forge(DESIRED, revision=2), Code.LEDGER_RECORD_INVALID),
    "of another cluster": (_forge(DESIRED, cluster="west"), Code.LEDGER_RECORD_INVALID),
    "of another release": (_forge(DESIRED, release="other"), Code.LEDGER_RECORD_INVALID),
    "deleted, and nobody said so": (
        _forge(DESIRED, state=DesiredState.DELETED, prune=True),
        Code.LEDGER_RECORD_INVALID,
    ),
    "of another height": (
        _forge(statekeys.revision(NAME, 1), height=3),
        Code.LEDGER_RECORD_INVALID,
    ),
    "made by the machine from nothing": (
        _forge(statekeys.revision(NAME, 1), cause=1),
        Code.LEDGER_RECORD_INVALID,
    ),
}


@pytest.mark.requires("release.desired-proven")
@pytest.mark.parametrize("name", _LIES)
def test_a_forged_wish_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    lie, code = _LIES[name]
    lie(ledger)
    assert _code(ledger, tmp_path) is code


@pytest.mark.requires("release.desired-proven")
@pytest.mark.parametrize("prune", [True, False])
def test_a_deletion_is_what_operators_approved(ledger: Ledger, tmp_path: Path, prune: bool) -> None:
    ledger.delete(prune=prune)
    found = release_reader.release(_view(ledger, tmp_path), "east", NAME).value
    assert (found.revision, found.state, found.prune) == (1, DesiredState.DELETED, prune)
    _forge(DESIRED, prune=not prune)(ledger)
    assert _code(ledger, tmp_path) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.desired-proven")
def test_a_deletion_ends_no_later_revision(ledger: Ledger, tmp_path: Path) -> None:
    ledger.delete(prune=True)
    ledger.release("again")
    assert release_reader.release(_view(ledger, tmp_path), "east", NAME).value.state is DesiredState.PRESENT
    _forge(DESIRED, state=DesiredState.DELETED, prune=True)(ledger)
    assert _code(ledger, tmp_path) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.desired-proven")
def test_a_rollback_goes_where_the_release_was(ledger: Ledger, tmp_path: Path) -> None:
    ledger.release("two")
    ledger.roll_back(1)
    _forge(statekeys.revision(NAME, 3), clusters=("east", "west"))(ledger)
    assert _code(ledger, tmp_path) is Code.LEDGER_RECORD_INVALID


@pytest.fixture
def rolled_back(ledger: Ledger) -> Ledger:
    """A ledger whose machine went back from the second revision to the first."""
    ledger.report(1)
    ledger.release("two")
    ledger.report(2, outcome="failed", health="failed")
    return ledger


@pytest.mark.requires("release.machine-rollback-proven")
def test_a_rollback_by_the_machine_is_proven_by_its_content(rolled_back: Ledger, tmp_path: Path) -> None:
    view = _view(rolled_back, tmp_path)
    found = release_reader.release(view, "east", NAME).value
    assert (found.revision, found.cause, found.manifests[0]["data"]) == (3, 1, {"text": "one"})
    assert set(found.approvers) == {ALICE.did, CAROL.did}
    assert found.authority_proposal == found.content_proposal
    (incident,) = release_reader.incidents(view).value
    assert (incident.kind, incident.new_revision) == (IncidentKind.ROLLBACK, 3)


def _other_content(ledger: Ledger) -> None:
    second = records.read_revision(_at(ledger, statekeys.revision(NAME, 2)))
    _forge(statekeys.revision(NAME, 3), content=second.content, digest=second.digest)(ledger)


def _no_longer_approved(ledger: Ledger) -> None:
    content = records.read_revision(_at(ledger, statekeys.revision(NAME, 3))).content
    key = statekeys.proposal(content)
    record = records.read_proposal(_at(ledger, key))
    ledger.edit(ledger.height, {key: records.write(dataclasses.replace(record, approvals=()))})


_INCIDENT = statekeys.incident(1)
_THIRD = statekeys.revision(NAME, 3)
_MACHINE_LIES: dict[str, tuple[Callable[[Ledger], None], Code]] = {
    "other content": (_other_content, Code.LEDGER_RECORD_INVALID),
    "content that is not approved": (_no_longer_approved, Code.APPROVALS_INSUFFICIENT),
    "other clusters": (_forge(_THIRD, clusters=("east", "west")), Code.LEDGER_RECORD_INVALID),
    "no rollback": (_forge(_THIRD, rollback_of=None), Code.LEDGER_RECORD_INVALID),
    "a rollback to itself": (_forge(_THIRD, rollback_of=3), Code.LEDGER_RECORD_INVALID),
    "another authority": (_forge(_THIRD, authority="ab" * 32), Code.LEDGER_RECORD_INVALID),
    "another height": (_forge(_THIRD, height=2), Code.LEDGER_RECORD_INVALID),
    "no cause": (_forge(_THIRD, cause=None), Code.LEDGER_RECORD_INVALID),
    "an incident that is not there": (_forge(_THIRD, cause=2), Code.LEDGER_RECORD_INVALID),
    "another's incident": (_forge(_INCIDENT, release="other"), Code.LEDGER_RECORD_INVALID),
    "an incident of another kind": (
        _forge(_INCIDENT, kind=IncidentKind.BREAK_GLASS),
        Code.LEDGER_RECORD_INVALID,
    ),
    "an incident of another number": (_forge(_INCIDENT, number=2), Code.LEDGER_RECORD_INVALID),
}


@pytest.mark.requires("release.machine-rollback-proven")
@pytest.mark.parametrize("name", _MACHINE_LIES)
def test_a_forged_rollback_by_the_machine_is_refused(rolled_back: Ledger, tmp_path: Path, name: str) -> None:
    lie, code = _MACHINE_LIES[name]
    lie(rolled_back)
    assert _code(rolled_back, tmp_path) is code


def _scaled_release(low: int = 1, high: int = 5) -> JsonObject:
    release = a_release()
    release["spec"]["manifests"] = [deployment("web", NAME)]
    rule = {"object": WEB, "minReplicas": low, "maxReplicas": high, "initialReplicas": low}
    release["spec"]["autoscale"] = [{**rule, "metrics": [{"name": "load", "target": 10}]}]
    return release


def _decide(ledger: Ledger, replicas: int, *, after: int = 1) -> None:
    wanted = records.read_desired(_at(ledger, DESIRED))
    decided = ScaleRecord((ObjectScale(WEB, replicas, wanted.time + after),))
    ledger.edit(ledger.height, {statekeys.scale("east", NAME): autoscale.write(decided)})


@pytest.mark.requires("release.replicas-within-bounds")
def test_replicas_are_as_decided_within_the_signed_rule(ledger: Ledger, tmp_path: Path) -> None:
    ledger.approve(envelope(ALICE, bodies.release_body(_scaled_release(2, 5))), (BOB, CAROL))
    assert release_reader.release(_view(ledger, tmp_path), "east", NAME).value.replicas == ((WEB, 2),)
    _decide(ledger, 4)
    view = _view(ledger, tmp_path)
    assert release_reader.release(view, "east", NAME).value.replicas == ((WEB, 4),)
    decided = release_reader.scale(view, "east", NAME).value
    assert decided is not None
    assert decided.objects[0].replicas == 4
    assert release_reader.release(view, "east", NAME, revision=2).value.replicas == ()


@pytest.mark.requires("release.replicas-within-bounds")
@pytest.mark.parametrize("replicas", [0, 1, 6, 10_000])
def test_replicas_that_no_rule_allows_are_refused(ledger: Ledger, tmp_path: Path, replicas: int) -> None:
    ledger.approve(envelope(ALICE, bodies.release_body(_scaled_release(2, 5))), (BOB, CAROL))
    _decide(ledger, replicas)
    assert _code(ledger, tmp_path) is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.replicas-within-bounds")
@pytest.mark.parametrize(("replicas", "within"), [(1, 2), (9, 5)])
def test_replicas_decided_under_an_earlier_rule_are_brought_within(
    ledger: Ledger, tmp_path: Path, replicas: int, within: int
) -> None:
    ledger.approve(envelope(ALICE, bodies.release_body(_scaled_release(2, 5))), (BOB, CAROL))
    _decide(ledger, replicas, after=0)
    assert release_reader.release(_view(ledger, tmp_path), "east", NAME).value.replicas == ((WEB, within),)


@pytest.mark.requires("release.ledger-read")
def test_the_ledgers_own_objects_are_read_complete(ledger: Ledger, tmp_path: Path) -> None:
    glass: JsonObject = {
        "members": [ALICE.did],
        "count": 1,
        "operations": ["apply"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "notAfterTime": 2**40,
        "usesMax": 1,
    }
    ledger.configure(standard.ledger_object("BreakGlass", "fire", glass))
    assert [r.code for r in ledger.commit(envelope(ALICE, bodies.freeze_body("stop", releases=(NAME,))))] == [
        0
    ]
    view = _view(ledger, tmp_path)
    names = [role.name for role in release_reader.roles(view).value]
    assert names == ["governor", "guardian", "operator", "proposer"]
    assert "operator-carol" in {binding.name for binding in release_reader.bindings(view).value}
    assert [item.name for item in release_reader.break_glasses(view).value] == ["fire"]
    assert [item.name for item in release_reader.objects(view, "Cluster").value] == ["east", "west"]
    assert [item.name for item in release_reader.freezes(view).value] == ["stop"]
    assert release_reader.constitution(view).value.version == 2
    assert release_reader.incidents(view).value == ()
    assert release_reader.report_sequence(view, "east").value == 0
    ledger.report(1)
    view = _view(ledger, tmp_path)
    found = release_reader.rollout(view, NAME).value
    assert found is not None
    assert (found.state, found.paused_by) == (RolloutState.PAUSED, "freeze/stop")
    assert release_reader.rollout(view, "other").value is None
    assert release_reader.scale(view, "east", NAME).value is None
    assert release_reader.report_sequence(view, "east").value == 1
    assert release_reader.protocol(view).value is not None
    assert release_reader.validators(view).value is not None


def _copied(source: bytes, target: bytes) -> Callable[[Ledger], None]:
    return lambda ledger: ledger.edit(ledger.height, {target: _at(ledger, source)})


_MISPLACED: dict[str, tuple[Callable[[Ledger], None], Callable[[View], object]]] = {
    "role": (
        _copied(statekeys.ledger_object("Role", "operator"), statekeys.ledger_object("Role", "proposer")),
        release_reader.roles,
    ),
    "rollout": (
        _copied(statekeys.rollout(NAME), statekeys.rollout("other")),
        lambda view: release_reader.rollout(view, "other"),
    ),
    "list": (
        lambda ledger: ledger.edit(ledger.height, {statekeys.index_objects("Role"): b"{}"}),
        release_reader.roles,
    ),
    "freezes": (
        lambda ledger: ledger.edit(ledger.height, {statekeys.FREEZES: b"{}x"}),
        release_reader.freezes,
    ),
    "scale": (
        lambda ledger: ledger.edit(ledger.height, {statekeys.scale("east", NAME): b"[]"}),
        lambda view: release_reader.scale(view, "east", NAME),
    ),
}


@pytest.mark.requires("release.ledger-read")
@pytest.mark.parametrize("name", _MISPLACED)
def test_a_record_out_of_place_is_refused(ledger: Ledger, tmp_path: Path, name: str) -> None:
    lie, ask = _MISPLACED[name]
    lie(ledger)
    view = _view(ledger, tmp_path)
    with pytest.raises(VerificationFailed) as refused:
        ask(view)
    assert refused.value.code is Code.LEDGER_RECORD_INVALID


@pytest.mark.requires("release.desired-proven")
def test_a_release_that_has_not_reached_a_cluster_is_not_there_yet(ledger: Ledger, tmp_path: Path) -> None:
    ledger.edit(ledger.height, {DESIRED: None})
    with pytest.raises(Refused) as refused:
        release_reader.release(_view(ledger, tmp_path), "east", NAME)
    assert refused.value.code is Code.RELEASE_UNKNOWN
