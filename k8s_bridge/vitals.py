"""What is remembered of the health of one release's objects.

Owns the memories of one release, and when each object is to be looked at again though nothing changes.
Promises that memories end with their objects, and that another revision is judged by itself. Lost when the
bridge ends: what it told is on the ledger, and what fails goes on failing. Never asks, never waits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from k8s_bridge.custom_health import Readings, readings_of
from k8s_bridge.latch import Memory, forgiven, judge
from k8s_bridge.objects import ObjectKey
from k8s_bridge.status import Health
from ledger.release import ReleaseRevision
from ledger.types import JsonObject


@dataclass(slots=True)
class Vitals:
    """One release's health over time.

    Attributes:
        revision: the one that is judged.
        readings: what it says about custom kinds.
        memories: by object.
        again: by object, after how many seconds to look again, as of the last look.
        held: objects that are current, but not yet for long enough to say so.
    """

    revision: int = 0
    readings: Readings = field(default_factory=dict)
    memories: dict[ObjectKey, Memory] = field(default_factory=dict)
    again: dict[ObjectKey, float] = field(default_factory=dict)
    held: set[ObjectKey] = field(default_factory=set)

    def begin(self, revision: ReleaseRevision, keys: Collection[ObjectKey]) -> None:
        """Go over to a revision and its objects."""
        self.memories = {key: memory for key, memory in self.memories.items() if key in keys}
        if revision.revision != self.revision:
            self.memories = {key: forgiven(memory) for key, memory in self.memories.items()}
        self.revision, self.readings = revision.revision, readings_of(revision.health_rules)
        self.again, self.held = {}, set()

    def judge(self, key: ObjectKey, live: JsonObject, now_s: float) -> Health:
        """Judge an object, and remember."""
        found = judge(self.memories.get(key), live, now_s, self.readings)
        self.memories[key] = found.memory
        self.again.pop(key, None)
        if found.again_s is not None:
            self.again[key] = found.again_s
        (self.held.add if found.held else self.held.discard)(key)
        return found.health
