"""Watching survives what real watches do: expiry, silence, lost connections, missed deletions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from k8s_bridge.cluster import Kind
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.objects import ObjectKey
from k8s_bridge.watch import Watches
from ledger.errors import Code, EnvironmentFault
from tests.support.fake_cluster import FakeCluster

PATIENCE_S = 60
KEY = ObjectKey("apps/v1", "Deployment", "shop", "web")


def seen(version: str, generation: int = 1, uid: str = "u1") -> dict[str, Any]:
    return {"name": "web", "uid": uid, "generation": generation, "resourceVersion": version}


class Scripted(FakeCluster):
    """Answers lists and watches from a script, then stays silent."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        super().__init__()
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []
        self.done = threading.Event()
        self.silence = threading.Event()

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None, metadata_only: bool = False
    ) -> tuple[list[Any], str]:
        self.asked.append("list")
        return [{"metadata": metadata} for metadata in self.lists.pop(0)], "100"

    def watch(self, kind: Kind, namespace: str, resource_version: str) -> Iterator[Any]:
        self.asked.append(f"watch {resource_version}")
        if not self.watches:
            self.done.set()
            self.silence.wait(2 * PATIENCE_S)
            return
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def verdicts_of(cluster: Scripted) -> list[Verdict]:
    found: list[Verdict] = []
    watches = Watches(cluster, found.append)
    watches.before_apply("shop", [KEY])
    watches.after_apply("shop", [(KEY, {"metadata": seen("5")})])
    assert cluster.done.wait(PATIENCE_S)
    watches.stop()
    cluster.silence.set()
    for thread in watches._threads.values():
        thread.join(PATIENCE_S)
    return found


def event(kind: str, metadata: Any) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": metadata}}


@pytest.mark.requires("bridge.watch-survives")
def test_events_are_judged_and_bookmarks_move_the_version() -> None:
    cluster = Scripted(
        [[seen("5")]],
        [
            [
                event("MODIFIED", seen("101")),
                event("MODIFIED", seen("102", generation=2)),
                event("BOOKMARK", {"resourceVersion": "150"}),
            ]
        ],
    )
    assert [v.change for v in verdicts_of(cluster)] == [Change.STATUS, Change.DRIFT]
    assert cluster.asked == ["list", "watch 100", "watch 150"]


@pytest.mark.requires("bridge.watch-survives")
@pytest.mark.parametrize(
    "broken",
    [
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "metadata": {}}},
        EnvironmentFault(Code.KUBERNETES_REFUSED, got="410", status=410),
        EnvironmentFault(Code.KUBERNETES_UNREACHABLE, got="reset"),
        {"type": "MODIFIED"},
    ],
)
def test_a_broken_watch_lists_again_and_finds_a_missed_deletion(broken: Any) -> None:
    cluster = Scripted([[seen("5")], []], [[broken]])
    assert [(v.key, v.change) for v in verdicts_of(cluster)] == [(KEY, Change.DRIFT)]
    assert cluster.asked == ["list", "watch 100", "list", "watch 100"]


@pytest.mark.requires("bridge.watch-survives")
def test_a_change_between_apply_and_watch_is_found_by_the_list() -> None:
    cluster = Scripted([[seen("6", generation=2)]], [])
    assert [v.change for v in verdicts_of(cluster)] == [Change.DRIFT]
