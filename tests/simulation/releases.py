"""Releases, freezes and what clusters shall have, read a second time: nothing runs that nobody approved.

Owns ``Releases``: which content each revision has, who made it, where it was found healthy, what is frozen.
Promises to raise AssertionError where the machine starts what it may not. Source: docs/spec/releases.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.authority import Scope, Touch, fits
from tests.simulation.events import Said, Segment

Change = Mapping[str, Any]


@dataclass(slots=True)
class Revision:
    """What a release was: the release object that was signed, where it goes, which clusters were well."""

    content: str
    release: dict[str, Any]
    clusters: tuple[str, ...]
    well: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Freeze:
    """What a freeze lies on."""

    clusters: tuple[str, ...]
    namespaces: tuple[str, ...]
    releases: tuple[str, ...]

    def covers(self, release: str, clusters: tuple[str, ...], namespaces: set[str]) -> bool:
        """Tell whether it lies on a part of this."""
        return all(
            any(fits(pattern, value) for pattern in patterns for value in values)
            for patterns, values in (
                (self.releases, (release,)),
                (self.clusters, clusters),
                (self.namespaces, namespaces),
            )
        )


class Releases:
    """Every revision ever, as envelopes made it."""

    def __init__(self) -> None:
        self.history: dict[str, list[Revision]] = defaultdict(list)
        self.deleted: set[str] = set()
        self.removed: set[str] = set()
        self.left: set[tuple[str, str]] = set()
        self.freezes: dict[str, Freeze] = {}
        self.rollbacks: dict[str, list[int]] = defaultdict(list)
        self.machine_rollbacks = 0
        self.scalings = 0
        self.started = 0
        self.desired: dict[tuple[str, str], int] = {}
        self.held: dict[tuple[str, str], int] = {}
        self.coming_parameters: dict[str, Any] | None = None
        self.bounds: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}

    # -- what people did -----------------------------------------------------------------------------

    def scope(self, change: Change) -> Scope:
        """Give what a change of a release touches now."""
        history = self.history.get(_name(change), [])
        before = set(_touches(history[-1].release)) if history else set()
        if "release" in change:
            operation, wanted = "apply", change["release"]
            clusters = tuple(wanted["spec"]["clusters"])
        else:
            (operation,) = change
            wanted = history[change[operation].get("toRevision", len(history)) - 1].release
            clusters = history[-1].clusters
        touches = set(_touches(wanted))
        risk = "high" if operation == "delete" else "low"
        leaving = frozenset(before - touches)
        return Scope(operation, tuple(sorted(touches | before)), clusters, risk, leaving)

    def newest(self, change: Change) -> int | None:
        """Give the number of the revision a change just made, or None for one that makes none."""
        if "release" in change or "rollback" in change:
            return len(self.history[_name(change)])
        return None

    def execute(self, identifier: str, change: Change) -> None:
        """Make an approved change."""
        name = _name(change)
        if "release" in change:
            release = change["release"]
            clusters = tuple(release["spec"]["clusters"])
            assert (
                name in self.deleted
                or not self.history[name]
                or (set(self.history[name][-1].clusters) <= set(clusters))
            ), "a cluster was dropped"
            self.history[name].append(Revision(identifier, release, clusters))
            self.deleted.discard(name)
            self._claims_nothing_of_others(name)
            return
        assert self.history[name], "a change of what never was"
        assert name not in self.deleted, "a change of what was deleted"
        if "rollback" in change:
            self._go_back(name, change["rollback"]["toRevision"])
            self._claims_nothing_of_others(name)
        elif "delete" in change:
            self.deleted.add(name)
            self.removed.add(name)
            self.held = {place: number for place, number in self.held.items() if place[1] != name}

    def _claims_nothing_of_others(self, name: str) -> None:
        newest = self.history[name][-1]
        for other in self.history.keys() - self.deleted - {name}:
            theirs = self.history[other][-1:]
            shared = [r for r in theirs if set(_touches(r.release)) & set(_touches(newest.release))]
            assert not any(set(r.clusters) & set(newest.clusters) for r in shared), (
                "an object has two releases"
            )

    def _go_back(self, name: str, to_revision: int) -> None:
        history = self.history[name]
        source = history[to_revision - 1]
        history.append(Revision(source.content, source.release, history[-1].clusters))

    def freeze(self, name: str, body: Mapping[str, Any]) -> None:
        """Stop what patterns match."""
        assert name not in self.freezes, "a freeze came twice"
        self.freezes[name] = Freeze(
            tuple(body["clusters"]), tuple(body["namespaces"]), tuple(body["releases"])
        )

    def unfreeze(self, name: str) -> None:
        """Stop no longer."""
        del self.freezes[name]

    def is_frozen(self, change: Change, scope: Scope) -> bool:
        """Tell whether a freeze lies on any part of a change."""
        namespaces = {touch.namespace for touch in scope.touches}
        return any(f.covers(_name(change), scope.clusters, namespaces) for f in self.freezes.values())

    def report(self, body: Mapping[str, Any], time: int) -> None:
        """Take a report that was accepted."""
        del time
        history = self.history[body["release"]]
        assert 1 <= body["revision"] <= len(history), "a report of a revision that is not"
        revision = history[body["revision"] - 1]
        rules = revision.release["spec"].get("autoscale", ())
        found = {r["object"]: (r["minReplicas"], r["maxReplicas"]) for r in rules}
        place = body["cluster"], body["release"]
        if body["outcome"] == "applied" and {o["outcome"] for o in body["objects"]} <= {"deleted", "skipped"}:
            self.left.add(place)
        if self.desired.get(place) == body["revision"]:
            self.bounds[place] = found
        percent = revision.release["spec"].get("health", {}).get("healthyPercent", 100)
        objects = [o for o in body["objects"] if o["outcome"] != "deleted"]
        current = sum(o["health"] == "current" for o in objects)
        if body["outcome"] == "applied" and 100 * current >= percent * len(objects):
            revision.well.add(body["cluster"])

    # -- what the machine did ------------------------------------------------------------------------

    def watch(
        self, segment: Segment, time: int, parameters: Mapping[str, Any], made: str | None = None
    ) -> None:
        """Judge one step of the machine, after what people did by it was taken.

        Args:
            segment: what was told.
            time: of the block.
            parameters: of the ledger.
            made: the release of a change that came last in the step; its rollout may have moved before.
        """
        for said in segment.of("release"):
            if "cause" in said:
                self._rolled_back(said, time, parameters)
        for said in segment.of("freeze"):
            if said["by"] == "machine" and said["state"] == "frozen":
                release = next(
                    i["release"] for i in segment.of("incident") if said["name"].endswith(i["number"])
                )
                self.freezes[said["name"]] = Freeze(("*",), ("*",), (release,))
        for said in segment.of("desired"):
            number = int(said["revision"])
            self.desired[said["cluster"], said["release"]] = number
            self.left.discard((said["cluster"], said["release"]))
            late = made == said["release"] and number == len(self.history[made]) - 1
            if not late:
                self._started(said["cluster"], said["release"], number)
            self.held[said["cluster"], said["release"]] = number
        for said in segment.of("scale"):
            low, high = self.bounds[said["cluster"], said["release"]][said["object"]]
            assert low <= int(said["toReplicas"]) <= high, "replicas out of bounds"
            self.scalings += 1

    def _rolled_back(self, said: Said, time: int, parameters: Mapping[str, Any]) -> None:
        name, source = said["name"], int(said["rollbackOf"])
        assert 1 <= source <= len(self.history[name]), "a rollback to what never was"
        revision = self.history[name][source - 1]
        assert set(revision.clusters) <= revision.well, "a rollback to what was not healthy everywhere"
        self._go_back(name, source)
        assert int(said["revision"]) == len(self.history[name]), "a revision that is not the next one"
        window = [t for t in self.rollbacks[name] if time - t < parameters.get("rollbackWindowSeconds", 3600)]
        assert len(window) < parameters.get("rollbacksPerWindowMax", 3), "too many automatic rollbacks"
        self.rollbacks[name].append(time)
        self.machine_rollbacks += 1

    def _started(self, cluster: str, name: str, number: int) -> None:
        self.started += 1
        assert name not in self.deleted, "started after its deletion"
        assert number == len(self.history[name]), "started what is not the newest revision"
        revision = self.history[name][number - 1]
        assert cluster in revision.clusters, "started where it was not approved"
        known = {number, self.held.get((cluster, name), number)}
        touches = [t for n in known for t in _touches(self.history[name][n - 1].release)]
        namespaces = {touch.namespace for touch in touches}
        assert not any(f.covers(name, (cluster,), namespaces) for f in self.freezes.values()), (
            "started in a frozen scope"
        )


def _name(change: Change) -> str:
    if "release" in change:
        return str(change["release"]["metadata"]["name"])
    (operation,) = change
    return str(change[operation]["release"])


def _touches(release: Mapping[str, Any]) -> tuple[Touch, ...]:
    own = Touch("Release.conclave.internal", release["spec"]["namespace"], release["metadata"]["name"])
    found = {own}
    for manifest in release["spec"]["manifests"]:
        group, slash, _ = manifest["apiVersion"].rpartition("/")
        kind = f"{manifest['kind']}.{group}" if slash else manifest["kind"]
        found.add(Touch(kind, manifest["metadata"].get("namespace", "-"), manifest["metadata"]["name"]))
    return tuple(sorted(found))
