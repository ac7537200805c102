"""Objects that somebody else writes again and again."""

from __future__ import annotations

import copy

import pytest

from k8s_bridge.contest import Contest, Rule, in_place, undone
from k8s_bridge.contests import Contests
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import key_of
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.store import InventoryStore
from ledger.errors import Code
from ledger.types import JsonObject
from runtime.retry import Backoff
from tests.support.bridge import Clock, Impatient, Offered, Unwatched
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, namespace_object
from tests.support.verified import CHAIN_ID, release

RULE = Rule()
PERIODS = Periods(staleness_s=10**6)
FIRST, SECOND = config_map("first", "shop"), config_map("second", "shop")


def _fought(times: int, every_s: float) -> Contest:
    contest: Contest | None = None
    for turn in range(times):
        contest = undone(contest, turn * every_s, ("rogue",), RULE)
    assert contest is not None
    return contest


@pytest.mark.requires("bridge.contested")
def test_a_few_writes_are_an_accident() -> None:
    few = _fought(RULE.writes - 1, 0.2)
    assert not few.contested
    assert not few.resting(0.0)
    assert _fought(RULE.writes, 0.2).contested
    assert not _fought(3 * RULE.writes, RULE.window_s / (RULE.writes - 1)).contested


@pytest.mark.requires("bridge.contested")
def test_it_is_over_when_nobody_wrote_for_a_window() -> None:
    contest = _fought(RULE.writes, 0.2)
    last = contest.undone_s[-1]
    assert in_place(contest, last + RULE.window_s - 0.1, RULE) is contest
    assert in_place(contest, last + RULE.window_s, RULE) is None


class World:
    """A bridge's loop with two objects, and somebody who writes one of them."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.cluster, self.bell, self.offered = FakeCluster(), Impatient(), Offered()
        self.cluster.put(namespace_object("shop"))
        self.clock = Clock(10**18)
        self.wanted: Wanted | None = None
        self.store = InventoryStore(self.cluster, CHAIN_ID)
        reconciler = Reconciler(self.cluster, self.store, Unwatched(), lambda: self.clock.wall_ns)
        reconciler.contests = Contests(lambda: self.clock.monotonic_s, rule)
        clocks = Clocks(lambda: self.clock.wall_ns, lambda: self.clock.monotonic_s)
        self.loop = Loop(self, reconciler, self.offered, self.bell, PERIODS, clocks)
        self.want(1, FIRST, SECOND)
        self.turn(1.0)

    def look(self) -> Wanted | None:
        found, self.wanted = self.wanted, None
        return found

    def want(self, revision: int, *manifests: JsonObject) -> None:
        verified = release(list(manifests), revision=revision)
        self.wanted = Wanted(revision, self.clock.wall_ns, {verified.value.name: verified}, {})
        self.name = verified.value.name

    def turn(self, seconds: float) -> JsonObject:
        self.clock.advance(seconds)
        self.loop.step()
        account: JsonObject = self.loop.account()["releases"][self.name]
        return account

    def rewrite(self, manifest: JsonObject, manager: str = "rogue") -> None:
        edited = copy.deepcopy(self.cluster.objects[key_of(manifest).identity])
        edited["data"]["key"] = "by hand"
        self.cluster.put(edited, manager)
        self.bell.ring(Verdict(self.name, key_of(manifest), Change.DRIFT))

    def remove(self, manifest: JsonObject) -> None:
        if key_of(manifest).identity in self.cluster.objects:
            self.cluster.remove(key_of(manifest))
        self.bell.ring(Verdict(self.name, key_of(manifest), Change.DRIFT))

    def is_in_place(self, manifest: JsonObject) -> bool:
        live = self.cluster.objects.get(key_of(manifest).identity)
        return live is not None and live["data"] == manifest["data"]

    def fight(self, seconds: float, every_s: float = 0.2) -> JsonObject:
        account: JsonObject = {}
        for _ in range(round(seconds / every_s)):
            self.rewrite(FIRST)
            account = self.turn(every_s)
        return account


def _contested(account: JsonObject) -> list[str]:
    return [found["object"] for found in account["objects"] if found["code"] == Code.OBJECT_CONTESTED]


def _applies(world: World, manifest: JsonObject) -> int:
    return world.cluster.writes.count(f"apply {key_of(manifest)}")


@pytest.mark.requires("bridge.contested")
def test_a_contested_object_is_named_with_its_writer_and_rests() -> None:
    world = World()
    account = world.fight(30.0)
    assert _contested(account) == [str(key_of(FIRST))]
    assert "rogue" in account["objects"][0]["reason"]
    assert account["outcome"] == "partial"
    assert world.offered.findings[-1].changes.outcome == "partial"
    before = _applies(world, FIRST)
    assert before < 3 * RULE.writes
    world.fight(4 * RULE.rests.ceiling_s)
    assert 3 <= _applies(world, FIRST) - before <= 6
    assert len(world.offered.findings) <= 4


@pytest.mark.requires("bridge.contested")
def test_another_object_of_the_release_is_put_back_at_once_meanwhile() -> None:
    world = World()
    world.fight(60.0)
    before = _applies(world, FIRST)
    for _ in range(3):
        world.rewrite(FIRST)
        world.rewrite(SECOND, "kubectl-edit")
        world.turn(2.1)
        assert world.is_in_place(SECOND)
    assert _applies(world, FIRST) - before <= 1, "what rests is not written on the way"


@pytest.mark.requires("bridge.contested")
def test_it_is_put_back_as_soon_as_its_rest_is_over() -> None:
    rule = Rule(rests=Backoff(base_s=1.0, ceiling_s=2.0))
    world = World(rule)
    world.fight(120.0)
    world.turn(rule.rests.ceiling_s)
    assert world.is_in_place(FIRST)


@pytest.mark.requires("bridge.contested")
def test_a_look_that_finds_nothing_new_is_not_made_for_every_write() -> None:
    world = World()
    world.fight(30.0)
    world.cluster.attempts.clear()
    world.fight(60.0, every_s=0.05)
    assert len(world.cluster.attempts) < 30


@pytest.mark.requires("bridge.contested")
def test_it_recovers_when_the_other_stops() -> None:
    world = World()
    world.fight(100.0)
    for _ in range(300):
        account = world.turn(0.5)
    assert _contested(account) == []
    assert account["outcome"] == "applied"
    assert world.is_in_place(FIRST)
    world.rewrite(FIRST)
    world.turn(3.0)
    assert world.is_in_place(FIRST)


@pytest.mark.requires("bridge.contested")
def test_deletes_again_and_again_are_a_contest_of_nobody_named() -> None:
    world = World()
    for _ in range(100):
        world.remove(FIRST)
        account = world.turn(0.2)
    assert _contested(account) == [str(key_of(FIRST))]
    assert "does not name" in account["objects"][0]["reason"]


@pytest.mark.requires("bridge.contested")
def test_new_revisions_are_no_contest() -> None:
    world = World()
    for revision in range(2, 4 * RULE.writes):
        world.want(revision, config_map("first", "shop", key=str(revision)), SECOND)
        account = world.turn(0.2)
    assert (_contested(account), account["outcome"]) == ([], "applied")


@pytest.mark.requires("bridge.contested")
def test_a_single_contested_object_does_not_make_a_release_failed() -> None:
    world = World()
    world.want(2, FIRST)
    world.turn(1.0)
    outcomes = set()
    for _ in range(300):
        world.rewrite(FIRST)
        outcomes.add(world.turn(0.2)["outcome"])
    assert outcomes == {"applied", "partial"}
