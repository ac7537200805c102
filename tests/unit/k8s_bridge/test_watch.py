"""Following one collection turn by turn, over a scripted API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k8s_bridge import client, watch
from k8s_bridge.cluster import Kind
from k8s_bridge.drift import Event, Tracker
from k8s_bridge.objects import Identity, ObjectKey
from k8s_bridge.watch import Follower, Target
from ledger.errors import Code, EnvironmentFault
from tests.support.fake_cluster import FakeCluster

KEY = ObjectKey("v1", "ConfigMap", "shop", "web")
TARGET = Target("v1", "ConfigMap", "shop")


class Stream(FakeCluster):
    """Lists what is ``there``; each watch takes ``lasts_s`` and gives ``events``."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.lasts_s = 60.0
        self.there: list[str] = ["web"]
        self.events: list[Any] = []
        self.asked: list[str] = []

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None, metadata_only: bool = False
    ) -> tuple[list[Any], str]:
        self.asked.append("list")
        return [{"metadata": {"name": name, "resourceVersion": "5"}} for name in self.there], "100"

    def watch(self, kind: Kind, namespace: str, resource_version: str) -> Iterator[Any]:
        self.asked.append(f"watch {resource_version}")
        self.now_s += self.lasts_s
        for found in self.events:
            if isinstance(found, Exception):
                raise found
            yield found


class Followed:
    def __init__(self) -> None:
        self.api, self.seen = Stream(), list[Event]()
        self.follower = Follower(self.api, TARGET, self.seen.append, self.known, lambda: self.api.now_s)

    def known(self, target: Target) -> set[Identity]:
        return {KEY.identity}

    def turn(self) -> float:
        pause = self.follower.turn()
        self.api.now_s += pause
        return pause


@pytest.mark.requires("bridge.watch-survives")
def test_a_watch_that_is_well_is_listed_again_in_time_all_the_same() -> None:
    followed = Followed()
    turns = int(watch.RELIST_S / followed.api.lasts_s)
    for _ in range(turns):
        assert followed.turn() == 0.0
    assert followed.api.asked.count("list") == 1
    # Its deletion was never told.
    followed.api.there = []
    followed.turn()
    assert followed.api.asked.count("list") == 2
    assert followed.seen[-1] == Event(KEY, None)


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "metadata": {}}}
BROKEN: dict[str, Callable[[], Any]] = {
    "410 in the stream": lambda: GONE,
    "500 in the stream": lambda: {"type": "ERROR", "object": {"kind": "Status", "code": 500}},
    "410": lambda: EnvironmentFault(Code.KUBERNETES_REFUSED, got="410", status=410),
    "a dead socket": lambda: EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="read timed out"),
    "anything": lambda: AttributeError("a connection closed under its reader"),
}


@pytest.mark.requires("bridge.watch-survives")
@pytest.mark.parametrize("how", BROKEN)
def test_a_server_that_only_fails_is_asked_with_growing_pauses(how: str) -> None:
    followed = Followed()
    followed.api.lasts_s, followed.api.events = 0.01, [BROKEN[how]()]
    pauses = [followed.turn() for _ in range(8)]
    assert pauses[0] > 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == watch.BACKOFF.ceiling_s
    assert followed.api.asked.count("list") == 8
    followed.api.lasts_s, followed.api.events = 60.0, []
    followed.turn()
    assert followed.turn() == 0.0


@pytest.mark.requires("bridge.watch-survives")
def test_a_stream_that_ends_at_once_is_not_opened_in_a_circle() -> None:
    followed = Followed()
    followed.api.lasts_s = 0.0
    assert all(followed.turn() > 0 for _ in range(5))
    assert followed.api.asked.count("list") == 1


@pytest.mark.requires("bridge.watch-survives")
def test_a_bookmark_moves_the_version_and_names_nothing() -> None:
    followed = Followed()
    followed.api.events = [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "150"}}}]
    followed.turn()
    before = len(followed.seen)
    followed.turn()
    assert followed.api.asked == ["list", "watch 100", "watch 150"]
    assert len(followed.seen) == before


@pytest.mark.requires("bridge.watch-survives")
def test_a_silent_socket_outlives_the_servers_own_end_of_a_watch_and_little_more() -> None:
    assert client.WATCH_TIMEOUT_S < client.WATCH_SILENCE_S <= 2 * client.WATCH_TIMEOUT_S


@pytest.mark.requires("bridge.watch-survives")
def test_a_collection_is_watched_while_anything_in_it_is_ours() -> None:
    tracker = Tracker()
    tracker.learn("shop", [(KEY, None)])
    assert tracker.holds(TARGET.group_kind, "shop")
    assert not tracker.holds(TARGET.group_kind, "elsewhere")
    tracker.learn("shop", [])
    assert not tracker.holds(TARGET.group_kind, "shop")
