"""Machine and independent reference agree on random histories of proposals, judgements, reports and time.

A machine with one rule broken must disagree: each sabotage below is found by the same histories.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abci_app import rollouts, rules
from abci_app.machine import progress, world
from abci_app.machine import proposals as machine
from ledger.errors import Code
from ledger.rollout import ClusterState, RolloutRecord
from tests.property.abci_app.comparison import Different
from tests.property.abci_app.histories import PLANS, SAID, History
from tests.property.abci_app.reference import Case, Outcome, Person
from tests.property.abci_app.side_by_side import RULES, TTL, person
from tests.support.subjects import ALICE, BOB, CAROL

SEEDS = (7, 36, 59, 71, 137, 165, 213)
"""Histories that together reach everything twice; when histories change, choose others among the first few
hundred. What they do not hold, other choices at each run do."""
STEPS = 30
REACHED = (
    "delayed",
    "final when due",
    "no more approved after the delay",
    "an approval taken back",
    "an approver revoked in the delay",
    "denied by two",
    "too few rejections",
    "vetoed in the delay",
    "PROPOSAL_EXPIRED in open",
    "failed by report",
    "failed by deadline",
    "later wave started",
    "later wave kept back",
    "machine rollback by report",
    "machine rollback by deadline",
    "machine rollback complete",
    "machine rollback failed",
    "machine rollback over unhealthy ones",
    "rollback not everywhere",
    "withdrawn from new clusters",
    "frozen after too many",
    "frozen, approved",
    "freeze lifted",
    "an item leaves",
)
"""What the seeded histories must come upon, as the reference names it."""


@functools.cache
def honest(seed: int) -> Counter[str]:
    """Give what happened in a history of the machine as it is."""
    return walk(seed)


def walk(seed: int) -> Counter[str]:
    """Live through one history; give what happened in it."""
    history = History()
    history.walk(random.Random(seed), STEPS)  # noqa: S311 - choices, not secrets
    return history.reference.seen


@pytest.mark.requires("abci.reference")
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(5, 20))
def test_the_machine_agrees_with_the_reference(choices: random.Random, steps: int) -> None:
    History().walk(choices, steps)


@pytest.mark.requires("reference.histories")
@pytest.mark.requires("reference.reached")
def test_histories_reach_every_rule_and_agree() -> None:
    seen = sum(map(honest, SEEDS), Counter[str]())
    assert {word: seen[word] for word in REACHED if not seen[word]} == {}


# -- planted bugs ---------------------------------------------------------------------------------------


_REQUIREMENT_OF: Any = vars(machine)["requirement_of"]
_DENIED: Any = vars(machine)["denied"]
_CHECK_OPEN = rules.check_open
_ADVANCE = rollouts.advance
_BEGIN = rollouts.begin
_BEGIN_ROLLBACK = rollouts.begin_rollback
_DECIDE_FAILURE = rollouts.decide_failure
_SCOPE = world._scope
_VOICES = machine._voices


def _required(**changed: Callable[[Any], Any]) -> Any:
    """Give a requirement whose fields are others than its digest says."""
    honestly: Any = _REQUIREMENT_OF

    def requirement_of(*arguments: Any) -> Any:
        found = honestly(*arguments)
        return dataclasses.replace(found, **{name: change(found) for name, change in changed.items()})

    return requirement_of


def _no_veto(record: Any, height: int, *, rejecting: bool = False) -> None:
    del rejecting
    _CHECK_OPEN(record, height)


def _previous(rollout: RolloutRecord, healthy: int | None, *rest: Any) -> Any:
    found = _DECIDE_FAILURE(rollout, healthy, *rest)
    return rollouts.RollBack(rollout.revision - 1) if isinstance(found, rollouts.RollBack) else found


def _unbounded(rollout: RolloutRecord, healthy: int | None, done: Any, time: int, bound: Any) -> Any:
    return _DECIDE_FAILURE(rollout, healthy, done, time, (bound[0], 10**6))


def _one_more(rollout: RolloutRecord, healthy: int | None, done: Any, time: int, bound: Any) -> Any:
    return _DECIDE_FAILURE(rollout, healthy, done, time, (bound[0], bound[1] + 1))


def _again(rollout: RolloutRecord, *rest: Any) -> Any:
    if rollout.automatic and rest[0] is not None:
        return rollouts.RollBack(rest[0])
    return _DECIDE_FAILURE(rollout, *rest)


def _over_the_failed(rollout: RolloutRecord, time: int, may_start: Any) -> Any:
    """Start the next wave though a cluster of this one failed."""
    failed = {c.name for c in rollout.clusters if c.state is ClusterState.FAILED}
    overlooked = tuple(
        dataclasses.replace(c, state=ClusterState.HEALTHY) if c.name in failed else c
        for c in rollout.clusters
    )
    after, started = _ADVANCE(dataclasses.replace(rollout, clusters=overlooked), time, may_start)
    told = {c.name: c for c in rollout.clusters if c.name in failed}
    return dataclasses.replace(after, clusters=tuple(told.get(c.name, c) for c in after.clusters)), started


def _everywhere(release: str, revision: int, clusters: Any, how: Any, time: int) -> Any:
    return _BEGIN_ROLLBACK(release, revision, tuple(sorted({*clusters, "west"})), how, time)


def _patient(*arguments: Any) -> Any:
    return dataclasses.replace(_BEGIN_ROLLBACK(*arguments), failure_threshold=2)


def _later(*arguments: Any) -> Any:
    begun = _BEGIN(*arguments)
    return dataclasses.replace(begun, progress_deadline_seconds=begun.progress_deadline_seconds + 1)


def _forgetful(*arguments: Any) -> list[Any]:
    """Count the voices of the revoked."""
    voices = _VOICES(*arguments)
    for voice in voices:
        object.__setattr__(voice, "keys_revoked", False)
        object.__setattr__(voice, "subject", _Lively(voice.subject))
    return voices


class _Lively:
    """A subject that looks active whatever happened to its keys."""

    is_active = True

    def __init__(self, subject: Any) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)


SABOTAGES: dict[str, tuple[str, object, str, Any]] = {
    "another quorum": ("delayed", machine, "requirement_of", _required(organisations=lambda r: 1)),
    "delay ignored": ("delayed", machine, "requirement_of", _required(delay_seconds=lambda r: 0)),
    "delay a second short": (
        "final when due",
        machine,
        "requirement_of",
        _required(delay_seconds=lambda r: max(0, r.delay_seconds - 1)),
    ),
    "ttl of a rule ignored": ("delayed", machine, "requirement_of", _required(ttl_blocks=lambda r: TTL)),
    "one rejection more": (
        "denied by two",
        machine,
        "requirement_of",
        _required(deny_threshold=lambda r: r.deny_threshold + 1),
    ),
    "one rejection denies": ("too few rejections", machine, "denied", lambda *a: bool(a[3]) or _DENIED(*a)),
    "no veto in the delay": ("vetoed in the delay", rules, "check_open", _no_veto),
    "what leaves is overlooked": (
        "an item leaves",
        world,
        "_scope",
        lambda operation, content, _newest, clusters: _SCOPE(operation, content, None, clusters),
    ),
    "the revoked count": ("an approver revoked in the delay", machine, "_voices", _forgetful),
    "back to the revision before": (
        "machine rollback over unhealthy ones",
        rollouts,
        "decide_failure",
        _previous,
    ),
    "no bound of rollbacks": ("frozen after too many", rollouts, "decide_failure", _unbounded),
    "one rollback too many": ("frozen after too many", rollouts, "decide_failure", _one_more),
    "a failed rollback rolled back": ("machine rollback failed", rollouts, "decide_failure", _again),
    "later wave after a failure": ("later wave started", rollouts, "advance", _over_the_failed),
    "rollback to new clusters": ("rollback not everywhere", rollouts, "begin_rollback", _everywhere),
    "a rollback waits for two": ("machine rollback failed", rollouts, "begin_rollback", _patient),
    "deadline a second late": ("failed by deadline", rollouts, "begin", _later),
    "no remedy": ("withdrawn from new clusters", progress, "_remedy", lambda ctx, rollout: None),
}
"""What each breaks, and the word of the situation in which it shows."""


@pytest.mark.requires("reference.planted")
@pytest.mark.parametrize("name", SABOTAGES)
def test_a_machine_with_a_broken_rule_disagrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    word, where, what, broken = SABOTAGES[name]
    seeds = sorted(SEEDS, key=lambda seed: not honest(seed)[word])
    monkeypatch.setattr(where, what, broken)
    with pytest.raises(Different):
        _walk_all(seeds)


def _walk_all(seeds: Iterable[int]) -> None:
    for seed in seeds:
        walk(seed)


# -- one rule, followed by hand ---------------------------------------------------------------------------


@pytest.mark.requires("abci.reference")
def test_an_approval_of_somebody_revoked_counts_no_more() -> None:
    history = History()
    history.propose(BOB, _release("web", ("east",)))
    history.judge(ALICE, 0)
    history.revoke(BOB, ALICE)
    assert person(ALICE) in history.reference.revoked
    assert history.judge(CAROL, 0) == Outcome(Code.OK, "open")
    assert history.judge(BOB, 0) == Outcome(Code.OK, "final", 1)


@pytest.mark.requires("abci.reference")
def test_a_change_of_rules_voids_approvals_until_given_anew() -> None:
    history = History()
    history.propose(BOB, _release("web", ("west",)))
    history.judge(ALICE, 0)
    prompt = dataclasses.replace(RULES["slow"], delay=0)
    history.pass_(lambda by: Case("configure", by, rule=("slow", prompt)))
    assert history.judge(ALICE, 0, wrong="requirement").code is Code.REQUIREMENT_CHANGED
    assert history.judge(CAROL, 0) == Outcome(Code.OK, "open")
    assert history.judge(ALICE, 0) == Outcome(Code.OK, "final", 1)


@pytest.mark.requires("abci.reference")
def test_what_became_impossible_in_its_delay_fails_when_it_is_due() -> None:
    history = History()
    history.pass_(_release("web", ("west",)))
    history.pass_(_release("web", ("east",)))
    history.state.time = RULES["slow"].delay
    history.idle()
    waited = history.reference.cases[0]
    assert (waited.state, waited.code) == ("failed", Code.RELEASE_CLUSTERS_CHANGED)


@pytest.mark.requires("abci.reference")
def test_flapping_ends_in_a_freeze_that_people_lift() -> None:
    history = History()
    for said in ("good", "broken", "good", "broken"):
        if said == "broken" or not history.proposals:
            history.pass_(_release("web", ("east",)))
        history.report("east", "web", SAID[said])
    kinds = [incident.kind for incident in history.reference.releases.incidents]
    assert kinds == ["rollback", "release-frozen"]
    for blocks, lifts in ((TTL, False), (0, True)):
        history.pass_(_release("web", ("east",)))
        waits = history.reference.cases[-1]
        assert waits.state == "approved"
        if lifts:
            history.pass_(lambda by: Case("configure", by, lifts="machine-2"))
        history.state.height += blocks
        history.state.time += 60
        history.idle()
        assert waits.state == ("final" if lifts else "expired")
    assert history.reference.releases.desired["east", "web"] == 5


def _release(name: str, clusters: tuple[str, ...]) -> Callable[[Person], Case]:
    return lambda by: Case("apply", by, release=name, clusters=clusters, plan=PLANS[0])
