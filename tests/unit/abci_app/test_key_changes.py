"""Identities with rotating keys, told block by block to the machine."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from ledger import bodies, envelope, records, standard, statekeys
from ledger.actions import purpose_of
from ledger.errors import Code
from ledger.identity import IdentityRecord, read_identity
from ledger.key_set import KeyState, Purpose
from ledger.records import IncidentKind
from ledger.types import ActionKind
from tests.support.key_rings import Ring, committed, composite, identity_spec, plain, presented
from tests.support.subjects import ALICE, BOB, CAROL, CHAIN_ID, NOT_AFTER, judgement_body, release
from tests.unit.abci_app.test_governance import Story

FIRST, SECOND, THIRD = plain("first"), composite("second"), plain("third")


class Keys(Story):
    """A ledger on which erin has the key ``FIRST`` and committed to ``SECOND``."""

    def __init__(self, first: Ring = FIRST, following: Ring = SECOND) -> None:
        super().__init__()
        spec = identity_spec([first], [following])
        self.did = spec["did"]
        self.nonces = itertools.count(1)
        binding = standard.binding("operator-erin", self.did, "operator")
        self.configure(standard.ledger_object("Identity", "erin", spec), binding)

    def say(self, body: bytes, *keys: Ring) -> Code:
        """Say something as erin; give the code."""
        (code,) = self.codes(self.seal(body, *keys))
        return code

    def seal(self, body: bytes, *keys: Ring) -> bytes:
        """Sign as erin."""
        return envelope.seal(
            body,
            chain_id=CHAIN_ID,
            signer=self.did,
            nonce=next(self.nonces),
            not_after_height=NOT_AFTER,
            key=keys,
        )

    def change(self, kind: ActionKind, new: Ring, following: Ring, *signing: Ring) -> Code:
        """Change keys; give the code."""
        keys = [key.to_json() for key in presented(new)]
        return self.say(bodies.key_change_body(kind, keys, list(committed(following))), *signing)

    @property
    def erin(self) -> IdentityRecord:
        """Her record."""
        return read_identity(self.state.content[statekeys.identity(self.did)])

    def states(self) -> list[KeyState]:
        """Give what became of her keys."""
        return [key.state for key in self.erin.keys]


@pytest.mark.requires("abci.rotation")
def test_a_rotation_retires_what_went_before_and_its_approvals_still_count() -> None:
    story = Keys()
    tx = story.propose(bodies.release_body(release()))
    assert story.say(judgement_body(tx), FIRST) is Code.OK
    assert story.change(ActionKind.ROTATION, SECOND, THIRD, FIRST, SECOND) is Code.OK
    assert story.states() == [KeyState.RETIRED, KeyState.ACTIVE]
    assert story.say(bodies.release_body(release("x")), FIRST) is Code.KEY_NOT_ACTIVE
    assert story.say(bodies.release_body(release("x")), SECOND) is Code.OK
    assert story.approve(CAROL, tx) is Code.OK
    assert story.record(tx).state == "final"
    for version, height in ((1, story.erin.keys[0].since), (2, story.erin.height)):
        content = story.state.content[statekeys.identity_version(story.did, version)]
        assert read_identity(content).height == height


@pytest.mark.requires("abci.rotation")
def test_a_recovery_revokes_what_went_before_its_approvals_and_makes_an_incident() -> None:
    story = Keys()
    tx = story.propose(bodies.release_body(release()))
    assert story.say(judgement_body(tx), FIRST) is Code.OK
    assert story.change(ActionKind.RECOVERY, SECOND, THIRD, SECOND) is Code.OK
    assert story.states() == [KeyState.REVOKED, KeyState.ACTIVE]
    assert story.approve(CAROL, tx) is Code.OK
    assert story.record(tx).state == "open"
    incident = records.read_incident(story.state.content[statekeys.incident(1)])
    assert (incident.kind, incident.subject) == (IncidentKind.RECOVERY, story.did)


@pytest.mark.requires("abci.rotation")
@pytest.mark.parametrize(
    ("kind", "new", "signing", "code"),
    [
        (ActionKind.ROTATION, SECOND, (SECOND,), Code.ROTATION_UNSIGNED),
        (ActionKind.ROTATION, SECOND, (FIRST,), Code.ROTATION_UNSIGNED),
        (ActionKind.ROTATION, THIRD, (FIRST, THIRD), Code.KEY_NOT_OF_SIGNER),
        (ActionKind.ROTATION, THIRD, (FIRST,), Code.KEY_NOT_COMMITTED),
        (ActionKind.RECOVERY, SECOND, (FIRST,), Code.ROTATION_UNSIGNED),
    ],
)
def test_a_stolen_key_alone_changes_no_keys(
    kind: ActionKind, new: Ring, signing: tuple[Ring, ...], code: Code
) -> None:
    story = Keys()
    assert story.change(kind, new, THIRD, *signing) is code
    assert story.states() == [KeyState.ACTIVE]


@pytest.mark.requires("abci.recovery-passes")
def test_a_thief_who_uses_up_nonces_and_rate_cannot_stop_a_recovery() -> None:
    story = Keys()
    parameters = dataclasses.replace(story.state.constants.parameters, envelopes_per_window_max=2)
    story.state.constants = dataclasses.replace(story.state.constants, parameters=parameters)
    early = story.nonces
    story.nonces = itertools.count(5000)
    code, count = Code.OK, 0
    while code is Code.OK:
        code, count = story.say(bodies.freeze_body(f"f{count}"), FIRST), count + 1
    assert code in (Code.RATE_EXCEEDED, Code.LIMIT_EXCEEDED, Code.PERMISSION_DENIED)
    while story.say(bodies.release_body(release()), FIRST) is not Code.RATE_EXCEEDED:
        pass
    story.nonces = early
    assert story.say(bodies.release_body(release()), FIRST) is Code.NONCE_TOO_OLD
    assert story.change(ActionKind.RECOVERY, SECOND, THIRD, SECOND) is Code.OK
    assert story.states() == [KeyState.REVOKED, KeyState.ACTIVE]
    assert story.change(ActionKind.RECOVERY, SECOND, THIRD, SECOND) is not Code.OK


@pytest.mark.requires("abci.key-once")
def test_a_key_belongs_to_one_identity_for_ever() -> None:
    story = Keys()
    spec = identity_spec([FIRST], [THIRD])
    assert story.refused(standard.ledger_object("Identity", "other", spec)) is Code.KEY_TAKEN
    story.change(ActionKind.ROTATION, SECOND, FIRST, FIRST, SECOND)
    assert story.change(ActionKind.ROTATION, FIRST, THIRD, FIRST, SECOND) in (
        Code.KEY_TAKEN,
        Code.KEY_NOT_ACTIVE,
    )


@pytest.mark.requires("abci.rotation")
def test_a_did_key_never_rotates_and_a_broken_inception_is_nobody() -> None:
    story = Keys()
    keys = [key.to_json() for key in presented(THIRD)]
    body = bodies.key_change_body(ActionKind.ROTATION, keys, [])
    assert story.codes(story.pen.write(ALICE, body)) == [Code.ROTATION_IMPOSSIBLE]
    spec = identity_spec([THIRD]) | {"did": story.did}
    assert story.refused(standard.ledger_object("Identity", "forged", spec)) is Code.INCEPTION_INVALID


@pytest.mark.requires("abci.revocation")
def test_revoking_takes_one_transaction_and_the_revoked_can_recover() -> None:
    story = Keys()
    revoke = bodies.revocation_body(story.did, (FIRST.key_id,))
    assert story.codes(story.pen.write(BOB, revoke)) == [Code.OK]
    assert story.codes(story.pen.write(BOB, revoke)) == [Code.REVOCATION_WITHOUT_EFFECT]
    assert story.say(bodies.release_body(release()), FIRST) is Code.KEY_NOT_ACTIVE
    assert story.change(ActionKind.RECOVERY, SECOND, THIRD, SECOND) is Code.OK
    assert story.say(bodies.release_body(release()), SECOND) is Code.OK
    own = bodies.revocation_body(story.did)
    assert story.say(own, SECOND) is Code.OK
    unknown = bodies.revocation_body("did:key:zNobody")
    assert story.codes(story.pen.write(BOB, unknown)) == [Code.SIGNER_UNKNOWN]


@pytest.mark.requires("abci.revocation")
def test_a_deactivated_identity_never_speaks_again() -> None:
    story = Keys()
    assert story.say(bodies.deactivation_body(), FIRST) is Code.OK
    assert story.say(bodies.release_body(release()), FIRST) is Code.SIGNER_DEACTIVATED
    assert story.change(ActionKind.RECOVERY, SECOND, THIRD, SECOND) is Code.SIGNER_DEACTIVATED


@pytest.mark.requires("abci.revocation")
def test_a_key_signs_only_what_it_is_for() -> None:
    erin = Keys()
    body = bodies.key_change_body(
        ActionKind.ROTATION, [k.to_json() for k in presented(SECOND, purposes=("propose",))], []
    )
    assert erin.say(body, FIRST, SECOND) is Code.OK
    tx = erin.propose(bodies.release_body(release()))
    assert erin.say(judgement_body(tx), SECOND) is Code.KEY_PURPOSE_MISSING
    assert erin.say(bodies.release_body(release("x")), SECOND) is Code.OK


@pytest.mark.requires("abci.key-authenticates")
def test_a_key_that_only_authenticates_signs_nothing_on_the_ledger() -> None:
    erin = Keys()
    mute = [k.to_json() for k in presented(SECOND, purposes=("authenticate",))]
    change = bodies.key_change_body(ActionKind.ROTATION, mute, list(committed(THIRD)))
    assert erin.say(change, FIRST, SECOND) is Code.OK
    assert [key.purposes for key in erin.erin.active_keys] == [(Purpose.AUTHENTICATE,)]
    third = [k.to_json() for k in presented(THIRD)]
    for body in (
        bodies.release_body(release()),
        bodies.revocation_body(erin.did),
        bodies.deactivation_body(),
        bodies.key_change_body(ActionKind.ROTATION, third, []),
    ):
        signing = (SECOND, THIRD) if b"Rotation" in body else (SECOND,)
        assert erin.say(body, *signing) is Code.KEY_PURPOSE_MISSING
    assert Purpose.AUTHENTICATE not in {purpose_of(kind) for kind in ActionKind}


@pytest.mark.requires("agents.take-back")
def test_a_key_that_proposes_takes_back_its_owners_proposals_alone() -> None:
    erin = Keys()
    only = [k.to_json() for k in presented(SECOND, purposes=("propose",))]
    assert erin.say(bodies.key_change_body(ActionKind.ROTATION, only, []), FIRST, SECOND) is Code.OK
    theirs = erin.propose(bodies.release_body(release()))
    assert erin.say(judgement_body(theirs, ActionKind.REJECTION), SECOND) is Code.KEY_PURPOSE_MISSING
    mine = erin.seal(bodies.release_body(release("mine")), SECOND)
    assert erin.codes(mine) == [Code.OK]
    assert erin.say(judgement_body(mine), SECOND) is Code.KEY_PURPOSE_MISSING
    assert erin.say(judgement_body(mine, ActionKind.REJECTION), SECOND) is Code.OK
    assert erin.record(mine).state == "rejected"


@pytest.mark.requires("agents.take-back")
def test_a_key_for_reports_takes_nothing_back() -> None:
    erin = Keys()
    mine = erin.seal(bodies.release_body(release("mine")), FIRST)
    assert erin.codes(mine) == [Code.OK]
    only = [k.to_json() for k in presented(SECOND, purposes=("report",))]
    change = bodies.key_change_body(ActionKind.ROTATION, only, list(committed(THIRD)))
    assert erin.say(change, FIRST, SECOND) is Code.OK
    assert erin.say(judgement_body(mine, ActionKind.REJECTION), SECOND) is Code.KEY_PURPOSE_MISSING
