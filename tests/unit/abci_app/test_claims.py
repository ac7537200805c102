"""Whose an object is: no two releases have one object on one cluster."""

from __future__ import annotations

from typing import Any

import pytest

from abci_app.machine import claims
from ledger import bodies, records, statekeys
from ledger.authority.scope import Touch
from ledger.errors import Code
from ledger.limits import CLAIMS_PER_OBJECT_MAX
from ledger.records import ClaimRecord
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE, BOB, CAROL, configmap, release
from tests.unit.abci_app.test_release_stories import BOTH, Rollouts


def _body(name: str, *objects: str, clusters: tuple[str, ...] = ("east",), **spec: Any) -> bytes:
    wanted = release(name, clusters=clusters, manifests=[configmap(each) for each in objects])
    wanted["spec"] |= spec
    return bodies.release_body(wanted)


def _holders(story: Rollouts, name: str) -> tuple[str, ...]:
    content = story.state.get(statekeys.claim("ConfigMap", "demo", name))
    return () if content is None else records.read_claim(content).releases


@pytest.mark.requires("releases.claims")
def test_an_object_of_another_release_cannot_be_proposed_on_a_cluster_of_both() -> None:
    story = Rollouts()
    story.pass_(_body("web", "a", "b"))
    (refused,) = story.state.apply([story.pen.write(ALICE, _body("api", "c", "b", clusters=BOTH))])
    assert refused.code is Code.OBJECT_CLAIMED
    assert refused.refusal is not None
    facts = {"object": "ConfigMap/demo/b", "release": "web", "cluster": "east"}
    assert refused.refusal.facts == facts
    assert story.codes(story.pen.write(ALICE, _body("api", "c", clusters=BOTH))) == [Code.OK]


@pytest.mark.requires("releases.claims")
def test_the_same_name_on_another_cluster_is_another_object() -> None:
    story = Rollouts()
    story.pass_(_body("web", "a", clusters=("east",)))
    story.pass_(_body("api", "a", clusters=("west",)))
    assert _holders(story, "a") == ("api", "web")
    wider = story.pen.write(ALICE, _body("web", "a", clusters=BOTH))
    assert story.codes(wider) == [Code.OBJECT_CLAIMED]


@pytest.mark.requires("releases.claims")
def test_of_two_that_were_proposed_together_the_second_is_not_executed() -> None:
    story = Rollouts()
    first, second = story.propose(_body("web", "a")), story.propose(_body("api", "a"))
    for tx in (first, second):
        assert story.approve(BOB, tx) is Code.OK
    assert story.approve(CAROL, first) is Code.OK
    assert story.approve(CAROL, second) is Code.OBJECT_CLAIMED
    assert story.state.get(statekeys.release("api")) is None
    assert _holders(story, "a") == ("web",)


@pytest.mark.requires("releases.claims")
def test_an_object_is_free_once_no_revision_in_use_has_it() -> None:
    story = Rollouts()
    story.pass_(_body("web", "settings", "old", clusters=BOTH))
    story.healthy(1)
    story.pass_(_body("web", "settings", "new", clusters=BOTH))
    assert (_holders(story, "old"), _holders(story, "new")) == (("web",), ("web",))
    assert story.codes(story.pen.write(ALICE, _body("api", "old"))) == [Code.OBJECT_CLAIMED]
    story.healthy(2)
    assert (_holders(story, "old"), _holders(story, "new")) == ((), ("web",))
    assert story.codes(story.pen.write(ALICE, _body("api", "old"))) == [Code.OK]


@pytest.mark.requires("releases.claims")
def test_what_the_machine_goes_back_to_is_still_claimed_and_what_failed_no_more() -> None:
    story = Rollouts()
    story.pass_(_body("web", "settings", "old", clusters=BOTH))
    story.healthy(1)
    story.pass_(_body("web", "settings", "new", clusters=BOTH))
    story.report("east", 2, "failed")
    assert story.web.revision == 3
    assert (_holders(story, "old"), _holders(story, "new")) == (("web",), ())


@pytest.mark.requires("releases.claims")
def test_a_rollback_takes_nothing_that_is_anothers_now() -> None:
    story = Rollouts()
    story.pass_(_body("web", "settings", "old", clusters=BOTH))
    story.healthy(1)
    story.pass_(_body("web", "settings", clusters=BOTH))
    story.healthy(2)
    back = story.propose(bodies.rollback_body("web", 1))
    story.pass_(_body("api", "old"))
    assert story.codes(story.pen.write(ALICE, bodies.rollback_body("web", 1))) == [Code.OBJECT_CLAIMED]
    assert story.approve(BOB, back) is Code.OK
    assert story.approve(CAROL, back) is Code.OBJECT_CLAIMED
    story.pass_(bodies.delete_body("api", prune=True))
    story.pass_(bodies.rollback_body("web", 1))
    assert _holders(story, "old") == ("web",)


@pytest.mark.requires("releases.claims")
@pytest.mark.parametrize("prune", [True, False])
def test_a_deleted_release_claims_nothing_and_may_come_back(prune: bool) -> None:
    story = Rollouts()
    story.pass_(_body("web", "a", "b"))
    story.pass_(bodies.delete_body("web", prune=prune))
    assert (_holders(story, "a"), _holders(story, "b")) == ((), ())
    story.pass_(_body("web", "a"))
    assert (_holders(story, "a"), _holders(story, "b")) == (("web",), ())


@pytest.mark.requires("releases.claims")
def test_an_upgrade_of_the_same_objects_writes_no_claims() -> None:
    story = Rollouts()
    story.pass_(_body("web", "a"))
    before = {key: value for key, value in story.state.content.items() if key.startswith(b"claim/")}
    again = story.propose(_body("web", "a", health={"healthyPercent": 90}))
    assert [story.approve(BOB, again), story.approve(CAROL, again)] == [Code.OK] * 2
    after = {key: value for key, value in story.state.content.items() if key.startswith(b"claim/")}
    assert before == after
    assert len(before) == 1


@pytest.mark.requires("releases.claims")
def test_the_releases_that_claim_one_object_are_bounded() -> None:
    story = Rollouts()
    full = ClaimRecord(tuple(f"r{number:02d}" for number in range(CLAIMS_PER_OBJECT_MAX)))
    story.state.content[statekeys.claim("ConfigMap", "demo", "a")] = records.write(full)
    touches = [Touch("ConfigMap", "demo", "a")]
    refusal_of(lambda: claims.check(story.state, "more", touches, ("east",)), Code.LIMIT_EXCEEDED)
    claims.check(story.state, "r00", touches, ("east",))
