"""Requests under way at once: the order of kinds, failures, and the fence around several writes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait

import pytest

from k8s_bridge import workers
from k8s_bridge.apply import carry_out
from k8s_bridge.cluster import Applied
from k8s_bridge.desired import desired_of
from k8s_bridge.objects import key_of
from k8s_bridge.observe import observe
from k8s_bridge.plan import plan
from k8s_bridge.store import InventoryStore
from k8s_bridge.workers import Pool
from ledger.types import JsonObject
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, deployment, namespace_object, service
from tests.support.verified import release
from tests.unit.k8s_bridge.test_lease import Hands, Server

PATIENCE_S = 30.0


class Meeting(FakeCluster):
    """A cluster whose applies of one kind answer only once ``expected`` of them are under way together."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self.meeting = threading.Barrier(expected)
        self.began: list[str] = []
        self.ended: list[str] = []
        self._one = threading.Lock()

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        kind = key_of(manifest).kind
        if dry_run or manifest["metadata"]["name"].startswith("conclave"):
            return super().apply(manifest, dry_run=dry_run)
        with self._one:
            self.began.append(kind)
        if kind == "ConfigMap":
            self.meeting.wait(PATIENCE_S)
        with self._one:
            self.ended.append(kind)
            return super().apply(manifest)


@pytest.mark.requires("bridge.order", "bridge.together")
def test_objects_of_one_kind_are_applied_together_and_a_kind_waits_for_the_earlier() -> None:
    maps = [config_map(f"settings-{number}") for number in range(4)]
    cluster, pool = Meeting(len(maps)), Pool(len(maps))
    wanted = release([deployment("web"), *maps, service("web"), namespace_object()])
    store = InventoryStore(cluster, wanted.chain_id)
    world = observe(cluster, desired_of(wanted), store.load(), workers=pool)
    changes = carry_out(plan(wanted, world), cluster, store.save, pool)
    pool.close()
    order = ["Namespace", *["ConfigMap"] * 4, "Service", "Deployment"]
    assert (cluster.began, cluster.ended) == (order, order)
    assert [result.key for result in changes.results] == [step.key for step in plan(wanted, world).steps]
    assert {result.outcome.value for result in changes.results} == {"created"}


@pytest.mark.requires("bridge.together")
def test_results_are_in_order_and_nothing_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, another_began, given_up = Pool(2), threading.Event(), threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            assert another_began.wait(PATIENCE_S)
            raise KeyError(number)
        another_began.set()
        given_up.wait(PATIENCE_S)
        ended.append(number)
        return number

    def waiting(futures: Sequence[Future[int]]) -> object:
        given_up.set()
        return wait(futures)

    monkeypatch.setattr(workers, "wait", waiting)
    with pytest.raises(KeyError):
        pool.each(work, range(100))
    assert sorted(ended) == sorted(begun)[1:], "what had begun has come to its end"
    # Whoever failed may have begun another before the rest was given up; nobody can have begun a third.
    assert 2 <= len(begun) <= 3
    count = len(begun)
    assert pool.each(lambda number: -number, range(5)) == [0, -1, -2, -3, -4]
    assert len(begun) == count
    pool.close()


@pytest.mark.requires("bridge.lease-bounds", "bridge.late-writer")
def test_the_timer_stands_at_the_earliest_end_of_all_writes_under_way() -> None:
    hands = Hands(Server())
    hands.until_held()
    hands.fence.pin()
    first = hands.fence.attempt()
    first.__enter__()
    first_end_s = hands.keeper.deadline_s()
    hands.now_s += hands.keeper.turn()
    hands.keeper.turn()
    assert hands.keeper.deadline_s() > first_end_s, "the lease was renewed meanwhile"
    hands.write()
    assert hands.armed == [first_end_s] * 3, "another write neither moves the timer nor ends it"
    second = hands.fence.attempt()
    second.__enter__()
    first.__exit__(None, None, None)
    assert hands.armed[-1] == hands.keeper.deadline_s()
    second.__exit__(None, None, None)
    assert hands.armed[-1] is None
