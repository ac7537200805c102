"""Telling drift from the noise of a running cluster.

Owns what the bridge last saw of every owned object, and the judgement of watch events against it. Promises
that a change of anything but status is drift, that status alone never is (so that a rollout causes no storm
of work), and that the echo of our own apply is nothing. Never talks to the API server; the caller serialises
access.

Source: kubernetes notes, trap 5 (a resource version is not drift) and trap 8.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from k8s_bridge.objects import Identity, ObjectKey, metadata_text, uid_of
from k8s_bridge.objects import field as field_at
from ledger.types import JsonObject


class Change(enum.StrEnum):
    """What an event means."""

    NOTHING = "nothing"
    STATUS = "status"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Event:
    """A watch event about an owned object, or its absence from a list."""

    key: ObjectKey
    metadata: JsonObject | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose object changed, and how; ``metadata`` as it was told, None where the object is gone."""

    release: str
    key: ObjectKey
    change: Change
    metadata: JsonObject | None = None


@dataclass(slots=True)
class Tracker:
    """The last sight of every owned object.

    Attributes:
        seen: metadata by identity, with the release that owns it.
        paused: events kept back while their release is being applied.
    """

    seen: dict[Identity, tuple[str, JsonObject | None]] = field(default_factory=dict)
    paused: dict[str, dict[Identity, Event]] = field(default_factory=dict)

    def pause(self, release: str, keys: Iterable[ObjectKey]) -> None:
        """Keep back the events of a release's objects until ``learn``."""
        self.paused[release] = {}
        for key in keys:
            self.seen.setdefault(key.identity, (release, None))

    def learn(
        self, release: str, objects: Iterable[tuple[ObjectKey, JsonObject | None]], *, whole: bool = True
    ) -> list[Verdict]:
        """Take what an apply left behind as known, and judge the events that were kept back.

        ``whole`` tells that the objects are all that the release has.
        """
        kept_back = self.paused.pop(release, {})
        if whole:
            self.seen = {identity: known for identity, known in self.seen.items() if known[0] != release}
        for key, live in objects:
            self.seen[key.identity] = (release, _slim(field_at(live, "metadata")))
        return self._judge_all(kept_back)

    def resume(self, release: str) -> list[Verdict]:
        """Judge the events that were kept back, after an apply that came to nothing."""
        return self._judge_all(self.paused.pop(release, {}))

    def notice(self, event: Event) -> Verdict | None:
        """Judge one event; None when it means nothing, or not yet."""
        known = self.seen.get(event.key.identity)
        if known is None:
            return None
        kept_back = self.paused.get(known[0])
        if kept_back is not None:
            kept_back[event.key.identity] = event
            return None
        return self._judge(event)

    def holds(self, api_group_kind: tuple[str, str], namespace: str) -> bool:
        """Whether any object of one kind in one namespace is ours, there or not."""
        return any(i[:2] == api_group_kind and i[2] == namespace for i in self.seen)

    def owned_in(self, api_group_kind: tuple[str, str], namespace: str) -> set[Identity]:
        """Give the identities of one kind in one namespace that are known to exist."""
        return {
            identity
            for identity, (_, metadata) in self.seen.items()
            if identity[:2] == api_group_kind and identity[2] == namespace and metadata is not None
        }

    def _judge_all(self, events: dict[Identity, Event]) -> list[Verdict]:
        verdicts = [self._judge(event) for event in events.values()]
        return [verdict for verdict in verdicts if verdict is not None]

    def _judge(self, event: Event) -> Verdict | None:
        known = self.seen.get(event.key.identity)
        if known is None:
            return None
        release, before = known
        change = compare(before, event.metadata)
        if change is Change.NOTHING:
            return None
        self.seen[event.key.identity] = (release, _slim(event.metadata))
        return Verdict(release, event.key, change, event.metadata)


def compare(before: JsonObject | None, after: JsonObject | None) -> Change:
    """Judge two sights of one object's metadata; None is absence."""
    if before is None or after is None:
        return Change.NOTHING if before is after else Change.DRIFT
    old, new = {"metadata": before}, {"metadata": after}
    if metadata_text(old, "resourceVersion") == metadata_text(new, "resourceVersion"):
        return Change.NOTHING
    # A kind without generations has no other way to tell its status from the rest.
    counted = "generation" in before and "generation" in after
    if uid_of(old) == uid_of(new) and counted and _marks(before) == _marks(after):
        return Change.STATUS
    return Change.DRIFT


def _marks(metadata: JsonObject) -> list[object]:
    names = ("generation", "labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp")
    return [metadata.get(name) for name in names]


def _slim(metadata: JsonObject | None) -> JsonObject | None:
    """Leave out the record of field ownership: it is large, and the API server's own."""
    return None if metadata is None else {n: v for n, v in metadata.items() if n != "managedFields"}
