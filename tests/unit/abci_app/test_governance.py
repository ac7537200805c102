"""Changes of the ledger's own objects, break-glass, delays: told block by block to the machine."""

from __future__ import annotations

import dataclasses

import pytest

from ledger import bodies, records, standard, statekeys
from ledger.errors import Code
from ledger.limits import (
    FREEZES_MAX,
    FREEZES_OF_PEOPLE_MAX,
    FREEZES_PER_SUBJECT_MAX,
    PROPOSAL_TTL_BLOCKS_MIN,
)
from ledger.records import IncidentKind, ProposalRecord
from ledger.types import ActionKind, JsonObject, ProposalState
from tests.support.memory_state import MemoryState
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    DIGEST,
    STRANGER,
    Pen,
    Subject,
    configmap,
    identifier,
    judgement_body,
    release,
)

DAVE = Subject("dave", organisation="b")


class Story:
    """A ledger and everybody's pen."""

    def __init__(self) -> None:
        self.state, self.pen = MemoryState(), Pen()

    def codes(self, *txs: bytes) -> list[Code]:
        """Apply a block; give the codes."""
        return [result.code for result in self.state.apply(txs)]

    def propose(self, body: bytes, who: Subject = ALICE) -> bytes:
        """Propose; it must be accepted."""
        tx = self.pen.write(who, body)
        assert self.codes(tx) == [Code.OK]
        return tx

    def approve(self, who: Subject, tx: bytes) -> Code:
        """Approve what a proposal requires now."""
        body = judgement_body(tx, required=self.record(tx).requirement)
        (code,) = self.codes(self.pen.write(who, body))
        return code

    def pass_(self, body: bytes, who: Subject = ALICE) -> bytes:
        """Propose and have it approved by the quorum of two organisations."""
        tx = self.propose(body, who)
        assert [self.approve(BOB, tx), self.approve(CAROL, tx)] == [Code.OK] * 2
        return tx

    def configure(self, *put: JsonObject, remove: list[tuple[str, str]] | None = None) -> bytes:
        """Pass a change of ledger objects."""
        return self.pass_(bodies.configure_body(list(put), remove))

    def refused(self, *put: JsonObject, remove: list[tuple[str, str]] | None = None) -> Code:
        """Propose a change of ledger objects; give the code."""
        (code,) = self.codes(self.pen.write(ALICE, bodies.configure_body(list(put), remove)))
        return code

    def record(self, tx: bytes) -> ProposalRecord:
        """Give a proposal's record."""
        return records.read_proposal(self.state.content[statekeys.proposal(identifier(tx))])

    def identity(self, who: Subject, organisation: str | None = None) -> JsonObject:
        """Give an ``Identity`` object of a did:key."""
        spec: JsonObject = {
            "did": who.did,
            "kind": who.kind,
            "organisation": organisation or who.organisation,
            "cluster": who.cluster,
            "inception": None,
            "proofs": [],
        }
        return standard.ledger_object("Identity", who.name, spec)


def delayed(seconds: int) -> JsonObject:
    rule = standard.approval_rule("slow", 2, 2)
    rule["spec"]["require"]["delaySeconds"] = seconds
    rule["spec"]["match"]["operations"] = ["apply"]
    return rule


@pytest.mark.requires("abci.configure")
def test_a_new_human_is_registered_bound_and_counts() -> None:
    story = Story()
    bindings = [standard.binding(f"{role}-dave", DAVE.did, role) for role in ("operator",)]
    story.configure(story.identity(DAVE), *bindings)
    tx = story.propose(bodies.release_body(release()), DAVE)
    assert [story.approve(DAVE, tx), story.approve(ALICE, tx)] == [Code.OK] * 2
    assert story.record(tx).state is ProposalState.FINAL


@pytest.mark.requires("abci.configure")
def test_a_change_is_whole_or_nothing() -> None:
    story = Story()
    before = dict(story.state.content)
    code = story.refused(story.identity(DAVE), standard.binding("b", STRANGER.did, "operator"))
    assert code is Code.SIGNER_UNKNOWN
    left = {k for k in story.state.content if story.state.content[k] != before.get(k)}
    assert left == {statekeys.account(ALICE.did)}


@pytest.mark.requires("abci.configure")
def test_every_version_of_an_object_stays_readable_also_after_it_was_removed() -> None:
    story = Story()
    story.configure(standard.ledger_object("Cluster", "north", {}, {"zone": "a"}))
    story.configure(standard.ledger_object("Cluster", "north", {}, {"zone": "b"}))
    story.configure(remove=[("Cluster", "north")])
    assert statekeys.ledger_object("Cluster", "north") not in story.state.content
    story.configure(standard.ledger_object("Cluster", "north", {}, {"zone": "c"}))
    for version, zone in enumerate("abc", 1):
        content = story.state.content[statekeys.ledger_object_version("Cluster", "north", version)]
        assert f'"zone":"{zone}"'.encode() in content


@pytest.mark.requires("abci.configure")
@pytest.mark.parametrize(
    ("remove", "code"),
    [
        (("Cluster", "mars"), Code.OBJECT_UNKNOWN),
        (("Role", "operator"), Code.OBJECT_IN_USE),
        (("Freeze", "none"), Code.OBJECT_UNKNOWN),
        (("Validator", "none"), Code.OBJECT_UNKNOWN),
        (("Upgrade", "upgrade"), Code.OBJECT_UNKNOWN),
        (("Identity", "nobody"), Code.OBJECT_UNKNOWN),
        (("ApprovalRule", "default"), Code.LOCKOUT),
    ],
)
def test_what_cannot_be_removed(remove: tuple[str, str], code: Code) -> None:
    assert Story().refused(remove=[remove]) is code


@pytest.mark.requires("abci.configure")
def test_a_cluster_with_releases_stays() -> None:
    story = Story()
    story.pass_(bodies.release_body(release()))
    assert story.refused(remove=[("Cluster", "east")]) is Code.OBJECT_IN_USE


@pytest.mark.requires("abci.identity-immutable")
def test_an_identity_keeps_its_did_name_and_kind() -> None:
    story = Story()
    story.configure(story.identity(BOB, "z"))
    other = story.identity(STRANGER) | {"metadata": {"name": "bob"}}
    assert story.refused(other) is Code.IDENTITY_IMMUTABLE
    renamed = story.identity(BOB) | {"metadata": {"name": "robert"}}
    assert story.refused(renamed) is Code.IDENTITY_IMMUTABLE
    elsewhere = story.identity(dataclasses.replace(BOB, cluster="east"))
    assert story.refused(elsewhere) is Code.FIELD_INVALID
    node = dataclasses.replace(STRANGER, kind="node", cluster="mars")
    assert story.refused(story.identity(node)) is Code.CLUSTER_UNKNOWN


@pytest.mark.requires("abci.no-lockout")
def test_nobody_can_lock_the_ledger() -> None:
    story = Story()
    assert story.refused(standard.approval_rule("default", 4, 2)) is Code.LOCKOUT
    assert story.refused(remove=[("Identity", "carol")]) is Code.LOCKOUT
    everybody = [("RoleBinding", f"governor-{name}") for name in ("alice", "bob", "carol")]
    assert story.refused(remove=everybody) is Code.LOCKOUT
    (code,) = story.codes(story.pen.write(ALICE, bodies.revocation_body(CAROL.did)))
    assert code is Code.LOCKOUT
    (code,) = story.codes(story.pen.write(CAROL, bodies.deactivation_body()))
    assert code is Code.LOCKOUT


@pytest.mark.requires("abci.grant")
def test_nobody_grants_what_is_not_theirs_to_grant() -> None:
    story = Story()
    role = standard.ledger_object(
        "Role",
        "clerk",
        {
            "rules": [
                {
                    "effect": "allow",
                    "verbs": ["propose"],
                    "kinds": ["RoleBinding.conclave.internal"],
                    "namespaces": ["*"],
                    "clusters": ["*"],
                    "names": ["*"],
                }
            ]
        },
    )
    story.configure(role, story.identity(DAVE), standard.binding("clerk-dave", DAVE.did, "clerk"))
    mine = standard.binding("operator-dave", DAVE.did, "operator")
    assert story.codes(story.pen.write(DAVE, bodies.configure_body([mine]))) == [Code.GRANT_EXCEEDS_GRANTER]
    delegated = standard.binding("d", STRANGER.did, "operator")
    delegated["spec"] |= {"subject": BOB.did, "parent": "operator-carol"}
    assert story.refused(delegated) is Code.GRANT_EXCEEDS_GRANTER
    delegated["spec"]["parent"] = "operator-alice"
    story.configure(delegated)
    deep = delegated
    for number in range(1, 4):
        deep = standard.binding(f"d{number}", BOB.did, "operator")
        deep["spec"]["parent"] = "d" if number == 1 else f"d{number - 1}"
        body = bodies.configure_body([deep])
        (code,) = story.codes(tx := story.pen.write(BOB, body))
        if number < 3:
            assert code is Code.OK
            assert [story.approve(ALICE, tx), story.approve(CAROL, tx)] == [Code.OK] * 2
    assert code is Code.DELEGATION_TOO_DEEP


@pytest.mark.requires("abci.permissions")
def test_a_role_bounds_what_its_bearer_proposes_and_approves() -> None:
    story = Story()
    narrow = standard.binding("operator-bob", BOB.did, "operator")
    narrow["spec"]["namespaces"] = ["elsewhere"]
    story.configure(narrow)
    tx = story.pen.propose(BOB)
    assert story.codes(tx) == [Code.PERMISSION_DENIED]
    proposed = story.propose(bodies.release_body(release()))
    assert story.approve(BOB, proposed) is Code.PERMISSION_DENIED
    assert story.approve(CAROL, proposed) is Code.OK
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "demo"}}
    (code,) = story.codes(story.pen.write(AGENT, bodies.release_body(release(manifests=[secret]))))
    assert code is Code.PERMISSION_DENIED


@pytest.mark.requires("abci.requirement-changed")
def test_after_the_rules_changed_earlier_approvals_count_no_more_until_given_again() -> None:
    story = Story()
    waiting = story.propose(bodies.release_body(release()))
    assert story.approve(BOB, waiting) is Code.OK
    old = story.record(waiting).requirement
    story.configure(standard.approval_rule("default", 2, 1))
    stale = judgement_body(waiting, required=old)
    assert story.codes(story.pen.write(CAROL, stale)) == [Code.REQUIREMENT_CHANGED]
    (result,) = story.state.apply([story.pen.write(CAROL, stale)])
    assert result.refusal is not None
    requirement = result.refusal.expected
    fresh = judgement_body(waiting, required=requirement)
    assert story.codes(story.pen.write(CAROL, fresh)) == [Code.OK]
    assert story.record(waiting).state is ProposalState.OPEN
    assert story.codes(story.pen.write(BOB, fresh)) == [Code.OK]
    assert story.record(waiting).state is ProposalState.FINAL


@pytest.mark.requires("abci.delay")
def test_a_delayed_change_waits_and_is_judged_again() -> None:
    story = Story()
    story.configure(delayed(100))
    story.state.time = 1000
    kept, revoked = (story.pass_(bodies.release_body(release(name))) for name in ("kept", "revoked"))
    assert {story.record(tx).state for tx in (kept, revoked)} == {ProposalState.APPROVED}
    story.state.time = 1099
    story.state.apply([])
    assert story.record(kept).state is ProposalState.APPROVED
    story.state.time = 1100
    story.state.apply([])
    assert story.record(kept).state is ProposalState.FINAL
    assert statekeys.release("kept") in story.state.content


@pytest.mark.requires("abci.delay")
def test_while_it_waits_a_change_can_be_rejected_and_no_more_approved() -> None:
    story = Story()
    story.configure(delayed(100))
    tx = story.pass_(bodies.release_body(release()))
    assert story.approve(ALICE, tx) is Code.PROPOSAL_NOT_OPEN
    body = judgement_body(tx, ActionKind.REJECTION, story.record(tx).requirement)
    assert story.codes(story.pen.write(ALICE, body)) == [Code.OK]
    assert story.record(tx).state is ProposalState.REJECTED
    story.state.time = 100
    story.state.apply([])
    assert statekeys.release("web") not in story.state.content


@pytest.mark.requires("abci.delay")
def test_a_delayed_change_that_meets_a_rule_has_failed() -> None:
    story = Story()
    story.configure(delayed(100))
    first, second = (
        story.pass_(bodies.release_body(release(manifests=[configmap("c", text)]), against=0))
        for text in ("1", "2")
    )
    story.state.time = 200
    story.state.apply([])
    assert story.record(first).state is ProposalState.FINAL
    assert (story.record(second).state, story.record(second).code) == (
        ProposalState.FAILED,
        Code.REVISION_CONFLICT,
    )


@pytest.mark.requires("abci.approver-revoked")
def test_a_revoked_approver_counts_no_more() -> None:
    story = Story()
    story.configure(
        story.identity(DAVE), *(standard.binding(f"{r}-dave", DAVE.did, r) for r in ("operator", "governor"))
    )
    tx = story.propose(bodies.release_body(release()))
    assert story.approve(DAVE, tx) is Code.OK
    assert story.codes(story.pen.write(BOB, bodies.revocation_body(DAVE.did))) == [Code.OK]
    assert story.approve(ALICE, tx) is Code.OK
    assert story.record(tx).state is ProposalState.OPEN
    late = story.pen.write(DAVE, judgement_body(tx))
    assert story.codes(late) == [Code.KEY_NOT_ACTIVE]
    assert story.approve(CAROL, tx) is Code.OK
    assert story.record(tx).state is ProposalState.FINAL


def glass(**changed: object) -> JsonObject:
    spec = {
        "members": sorted([ALICE.did, CAROL.did]),
        "count": 1,
        "operations": ["rollback"],
        "kinds": ["*"],
        "namespaces": ["demo"],
        "clusters": ["east"],
        "notAfterTime": 500,
        "usesMax": 1,
    }
    return standard.ledger_object("BreakGlass", "fire", spec | changed)


@pytest.mark.requires("abci.break-glass")
def test_break_glass_is_narrow_loud_counted_and_expires() -> None:
    story = Story()
    story.configure(glass())
    for text in ("1", "2"):
        story.pass_(bodies.release_body(release(manifests=[configmap("c", text)])))
    change = {"rollback": {"release": "web", "toRevision": 1}}
    body = bodies.proposal_body(change, break_glass="fire")
    assert story.codes(story.pen.write(BOB, body)) == [Code.PERMISSION_DENIED]
    unknown = bodies.proposal_body(change, break_glass="none")
    assert story.codes(story.pen.write(ALICE, unknown)) == [Code.OBJECT_UNKNOWN]
    apply = bodies.proposal_body({"release": release()}, break_glass="fire")
    assert story.codes(story.pen.write(ALICE, apply)) == [Code.BREAK_GLASS_INVALID]
    tx = story.propose(body)
    assert story.approve(BOB, tx) is Code.PERMISSION_DENIED
    assert story.approve(ALICE, tx) is Code.OK
    assert story.record(tx).state is ProposalState.FINAL
    incident = records.read_incident(story.state.content[statekeys.incident(1)])
    assert (incident.kind, incident.subject) == (IncidentKind.BREAK_GLASS, ALICE.did)
    assert story.codes(story.pen.write(ALICE, body)) == [Code.BREAK_GLASS_INVALID]
    story.configure(glass())
    assert story.record(story.propose(body)).state is ProposalState.OPEN
    story.configure(glass(usesMax=9))
    story.state.time = 501
    assert story.codes(story.pen.write(ALICE, body)) == [Code.BREAK_GLASS_INVALID]


@pytest.mark.requires("abci.parameters")
def test_parameters_change_by_proposal() -> None:
    story = Story()
    spec = {"imageDigestRequired": False, "proposalTtlBlocks": 9}
    story.configure(standard.ledger_object("Parameters", "parameters", spec))
    found = records.read_parameters(story.state.content[statekeys.PARAMETERS])
    assert (found.image_digest_required, found.proposal_ttl_blocks) == (False, 9)
    assert story.refused(standard.ledger_object("Parameters", "other", spec)) is Code.FIELD_INVALID


@pytest.mark.requires("abci.ttl-min")
def test_the_shortest_life_of_a_proposal_is_long_enough_to_verify_and_judge_it() -> None:
    story, least = Story(), PROPOSAL_TTL_BLOCKS_MIN
    spec = {"imageDigestRequired": True, "proposalTtlBlocks": least - 1}
    assert story.refused(standard.ledger_object("Parameters", "parameters", spec)) is Code.FIELD_INVALID
    rule = standard.approval_rule("hasty", 2, 2, ttl_blocks=least - 1)
    assert story.refused(rule) is Code.FIELD_INVALID
    spec["proposalTtlBlocks"] = least
    story.configure(standard.ledger_object("Parameters", "parameters", spec))
    found = records.read_parameters(story.state.content[statekeys.PARAMETERS])
    story.state.constants = dataclasses.replace(story.state.constants, parameters=found)
    tx = story.propose(bodies.release_body(release()))
    story.codes()  # the block that proves what was proposed
    assert story.approve(BOB, tx) is Code.OK
    story.codes()  # the block that proves the first approval
    assert story.approve(CAROL, tx) is Code.OK
    assert story.record(tx).state is ProposalState.FINAL


@pytest.mark.requires("abci.spam-caps")
def test_open_proposals_and_envelopes_of_one_subject_are_bounded() -> None:
    story = Story()
    spec = {
        "imageDigestRequired": True,
        "proposalTtlBlocks": 50,
        "openProposalsMax": 2,
        "envelopesPerWindowMax": 5,
    }
    story.configure(standard.ledger_object("Parameters", "parameters", spec))
    found = records.read_parameters(story.state.content[statekeys.PARAMETERS])
    story.state.constants = dataclasses.replace(story.state.constants, parameters=found)
    story.state.height = 200
    txs = [story.pen.propose(ALICE) for _ in range(3)]
    assert story.codes(*txs) == [Code.OK, Code.OK, Code.OPEN_PROPOSALS_EXCEEDED]
    rejected = story.pen.reject(ALICE, txs[0])
    assert story.codes(rejected, story.pen.propose(ALICE)) == [Code.OK, Code.OK]
    assert story.codes(story.pen.propose(ALICE)) == [Code.RATE_EXCEEDED]
    freeze = story.pen.write(ALICE, bodies.freeze_body("stop"))
    assert story.codes(freeze) == [Code.OK]


@pytest.mark.requires("abci.dry-run-digest")
def test_a_proposal_may_carry_the_digest_of_its_dry_run() -> None:
    story = Story()
    body = bodies.proposal_body({"release": release()}, dry_run=DIGEST)
    assert story.codes(story.pen.write(ALICE, body)) == [Code.OK]


@pytest.mark.requires("abci.freeze-denied")
@pytest.mark.parametrize(
    ("denied", "bound", "namespaces", "clusters", "code"),
    [
        ("prod", "*", ("prod",), ("*",), Code.PERMISSION_DENIED),
        ("prod", "*", ("pro*",), ("*",), Code.PERMISSION_DENIED),
        ("prod", "*", ("*",), ("*",), Code.PERMISSION_DENIED),
        ("prod-*", "*", ("pro*",), ("*",), Code.PERMISSION_DENIED),
        ("pro*", "*", ("prod-eu",), ("*",), Code.PERMISSION_DENIED),
        ("*", "prod", ("*",), ("*",), Code.PERMISSION_DENIED),
        ("*", "prod", ("demo",), ("*",), Code.OK),
        ("prod", "*", ("demo*",), ("*",), Code.OK),
        ("prod-*", "*", ("prod",), ("*",), Code.OK),
    ],
)
def test_deny_wins_over_a_freeze_of_more_than_what_is_denied(
    denied: str, bound: str, namespaces: tuple[str, ...], clusters: tuple[str, ...], code: Code
) -> None:
    story = Story()
    rule = {"verbs": ["freeze"], "kinds": ["Freeze.conclave.internal"], "names": ["*"], "clusters": ["*"]}
    may = standard.ledger_object("Role", "may", {"rules": [rule | {"effect": "allow", "namespaces": ["*"]}]})
    deny = standard.ledger_object(
        "Role", "deny", {"rules": [rule | {"effect": "deny", "namespaces": [denied]}]}
    )
    narrow = standard.binding("dave-deny", DAVE.did, "deny")
    narrow["spec"]["namespaces"] = [bound]
    story.configure(story.identity(DAVE))
    story.configure(may, deny, standard.binding("dave-may", DAVE.did, "may"), narrow)
    freeze = bodies.freeze_body("stop", namespaces=namespaces, clusters=clusters)
    assert story.codes(story.pen.write(DAVE, freeze)) == [code]


@pytest.mark.requires("abci.freeze-share")
def test_nobody_uses_up_the_brake_of_others_nor_of_the_machine() -> None:
    story = Story()
    for number in range(FREEZES_PER_SUBJECT_MAX):
        assert story.codes(story.pen.write(ALICE, bodies.freeze_body(f"a-{number}"))) == [Code.OK]
    assert story.codes(story.pen.write(ALICE, bodies.freeze_body("more"))) == [Code.LIMIT_EXCEEDED]
    assert story.codes(story.pen.write(BOB, bodies.freeze_body("bobs"))) == [Code.OK]
    assert story.codes(story.pen.write(BOB, bodies.freeze_body("machine-2"))) == [Code.FIELD_INVALID]
    assert FREEZES_OF_PEOPLE_MAX < FREEZES_MAX
