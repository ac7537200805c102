"""One release as the loop follows it.

Owns what is remembered of a release between two turns, when something is due for it, and how its state is
told. Promises nothing about the cluster: the loop decides, the reconciler does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from consensus.verified import Verified
from k8s_bridge.metrics import interval_s
from k8s_bridge.objects import ObjectKey
from k8s_bridge.reconcile import Standing
from ledger.errors import ConclaveError
from ledger.release import ReleaseRevision
from ledger.types import JsonObject


@dataclass(slots=True)
class Tracked:
    """What is remembered of one release.

    Attributes:
        wanted: what the ledger wants.
        standing: how it stands, None before the first attempt.
        due_s: when to apply it next, monotonic.
        rest_until_s: drift is not repaired again before.
        drifted: objects that others wrote since, as the watch told of them; None of one that is gone.
        touched: objects to look at by themselves, others not.
        touched_due_s: when to.
        repairs: repairs that followed each other closely.
        failures: attempts in a row that did not bring all of it into place.
        fault: why the last attempt was cut short.
        offered: what was last handed to the reporter, of the release and of each object.
        restated: objects whose status changed and was not looked at yet.
        health_due_s: when they may be looked at.
        again: when to look at an object whatever its status does.
        measure_due_s: when to measure the objects with an autoscale rule.
        unmeasured: attempts to measure in a row that came to nothing.
        looked: the wish that was last looked at as a whole, as ``standing`` tells.
        applied: the wish that was last in place as a whole.
        undone: how often somebody else's writes were undone.
        apply_s: how long the last attempt took.
    """

    wanted: Verified[ReleaseRevision]
    due_s: float
    standing: Standing | None = None
    rest_until_s: float = 0.0
    drifted: dict[ObjectKey, JsonObject | None] = field(default_factory=dict)
    touched: set[ObjectKey] = field(default_factory=set)
    touched_due_s: float = 0.0
    repairs: int = 0
    failures: int = 0
    fault: ConclaveError | None = None
    offered: tuple[object, ...] | None = None
    restated: set[ObjectKey] = field(default_factory=set)
    health_due_s: float = 0.0
    again: dict[ObjectKey, float] = field(default_factory=dict)
    measure_due_s: float = 0.0
    unmeasured: int = 0
    looked: tuple[object, ...] | None = None
    applied: tuple[object, ...] | None = None
    undone: int = 0
    apply_s: float | None = None

    def dues(self) -> list[float]:
        """Give when something is to be done for it."""
        found = [self.due_s, *(max(due, self.health_due_s) for due in self.again.values())]
        found += [self.health_due_s] if self.restated else []
        found += [self.rest_until_s] if self.drifted else []
        found += [self.touched_due_s] if self.touched else []
        return found + ([self.measure_due_s] if self.is_measured else [])

    def due_again(self, now_s: float) -> set[ObjectKey]:
        """Take out the objects that are to be looked at whatever their status does."""
        found = {key for key, due in self.again.items() if due <= now_s}
        for key in found:
            del self.again[key]
        return found

    def drift(self, told: Mapping[ObjectKey, JsonObject | None], now_s: float) -> None:
        """Take note that others wrote: of what was looked at whole, these objects are; else all of it is."""
        if self.fault is not None or self.looked != aim_of(self.wanted.value):
            self.due_s = min(self.due_s, max(now_s, self.rest_until_s))
        else:
            self.drifted |= told

    def touch(self, keys: Collection[ObjectKey], due_s: float) -> None:
        """Have some objects looked at by themselves, then or, where others wait, when these are."""
        if keys:
            self.touched_due_s = min(self.touched_due_s, due_s) if self.touched else due_s
            self.touched |= set(keys)

    @property
    def is_measured(self) -> bool:
        """Whether there is a rule to measure for, and its release is in place as a whole."""
        rules = self.wanted.value.autoscale
        return self.applied == aim_of(self.wanted.value) and interval_s(rules) is not None


def aim_of(revision: ReleaseRevision) -> tuple[object, ...]:
    """Give what makes one wish for a release differ from another."""
    return (revision.revision, revision.state, revision.prune, revision.replicas)


def account_of(tracked: Tracked) -> JsonObject:
    """Give a release's part of ``bridge-status.json``."""
    standing = tracked.standing
    account: JsonObject = {
        "wantedRevision": tracked.wanted.value.revision,
        "undone": tracked.undone,
        "applySeconds": tracked.apply_s,
        "wantedState": tracked.wanted.value.state.value,
        "fault": None if tracked.fault is None else tracked.fault.to_json(),
    }
    if standing is None:
        return account
    changes = standing.finding.changes
    return account | {
        "revision": changes.revision,
        "outcome": changes.outcome.value,
        "health": standing.finding.status.value,
        "counts": changes.counts(),
        "refusal": None if standing.refusal is None else standing.refusal.to_json(),
        "objects": [
            {"object": str(r.key), "outcome": r.outcome.value, "code": int(r.code), "reason": r.reason}
            for r in changes.results
            if r.code
        ],
        "unhealthy": {
            str(key): {"health": health.status.value, "reason": health.reason}
            for key, health in standing.finding.health.items()
            if health.status != "current"
        },
    }
