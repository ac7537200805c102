"""What a change of an owned object means."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_bridge.drift import Change, Event, Tracker, compare
from k8s_bridge.objects import ObjectKey

KEY = ObjectKey("apps/v1", "Deployment", "shop", "web")


def seen(version: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "uid": "u1",
        "generation": 1,
        "resourceVersion": version,
        "labels": {"a": "b"},
    } | changes


@pytest.mark.requires("bridge.drift-not-status")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (seen("1"), seen("1"), Change.NOTHING),
        (None, None, Change.NOTHING),
        (seen("1"), seen("2"), Change.STATUS),
        (seen("1"), seen("2", managedFields=[{"subresource": "status"}]), Change.STATUS),
        (seen("1"), seen("2", generation=2), Change.DRIFT),
        (seen("1"), seen("2", labels={"a": "c"}), Change.DRIFT),
        (seen("1"), seen("2", annotations={"x": "y"}), Change.DRIFT),
        (seen("1"), seen("2", uid="u2"), Change.DRIFT),
        (seen("1"), seen("2", deletionTimestamp="2026-01-01T00:00:00Z"), Change.DRIFT),
        (seen("1"), None, Change.DRIFT),
        (None, seen("1"), Change.DRIFT),
        ({"uid": "u", "resourceVersion": "1"}, {"uid": "u", "resourceVersion": "2"}, Change.DRIFT),
    ],
)
def test_only_what_is_not_status_is_drift(before: Any, after: Any, expected: Change) -> None:
    assert compare(before, after) is expected


@pytest.mark.requires("bridge.drift-not-status")
def test_the_echo_of_our_own_apply_is_nothing() -> None:
    tracker = Tracker()
    tracker.pause("shop", [KEY])
    assert tracker.notice(Event(KEY, seen("5"))) is None
    assert tracker.learn("shop", [(KEY, {"metadata": seen("5")})]) == []
    assert tracker.notice(Event(KEY, seen("5"))) is None


@pytest.mark.requires("bridge.drift-undone")
def test_a_change_during_an_apply_is_judged_after_it() -> None:
    tracker = Tracker()
    tracker.pause("shop", [KEY])
    assert tracker.notice(Event(KEY, seen("6", generation=9))) is None
    verdicts = tracker.learn("shop", [(KEY, {"metadata": seen("5")})])
    assert [(v.release, v.change) for v in verdicts] == [("shop", Change.DRIFT)]
    tracker.pause("shop", [KEY])
    assert tracker.notice(Event(KEY, None)) is None
    assert [v.change for v in tracker.resume("shop")] == [Change.DRIFT]


@pytest.mark.requires("bridge.foreign-untouched")
def test_an_object_that_is_not_ours_means_nothing() -> None:
    tracker = Tracker()
    tracker.learn("shop", [(KEY, {"metadata": seen("5")})])
    other = ObjectKey("apps/v1", "Deployment", "shop", "theirs")
    assert tracker.notice(Event(other, seen("9"))) is None
    assert tracker.owned_in(("apps", "Deployment"), "shop") == {KEY.identity}
    tracker.learn("shop", [])
    assert tracker.notice(Event(KEY, None)) is None
