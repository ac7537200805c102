"""What a revision takes from its release: judged as the deletion it is, against the newest revision."""

from __future__ import annotations

import pytest

from abci_app.machine.world import requirement_of, scope_of
from ledger import bodies, records, standard, statekeys
from ledger.authority.scope import Scope, Touch
from ledger.errors import Code
from ledger.records import DesiredState
from ledger.types import JsonObject, ProposalState
from tests.support.subjects import ALICE, BOB, CAROL, Subject, configmap, judgement_body, release
from tests.unit.abci_app.test_governance import Story, delayed

MAL = Subject("mal", organisation="b")
POLICY: JsonObject = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "no-privileged"},
    "spec": {},
}
SECRET: JsonObject = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "demo"}}


def moved(name: str = "web", namespace: str = "team-b") -> JsonObject:
    """Give a release that is in another namespace altogether."""
    manifest = configmap("x")
    manifest["metadata"]["namespace"] = namespace
    found = release(name, manifests=[manifest])
    found["spec"]["namespace"] = namespace
    return found


class Judged(Story):
    """A ledger where high risk, and so every deletion, needs three humans."""

    def __init__(self) -> None:
        super().__init__()
        low, high = standard.approval_rule("default", 2, 2), standard.approval_rule("high", 3, 2)
        low["spec"]["match"]["risks"] = ["constitution", "low"]
        high["spec"]["match"]["risks"] = ["high"]
        self.configure(low, high)

    def scope(self, tx: bytes) -> Scope:
        """Give what a proposal touches now."""
        record = self.record(tx)
        return scope_of(self.state, record.id, record.change, None)

    def agree(self, who: Subject, tx: bytes) -> Code:
        """Approve under what is required now, whatever the record says."""
        needed = requirement_of(self.state, self.scope(tx), self.state.constants, self.state.time, None)
        (code,) = self.codes(self.pen.write(who, judgement_body(tx, required=needed.digest)))
        return code

    def final(self, body: bytes, *who: Subject) -> bytes:
        """Propose and have it approved by exactly these."""
        tx = self.propose(body)
        assert [self.approve(one, tx) for one in who] == [Code.OK] * len(who)
        assert self.record(tx).state is ProposalState.FINAL
        return tx


@pytest.mark.requires("authority.leaving")
def test_nobody_takes_over_a_release_of_a_namespace_where_they_may_nothing() -> None:
    story = Story()
    story.pass_(bodies.release_body(release("guardrails", manifests=[configmap("g"), POLICY])))
    rule = {"effect": "allow", "verbs": ["approve", "propose"], "kinds": ["*"], "namespaces": ["team-b"]}
    teamer = {"rules": [rule | {"clusters": ["*"], "names": ["*"]}]}
    bound = standard.binding("teamer-mal", MAL.did, "teamer")
    bound["spec"]["namespaces"] = ["team-b"]
    story.configure(standard.ledger_object("Role", "teamer", teamer), story.identity(MAL), bound)
    own = story.pen.write(MAL, bodies.release_body(moved("own")))
    assert story.codes(own) == [Code.OK]
    taken = story.pen.write(MAL, bodies.release_body(moved("guardrails")))
    assert story.codes(taken) == [Code.PERMISSION_DENIED]
    story.pass_(bodies.delete_body("guardrails", prune=False))
    assert story.codes(story.pen.write(MAL, bodies.release_body(moved("guardrails")))) == [
        Code.PERMISSION_DENIED
    ], "clusters may hold its objects still"


@pytest.mark.requires("authority.leaving")
@pytest.mark.parametrize("lost", [SECRET, POLICY, configmap("other")], ids=["secret", "policy", "plain"])
def test_to_drop_an_object_needs_what_its_deletion_needs(lost: JsonObject) -> None:
    story = Judged()
    everybody = [BOB, CAROL, ALICE]
    first = story.propose(bodies.release_body(release(manifests=[configmap("a"), lost])))
    for who in everybody:
        if story.record(first).state is ProposalState.OPEN:
            assert story.approve(who, first) is Code.OK
    tx = story.propose(bodies.release_body(release(manifests=[configmap("a")])))
    assert [touch.name for touch in story.scope(tx).leaving] == [lost["metadata"]["name"]]
    for who, state in zip(
        everybody, (ProposalState.OPEN, ProposalState.OPEN, ProposalState.FINAL), strict=True
    ):
        assert story.approve(who, tx) is Code.OK
        assert story.record(tx).state is state
    story.final(bodies.release_body(release(manifests=[configmap("a", "2")])), BOB, CAROL)


@pytest.mark.requires("authority.leaving")
def test_a_rollback_drops_what_came_since() -> None:
    story = Judged()
    story.final(bodies.release_body(release(manifests=[configmap("a")])), BOB, CAROL)
    story.final(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])), BOB, CAROL)
    tx = story.propose(bodies.rollback_body("web", 1))
    assert story.scope(tx).leaving == (Touch("ConfigMap", "demo", "b"),)
    assert [story.approve(who, tx) for who in (BOB, CAROL)] == [Code.OK] * 2
    assert story.record(tx).state is ProposalState.OPEN
    assert story.approve(ALICE, tx) is Code.OK
    assert story.record(tx).revision == 3
    story.final(bodies.rollback_body("web", 3), BOB, CAROL)


@pytest.mark.requires("authority.leaving")
def test_approvals_given_before_another_revision_added_something_do_not_delete_it() -> None:
    story = Judged()
    story.final(bodies.release_body(release(manifests=[configmap("a")])), BOB, CAROL)
    waiting = story.propose(bodies.release_body(release(manifests=[configmap("a", "2")])))
    assert story.approve(BOB, waiting) is Code.OK
    story.final(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])), BOB, CAROL)
    assert story.approve(CAROL, waiting) is Code.REQUIREMENT_CHANGED
    assert [story.agree(who, waiting) for who in (CAROL, ALICE)] == [Code.OK] * 2
    assert story.record(waiting).state is ProposalState.OPEN, "bob's approval was of something else"
    assert story.agree(BOB, waiting) is Code.OK
    assert story.record(waiting).revision == 3


@pytest.mark.requires("authority.leaving")
def test_who_approves_that_one_object_goes_approves_no_other() -> None:
    story = Story()
    story.pass_(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])))
    waiting = story.propose(bodies.release_body(release(manifests=[configmap("a")])))
    assert story.approve(BOB, waiting) is Code.OK
    story.pass_(bodies.release_body(release(manifests=[configmap(n) for n in "abc"])))
    assert story.approve(CAROL, waiting) is Code.REQUIREMENT_CHANGED, "the same rules, but more leaves"


@pytest.mark.requires("authority.leaving")
def test_after_a_delay_it_is_judged_against_the_revision_that_is_newest_then() -> None:
    story = Judged()
    story.final(bodies.release_body(release(manifests=[configmap("a")])), BOB, CAROL)
    slow = delayed(60)
    slow["spec"]["match"]["risks"] = ["low"]
    story.configure(slow)
    one = story.propose(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])))
    two = story.propose(bodies.release_body(release(manifests=[configmap("a", "2")])))
    for tx in (one, two):
        assert [story.approve(who, tx) for who in (BOB, CAROL)] == [Code.OK] * 2
        assert story.record(tx).state is ProposalState.APPROVED
    story.state.time += 60
    story.codes()
    assert story.record(one).state is ProposalState.FINAL
    assert story.record(two).state is ProposalState.OPEN


@pytest.mark.requires("authority.leaving")
def test_a_release_does_not_leave_a_frozen_namespace() -> None:
    story = Story()
    story.pass_(bodies.release_body(release()))
    assert story.codes(story.pen.write(BOB, bodies.freeze_body("stop", namespaces=("demo",)))) == [Code.OK]
    tx = story.pass_(bodies.release_body(moved()))
    assert story.record(tx).state is ProposalState.APPROVED
    story.configure(remove=[("Freeze", "stop")])
    story.codes()
    assert story.record(tx).state is ProposalState.FINAL
    back = story.pass_(bodies.rollback_body("web", 1))
    assert story.record(back).revision == 3
    known = records.read_release(story.state.content[statekeys.release("web")])
    assert known.namespace == "demo", "a release is where its newest revision is"


@pytest.mark.requires("authority.leaving")
def test_a_rollout_that_would_empty_a_frozen_namespace_waits() -> None:
    story = Story()
    story.pass_(bodies.release_body(release(clusters=("east", "west"))))
    away = moved()
    away["spec"] |= {"clusters": ["east", "west"], "rollout": {"waves": [{"clusters": ["east"]}]}}
    story.pass_(bodies.release_body(away))
    assert _desired(story, "west") == (1, DesiredState.PRESENT)
    assert story.codes(story.pen.write(BOB, bodies.freeze_body("stop", namespaces=("demo",)))) == [Code.OK]
    rollout = story.state.content[statekeys.rollout("web")]
    assert b'"pausedBy":"freeze/stop"' in rollout
    story.configure(remove=[("Freeze", "stop")])
    assert b'"pausedBy":null' in story.state.content[statekeys.rollout("web")]


def _desired(story: Story, cluster: str) -> tuple[int, DesiredState]:
    found = records.read_desired(story.state.content[statekeys.desired(cluster, "web")])
    return found.revision, found.state


@pytest.mark.requires("authority.leaving")
def test_a_deleted_release_comes_back_beside_who_has_its_objects_now() -> None:
    story = Story()
    story.pass_(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])))
    story.pass_(bodies.delete_body("web", prune=False))
    story.pass_(bodies.release_body(release("heir", manifests=[configmap("b")])))
    tx = story.pass_(bodies.release_body(release(manifests=[configmap("a")])))
    assert story.record(tx).state is ProposalState.FINAL


@pytest.mark.requires("authority.leaving")
def test_under_break_glass_nothing_leaves_that_it_may_not_delete() -> None:
    story = Story()
    story.pass_(bodies.release_body(release(manifests=[configmap("a"), configmap("b")])))
    spec: JsonObject = {
        "members": sorted([ALICE.did, BOB.did]),
        "count": 1,
        "operations": ["apply"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "notAfterTime": 10**9,
        "usesMax": 9,
    }
    story.configure(standard.ledger_object("BreakGlass", "fire", spec))
    body = bodies.proposal_body({"release": release(manifests=[configmap("a")])}, break_glass="fire")
    assert story.codes(story.pen.write(ALICE, body)) == [Code.BREAK_GLASS_INVALID]
    story.configure(standard.ledger_object("BreakGlass", "fire", spec | {"operations": ["apply", "delete"]}))
    tx = story.propose(body)
    assert story.approve(BOB, tx) is Code.OK
    assert story.record(tx).state is ProposalState.FINAL


@pytest.mark.requires("authority.delegator-denied")
def test_nobody_acts_through_a_delegation_where_its_delegator_is_denied() -> None:
    story, dora = Story(), Subject("dora", organisation="b")
    lent = standard.binding("lent", dora.did, "operator")
    lent["spec"]["parent"] = "operator-alice"
    story.configure(story.identity(dora), lent)
    body = bodies.release_body(release())
    assert story.codes(story.pen.write(dora, body)) == [Code.OK]
    rule = {"effect": "deny", "verbs": ["approve", "propose"], "kinds": ["*"], "namespaces": ["demo"]}
    denied = standard.ledger_object("Role", "no", {"rules": [rule | {"clusters": ["*"], "names": ["*"]}]})
    story.configure(denied, standard.binding("no-alice", ALICE.did, "no"))
    assert story.codes(story.pen.write(ALICE, body)) == [Code.PERMISSION_DENIED]
    assert story.codes(story.pen.write(dora, body)) == [Code.PERMISSION_DENIED]
    story.configure(standard.binding("operator-dora", dora.did, "operator"))
    assert story.codes(story.pen.write(dora, body)) == [Code.OK], "what is bound to herself is hers"
