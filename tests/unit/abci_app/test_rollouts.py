"""Rollouts, rule by rule: targets, waves, deadlines, health, pauses, and what follows from a failure."""

from __future__ import annotations

import dataclasses

import pytest

from abci_app import rollouts
from abci_app.rollouts import FreezeRelease, Observation, RollBack, Withdraw
from ledger.errors import Code
from ledger.release_spec import Targets
from ledger.rollout import ClusterState, HealthRule, RolloutOptions, RolloutRecord, RolloutState, Wave
from tests.support.refusal import refusal_of

LABELS = {
    "east": {"stage": "canary", "zone": "e"},
    "north": {"stage": "prod"},
    "west": {"stage": "canary"},
}
CANARY = {"matchLabels": {"stage": "canary"}}
BOUND = (3600, 2)


def begun(
    *waves: tuple[str, ...], health: HealthRule | None = None, time: int = 100, **options: int
) -> RolloutRecord:
    """Give a rollout of these waves, with what starts at once started."""
    how = (RolloutOptions((), **options), health or HealthRule())
    return step(rollouts.begin("web", 2, waves, how, time), time)


def step(rollout: RolloutRecord, time: int) -> RolloutRecord:
    return rollouts.advance(rollouts.expire(rollout, time), time, lambda _: True)[0]


def saw(cluster: str, current: int = 1, total: int = 1, outcome: str = "applied") -> Observation:
    return Observation(cluster, outcome, "unknown", current, total)


def failed(cluster: str) -> Observation:
    return Observation(cluster, "failed", "unknown", 0, 1)


def states(rollout: RolloutRecord) -> str:
    """Give the clusters' states, by name, a letter each: w, s, h, f."""
    return "".join(cluster.state.value[0] for cluster in rollout.clusters)


@pytest.mark.requires("releases.targets")
def test_targets_are_those_named_or_all_with_the_labels() -> None:
    assert rollouts.resolve_targets(Targets(("gone", "west"), None), LABELS) == ("gone", "west")
    assert rollouts.resolve_targets(Targets((), CANARY), LABELS) == ("east", "west")
    both = {"matchLabels": {"stage": "canary", "zone": "e"}}
    assert rollouts.resolve_targets(Targets((), both), LABELS) == ("east",)
    none = Targets((), {"matchLabels": {"stage": "test"}})
    refusal_of(lambda: rollouts.resolve_targets(none, LABELS), Code.TARGETS_EMPTY)


@pytest.mark.requires("releases.targets")
def test_a_cluster_is_in_its_first_wave_and_the_rest_form_the_last() -> None:
    waves = (Wave(("gone",)), Wave((), CANARY), Wave(("east", "north")))
    clusters = ("east", "north", "south", "west")
    planned = rollouts.plan_waves(RolloutOptions(waves), clusters, LABELS)
    assert planned == (("east", "west"), ("north",), ("south",))
    assert rollouts.plan_waves(RolloutOptions(), clusters, {}) == (clusters,)


@pytest.mark.requires("releases.waves")
def test_a_wave_starts_when_the_one_before_is_healthy() -> None:
    rollout = begun(("west",), ("east", "north"))
    assert (states(rollout), rollout.wave) == ("wws", 0)
    rollout = step(rollouts.observe(rollout, saw("west"), 110), 110)
    assert (states(rollout), rollout.wave) == ("ssh", 1)
    rollout = step(rollouts.observe(rollout, saw("east"), 120), 120)
    assert rollout.state is RolloutState.PROGRESSING
    rollout = step(rollouts.observe(rollout, saw("north"), 130), 130)
    assert rollout.state is RolloutState.COMPLETE
    assert rollouts.next_due(rollout) is None


@pytest.mark.requires("releases.waves")
def test_only_so_many_are_under_way_in_name_order_and_a_frozen_one_is_passed_over() -> None:
    rollout = begun(("east", "north", "south", "west"), max_unavailable=2, failure_threshold=3)
    assert states(rollout) == "ssww"
    rollout = rollouts.observe(rollout, failed("east"), 110)
    rollout, started = rollouts.advance(rollout, 110, lambda cluster: cluster != "south")
    assert (states(rollout), started) == ("fsws", ("west",))


@pytest.mark.requires("releases.waves")
def test_a_cluster_of_an_earlier_wave_that_fails_holds_up_the_next_wave() -> None:
    rollout = begun(("east",), ("north",), ("west",), failure_threshold=2)
    rollout = step(rollouts.observe(rollout, saw("east"), 110), 110)
    rollout = step(rollouts.observe(rollout, failed("east"), 120), 120)
    assert (states(rollout), rollout.wave, rollout.state) == ("fsw", 1, RolloutState.PROGRESSING)
    again = step(rollouts.observe(rollout, saw("east"), 125), 125)
    again = step(rollouts.observe(again, saw("north"), 130), 130)
    assert (states(again), again.wave) == ("hhs", 2)
    stuck = step(rollouts.observe(rollout, saw("north"), 130), 130)
    assert (states(stuck), stuck.wave, stuck.state) == ("fhw", 1, RolloutState.FAILED)


@pytest.mark.requires("releases.stuck")
@pytest.mark.parametrize("threshold", [3, 50])
def test_a_rollout_in_which_nothing_can_move_any_more_has_failed(threshold: int) -> None:
    rollout = begun(("east", "west"), ("north",), failure_threshold=threshold)
    rollout = step(rollouts.observe(rollout, failed("east"), 110), 110)
    assert rollout.state is RolloutState.PROGRESSING, "west is on its way"
    late = step(rollouts.expire(rollout, 10_000), 10_000)
    assert (states(late), late.state) == ("fwf", RolloutState.FAILED)
    held = begun(("east", "west"), failure_threshold=threshold, health=HealthRule(settle_seconds=10))
    held = step(rollouts.observe(held, failed("east"), 110), 110)
    held = step(rollouts.observe(held, saw("east"), 115), 115)
    held = step(rollouts.observe(held, failed("west"), 116), 116)
    assert held.state is RolloutState.PROGRESSING, "east settles"
    how = (RolloutOptions((), failure_threshold=threshold), HealthRule())
    frozen = rollouts.begin("web", 2, (("east", "west"),), how, 100)
    frozen, _ = rollouts.advance(frozen, 100, lambda cluster: cluster == "east")
    frozen, _ = rollouts.advance(rollouts.observe(frozen, failed("east"), 110), 110, lambda _: False)
    assert (states(frozen), frozen.state) == ("fw", RolloutState.PROGRESSING), (
        "what a freeze holds up may move"
    )


@pytest.mark.requires("releases.health")
def test_so_many_percent_of_the_objects_are_current() -> None:
    rollout = begun(("east",), health=HealthRule(healthy_percent=67))
    for seen in (saw("east", 2, 3), saw("east", 3, 3, outcome="pending"), saw("gone")):
        assert rollouts.observe(rollout, seen, 110) == rollout
    assert states(rollouts.observe(rollout, saw("east", 67, 100), 110)) == "h"
    assert states(rollouts.observe(rollout, saw("east", 0, 0), 110)) == "h"


@pytest.mark.requires("releases.health")
def test_health_settles_without_a_break() -> None:
    rollout = begun(("east",), health=HealthRule(settle_seconds=10))
    rollout = rollouts.observe(rollout, saw("east"), 110)
    assert (states(rollout), rollouts.next_due(rollout)) == ("s", 120)
    rollout = rollouts.observe(rollout, saw("east", 0), 115)
    assert rollouts.next_due(rollout) == 700
    rollout = rollouts.observe(rollout, saw("east"), 116)
    assert states(rollouts.expire(rollout, 125)) == "s"
    assert states(rollouts.expire(rollout, 126)) == "h"


@pytest.mark.requires("releases.health")
def test_what_was_due_before_a_report_comes_first() -> None:
    rollout = begun(("east",), health=HealthRule(settle_seconds=10), failure_threshold=2)
    settling = rollouts.observe(rollout, saw("east"), 110)
    assert states(rollouts.observe(settling, saw("east", 0), 119)) == "s"
    assert states(rollouts.observe(settling, saw("east", 0), 120)) == "h"
    late = rollouts.observe(rollout, saw("east"), 700)
    assert (states(late), rollouts.first_failure(late)[1]) == ("f", "progress deadline passed")
    assert states(rollouts.expire(late, 710)) == "h"


@pytest.mark.requires("releases.health")
def test_a_failed_cluster_may_become_healthy_and_a_healthy_one_fail() -> None:
    rollout = begun(("east", "west"), failure_threshold=2)
    rollout = rollouts.observe(rollout, failed("east"), 110)
    assert rollouts.first_failure(rollout) == ("east", "outcome failed, health unknown")
    healed = rollouts.observe(rollout, saw("east"), 120)
    assert states(healed) == "hs"
    assert rollouts.observe(healed, saw("east", 0), 125) == healed
    assert rollouts.resume(rollouts.pause(healed, "did:key:zA", 130), 190).clusters[0] == healed.clusters[0]
    rollout = rollouts.observe(rollouts.observe(rollout, saw("west"), 120), failed("west"), 130)
    assert (states(rollout), rollout.state) == ("ff", RolloutState.FAILED)


@pytest.mark.requires("releases.health")
def test_a_failed_cluster_that_settles_is_looked_at_again() -> None:
    rollout = begun(("east",), health=HealthRule(settle_seconds=10), failure_threshold=2)
    rollout = rollouts.observe(rollouts.observe(rollout, failed("east"), 110), saw("east"), 120)
    assert (states(rollout), rollouts.next_due(rollout)) == ("f", 130)
    assert states(rollouts.expire(rollout, 130)) == "h"


@pytest.mark.requires("releases.deadline")
def test_a_cluster_that_takes_too_long_fails_the_rollout() -> None:
    rollout = begun(("east",), ("west",), progress_deadline_seconds=60)
    assert rollouts.next_due(rollout) == 160
    assert rollouts.expire(rollout, 159) == rollout
    late = rollouts.expire(rollout, 160)
    assert (states(late), late.state, rollouts.verdict(late)) == ("fw", RolloutState.FAILED, "failed")
    assert rollouts.first_failure(late) == ("east", "progress deadline passed")
    assert rollouts.advance(late, 160, lambda _: True) == (late, ())
    assert rollouts.observe(late, saw("east"), 161) == late


@pytest.mark.requires("releases.deadline")
def test_one_that_settles_past_its_deadline_fails_then_and_is_healthy_later() -> None:
    options = {"progress_deadline_seconds": 60, "failure_threshold": 2}
    rollout = begun(("east", "west"), health=HealthRule(settle_seconds=30), **options)
    rollout = rollouts.observe(rollout, saw("east"), 150)
    assert states(rollouts.expire(rollout, 159)) == "ss"
    rollout = rollouts.observe(rollout, saw("west"), 125)
    assert (states(rollouts.expire(rollout, 160)), states(rollouts.expire(rollout, 180))) == ("fh", "hh")
    just = rollouts.observe(begun(("east",), health=HealthRule(settle_seconds=600)), saw("east"), 100)
    assert states(rollouts.expire(just, 700)) == "h"
    strict = dataclasses.replace(rollout, failure_threshold=1)
    assert rollouts.expire(strict, 180).state is RolloutState.FAILED


@pytest.mark.requires("releases.pause")
def test_while_paused_nothing_starts_and_no_time_passes() -> None:
    rollout = begun(("east", "west"), ("north",), health=HealthRule(settle_seconds=30))
    paused = rollouts.pause(rollouts.observe(rollout, saw("east"), 110), "did:key:zA", 120)
    assert rollouts.next_due(paused) is None
    assert step(paused, 5000) == paused
    paused = rollouts.observe(rollouts.observe(paused, saw("east"), 4000), saw("west"), 4000)
    assert states(paused) == "sws"
    resumed = rollouts.resume(paused, 5120)
    assert [(c.started, c.healthy_since) for c in resumed.clusters if c.started] == [
        (5100, 5110),
        (5100, 5120),
    ]
    assert (resumed.paused_by, resumed.paused_time, rollouts.next_due(resumed)) == (None, None, 5140)


@pytest.mark.requires("releases.pause")
def test_only_what_progresses_is_paused_and_only_what_is_paused_resumes() -> None:
    rollout = begun(("east",))
    paused = rollouts.pause(rollout, "did:key:zA", 110)
    refusal_of(lambda: rollouts.pause(paused, "did:key:zB", 120), Code.ROLLOUT_STATE_CONFLICT)
    refusal_of(lambda: rollouts.resume(rollout, 120), Code.ROLLOUT_STATE_CONFLICT)
    over = rollouts.withdraw(paused)
    assert (over.state, over.paused_by, over.paused_time) == (RolloutState.WITHDRAWN, None, None)
    assert rollouts.advance(over, 130, lambda _: True) == (over, ())
    assert rollouts.observe(over, saw("east"), 130) == over


@pytest.mark.requires("releases.remedy")
def test_the_remedy_is_a_healthy_revision_as_often_as_allowed() -> None:
    lost = rollouts.expire(begun(("east",)), 9000)
    assert rollouts.decide_failure(lost, 1, (), 9000, BOUND) == RollBack(1)
    assert rollouts.decide_failure(lost, None, (), 9000, BOUND) == Withdraw()
    assert rollouts.decide_failure(lost, 1, (5400, 8000), 9000, BOUND) == RollBack(1)
    over = rollouts.decide_failure(lost, 1, (5401, 8000), 9000, BOUND)
    assert over == FreezeRelease("2 automatic rollbacks within 3600 s")
    assert isinstance(rollouts.decide_failure(lost, 1, (), 9000, (3600, 0)), FreezeRelease)
    automatic = dataclasses.replace(lost, automatic=True)
    stop = FreezeRelease("an automatic rollback failed")
    assert [rollouts.decide_failure(automatic, h, (), 9000, BOUND) for h in (1, None)] == [stop, stop]


@pytest.mark.requires("releases.remedy")
def test_a_rollback_goes_everywhere_at_once_and_one_failure_ends_it() -> None:
    how = (RolloutOptions((Wave(("west",)),), 1, 60, 9), HealthRule(50, 0))
    rollout = step(rollouts.begin_rollback("web", 3, ("east", "west"), how, 100), 100)
    assert (rollout.automatic, states(rollout), rollouts.next_due(rollout)) == (True, "ss", 160)
    assert rollout.health == HealthRule(50, 0)
    rollout = rollouts.observe(rollout, failed("west"), 110)
    assert rollout.state is RolloutState.FAILED
    assert rollout.clusters[0].state is ClusterState.STARTED
