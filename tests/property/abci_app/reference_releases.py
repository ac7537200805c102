"""An independent reference of releases: revisions, reports, and what the machine does when a rollout fails.

Owns ``Releases``: what docs/spec/releases.md §2, §4, §5 says must come of revisions, of reports and of time,
in lists and dicts. It shares no code with the machine but the numbers of the codes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.errors import Code
from tests.property.abci_app.reference_rollouts import Plan, Rollout, Said


@dataclass(frozen=True)
class Revision:
    """What a release was at some time: the case that carries its content, and why it is there."""

    content: int
    clusters: tuple[str, ...]
    plan: Plan
    item: str
    rollback_of: int | None = None
    cause: int | None = None


@dataclass
class Release:
    """A release: its revisions from 1, the newest healthy one, its rollbacks by the machine, its rollout."""

    revisions: list[Revision] = field(default_factory=list)
    healthy: int | None = None
    rollbacks: list[int] = field(default_factory=list)
    rollout: Rollout | None = None


@dataclass(frozen=True)
class Incident:
    """What people should look at."""

    kind: str
    release: str | None
    revision: int | None
    new_revision: int | None = None


class Releases:
    """All releases, what each cluster shall have, freezes and incidents."""

    def __init__(self, clusters: set[str], most: int, window: int) -> None:
        self.clusters, self._most, self._window = clusters, most, window
        self.by_name: dict[str, Release] = {}
        self.desired: dict[tuple[str, str], int] = {}
        self.freezes: dict[str, str] = {}
        self.incidents: list[Incident] = []
        self.sequences: dict[str, int] = {}
        self.seen: Counter[str] = Counter()

    def frozen(self, name: str | None) -> bool:
        """Tell whether the machine's freeze lies on a release."""
        return name in self.freezes.values()

    def clusters_of(self, name: str) -> tuple[str, ...]:
        """Give the clusters of the newest revision."""
        return self.by_name[name].revisions[-1].clusters

    def refused_clusters(self, name: str, clusters: tuple[str, ...]) -> Code | None:
        """Say why a release may not go to exactly these clusters."""
        if set(clusters) - self.clusters:
            return Code.CLUSTER_UNKNOWN
        if name in self.by_name and set(self.clusters_of(name)) - set(clusters):
            return Code.RELEASE_CLUSTERS_CHANGED
        return None

    def become(self, name: str, revision: Revision, now: int) -> int:
        """Add a revision and begin its rollout, wave after wave; give its number."""
        release = self.by_name.setdefault(name, Release())
        release.revisions.append(revision)
        left, waves = set(revision.clusters), []
        for wanted in (*revision.plan.waves, revision.clusters):
            here = sorted(left & set(wanted))
            left -= set(here)
            waves += [here] if here else []
        release.rollout = Rollout(len(release.revisions), revision.plan, now, waves)
        self._go_on(name)
        return len(release.revisions)

    def hear(self, node_of: str, about: tuple[str, str, int, int], said: Said, now: int) -> Code:
        """Take a report from the node of a cluster about (cluster, release, revision, sequence)."""
        cluster, name, number, sequence = about
        if node_of != cluster:
            return Code.REPORTER_NOT_OF_CLUSTER
        if name not in self.by_name:
            return Code.RELEASE_UNKNOWN
        if number > len(self.by_name[name].revisions):
            return Code.REVISION_UNKNOWN
        if cluster not in self.clusters_of(name):
            return Code.CLUSTER_UNKNOWN
        if sequence <= self.sequences.get(cluster, 0):
            return Code.REPORT_SEQUENCE_STALE
        self.sequences[cluster] = sequence
        rollout = self.by_name[name].rollout
        if self.desired.get((cluster, name)) == number and rollout is not None and rollout.revision == number:
            rollout.follow(now)
            self._move(name, lambda: rollout.hear(cluster, said))
        return Code.OK

    def due(self) -> list[tuple[int, str]]:
        """Give when time alone moves which rollout."""
        found = []
        for name, release in self.by_name.items():
            left = None if release.rollout is None else release.rollout.seconds_left()
            if release.rollout is not None and left is not None:
                found.append((release.rollout.clock + left, name))
        return found

    def look(self, name: str, now: int) -> None:
        """Let time pass for a release."""
        rollout = self.by_name[name].rollout
        assert rollout is not None
        self._move(name, lambda: rollout.follow(now), "deadline")

    def _move(self, name: str, moved: Callable[[], None], why: str = "report") -> None:
        rollout = self.by_name[name].rollout
        assert rollout is not None
        if rollout.word != "progressing":
            return
        moved()
        if rollout.word != "failed":
            self._go_on(name)
            self.seen["stuck"] += rollout.word == "failed"
        if rollout.word == "failed":
            self.seen[f"failed by {why}"] += 1
            self.seen["later wave kept back"] += rollout.wave + 1 < len(rollout.waves)
            before = self.seen["machine rollback"]
            self._remedy(name, rollout)
            self.seen[f"machine rollback by {why}"] += self.seen["machine rollback"] - before

    def _go_on(self, name: str) -> None:
        release = self.by_name[name]
        assert release.rollout is not None
        before = release.rollout.wave
        for cluster in release.rollout.go_on():
            self.desired[cluster, name] = release.rollout.revision
        self.seen["later wave started"] += release.rollout.wave > before
        if release.rollout.word == "complete":
            release.healthy = release.rollout.revision
            self.seen["complete"] += 1
            self.seen["machine rollback complete"] += release.rollout.automatic

    def _remedy(self, name: str, failed: Rollout) -> None:
        release, now = self.by_name[name], failed.clock
        recent = [time for time in release.rollbacks if now - time < self._window]
        if failed.automatic:
            self._freeze(name, failed, "machine rollback failed")
        elif release.healthy is None:
            self.incidents.append(Incident("rollout-failed", name, failed.revision))
            self.seen["withdrawn from new clusters"] += "waiting" in {
                place.word for place in failed.places.values()
            }
        elif len(recent) >= self._most:
            self._freeze(name, failed, "frozen after too many")
        else:
            self._roll_back(name, release, release.healthy, now)

    def _freeze(self, name: str, failed: Rollout, why: str) -> None:
        self.incidents.append(Incident("release-frozen", name, failed.revision))
        self.freezes[f"machine-{len(self.incidents)}"] = name
        self.seen[why] += 1

    def _roll_back(self, name: str, release: Release, healthy: int, now: int) -> None:
        number = len(release.revisions) + 1
        self.incidents.append(Incident("rollback", name, number - 1, number))
        source = release.revisions[healthy - 1]
        release.revisions.append(
            Revision(
                source.content,
                self.clusters_of(name),
                source.plan,
                source.item,
                healthy,
                len(self.incidents),
            )
        )
        release.rollbacks.append(now)
        self.seen["machine rollback"] += 1
        self.seen["machine rollback over unhealthy ones"] += healthy < number - 2
        # Everywhere at once, but nowhere the release has never been.
        reached = [cluster for cluster in self.clusters_of(name) if (cluster, name) in self.desired]
        plan = Plan(deadline=source.plan.deadline, percent=source.plan.percent, settle=source.plan.settle)
        self.seen["rollback not everywhere"] += len(reached) < len(self.clusters_of(name))
        release.rollout = Rollout(number, plan, now, [sorted(reached)], automatic=True)
        self._go_on(name)
