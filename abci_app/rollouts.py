"""How a rollout moves: waves, deadlines, health, and what is to be done when it fails.

Owns the rules. Free functions over frozen records; time is an argument. Promises that no wave starts before
all clusters of the waves before it are healthy, and that nothing starts in a rollout that is paused, failed
or over. Source: docs/spec/releases.md §3, §4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ledger.errors import Code, Refused
from ledger.release_spec import Targets
from ledger.rollout import (
    ClusterProgress,
    ClusterState,
    HealthRule,
    RolloutOptions,
    RolloutRecord,
    RolloutState,
)
from ledger.types import JsonObject

Labels = Mapping[str, JsonObject]
"""The labels of every cluster, by its name."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a bridge reported of its cluster: outcome, health, objects that are current, objects in all."""

    cluster: str
    outcome: str
    health: str
    current: int
    total: int


@dataclass(frozen=True, slots=True)
class RollBack:
    """Make an earlier revision's content desired again."""

    to_revision: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Start it nowhere else; leave it where it is."""


@dataclass(frozen=True, slots=True)
class FreezeRelease:
    """Stop and let people look."""

    reason: str


def resolve_targets(targets: Targets, labels: Labels) -> tuple[str, ...]:
    """Give the clusters of a release, by name.

    Raises:
        Refused: TARGETS_EMPTY.
    """
    if targets.selector is None:
        return targets.clusters
    found = _selected(targets.selector, labels)
    if not found:
        raise Refused(
            Code.TARGETS_EMPTY,
            got=f"no cluster with {targets.selector['matchLabels']}",
            expected="at least one",
            todo="label the clusters, or name them",
        )
    return found


def plan_waves(
    options: RolloutOptions, clusters: tuple[str, ...], labels: Labels
) -> tuple[tuple[str, ...], ...]:
    """Give the clusters of each wave: a cluster is in the first that has it, the rest form a last one."""
    left = set(clusters)
    waves = []
    for wave in options.waves:
        chosen = wave.clusters if wave.selector is None else _selected(wave.selector, labels)
        here = tuple(sorted(left & set(chosen)))
        left -= set(here)
        waves.append(here)
    return tuple(wave for wave in (*waves, tuple(sorted(left))) if wave)


def begin(
    release: str,
    revision: int,
    waves: tuple[tuple[str, ...], ...],
    how: tuple[RolloutOptions, HealthRule],
    time: int,
) -> RolloutRecord:
    """Begin a rollout; nothing is started yet."""
    del time
    options, health = how
    return RolloutRecord(
        release=release,
        revision=revision,
        state=RolloutState.PROGRESSING,
        waves=waves,
        wave=0,
        clusters=tuple(ClusterProgress(name) for name in sorted(c for wave in waves for c in wave)),
        automatic=False,
        max_unavailable=options.max_unavailable,
        progress_deadline_seconds=options.progress_deadline_seconds,
        failure_threshold=options.failure_threshold,
        health=health,
    )


def begin_rollback(
    release: str,
    revision: int,
    clusters: tuple[str, ...],
    how: tuple[RolloutOptions, HealthRule],
    time: int,
) -> RolloutRecord:
    """Begin the rollback of a failed rollout: everywhere at once, and one failure is too much."""
    rollout = begin(release, revision, (clusters,), how, time)
    return dataclasses.replace(rollout, automatic=True, max_unavailable=None, failure_threshold=1)


def advance(
    rollout: RolloutRecord, time: int, may_start: Callable[[str], bool]
) -> tuple[RolloutRecord, tuple[str, ...]]:
    """Start what may start now, wave after wave; give the names of what started.

    Where something failed and nothing else can move any more, the rollout has failed, whatever its threshold.

    Args:
        rollout: in any state.
        time: now.
        may_start: whether a cluster may, for example because no freeze lies on it.
    """
    if rollout.state is not RolloutState.PROGRESSING:
        return rollout, ()
    states = {cluster.name: cluster.state for cluster in rollout.clusters}
    wave = rollout.wave
    # Of the waves before too: a cluster that was healthy may have failed since.
    while all(states[name] is ClusterState.HEALTHY for past in rollout.waves[: wave + 1] for name in past):
        if wave + 1 == len(rollout.waves):
            return dataclasses.replace(rollout, wave=wave, state=RolloutState.COMPLETE), ()
        wave += 1
    here = rollout.waves[wave]
    room = len(here)
    if rollout.max_unavailable is not None:
        room = rollout.max_unavailable - sum(states[name] is ClusterState.STARTED for name in here)
    started: list[str] = []
    for name in here:
        if len(started) >= room:
            break
        if states[name] is ClusterState.WAITING and may_start(name):
            started.append(name)
    begun = {name: ClusterProgress(name, ClusterState.STARTED, started=time) for name in started}
    rollout = _with(dataclasses.replace(rollout, wave=wave), begun)
    return (_failed(rollout) if _is_stuck(rollout) else rollout), tuple(started)


def observe(rollout: RolloutRecord, seen: Observation, time: int) -> RolloutRecord:
    """Take what a bridge reported on this revision; what was due before the report comes first."""
    rollout = expire(rollout, time)
    known = next((c for c in rollout.clusters if c.name == seen.cluster), None)
    if known is None or known.state is ClusterState.WAITING or rollout.state not in _ALIVE:
        return rollout
    if seen.outcome == "failed" or seen.health == "failed":
        reason = f"outcome {seen.outcome}, health {seen.health}"
        failed = dataclasses.replace(
            known, state=ClusterState.FAILED, healthy_since=None, reason=known.reason or reason
        )
        return _judged(_with(rollout, {seen.cluster: failed}))
    healthy = seen.outcome == "applied" and 100 * seen.current >= rollout.health.healthy_percent * seen.total
    if not healthy:
        if known.state is ClusterState.HEALTHY:
            return rollout
        return _with(rollout, {seen.cluster: dataclasses.replace(known, healthy_since=None)})
    since = time if known.healthy_since is None else known.healthy_since
    found = dataclasses.replace(known, healthy_since=since)
    return _settled(_with(rollout, {seen.cluster: found}), time)


def expire(rollout: RolloutRecord, time: int) -> RolloutRecord:
    """Let time pass: what was healthy long enough is healthy, what took too long failed.

    Each at the second at which it was due, so that it does not matter how often the machine looks.
    """
    while (due := next_due(rollout)) is not None and due <= time:
        rollout = _judged(_overdue(_settled(rollout, due), due))
    return rollout


def next_due(rollout: RolloutRecord) -> int | None:
    """Give the earliest time at which ``expire`` could change something."""
    if rollout.state is not RolloutState.PROGRESSING:
        return None
    dues = [
        (c.started or 0) + rollout.progress_deadline_seconds
        for c in rollout.clusters
        if c.state is ClusterState.STARTED
    ]
    dues += [
        c.healthy_since + rollout.health.settle_seconds
        for c in rollout.clusters
        if c.state is not ClusterState.HEALTHY and c.healthy_since is not None
    ]
    return min(dues, default=None)


def pause(rollout: RolloutRecord, by: str, time: int) -> RolloutRecord:
    """Pause a rollout that progresses.

    Raises:
        Refused: ROLLOUT_STATE_CONFLICT.
    """
    _check_state(rollout, RolloutState.PROGRESSING)
    return dataclasses.replace(rollout, state=RolloutState.PAUSED, paused_by=by, paused_time=time)


def resume(rollout: RolloutRecord, time: int) -> RolloutRecord:
    """Let a paused rollout go on; the time it was paused does not count.

    Raises:
        Refused: ROLLOUT_STATE_CONFLICT.
    """
    _check_state(rollout, RolloutState.PAUSED)
    since = rollout.paused_time or 0
    return dataclasses.replace(
        rollout,
        state=RolloutState.PROGRESSING,
        paused_by=None,
        paused_time=None,
        clusters=tuple(
            dataclasses.replace(
                c, started=_later(c.started, since, time), healthy_since=_later(c.healthy_since, since, time)
            )
            if c.state is not ClusterState.HEALTHY
            else c
            for c in rollout.clusters
        ),
    )


def withdraw(rollout: RolloutRecord) -> RolloutRecord:
    """End a rollout where it stands."""
    return dataclasses.replace(rollout, state=RolloutState.WITHDRAWN, paused_by=None, paused_time=None)


def verdict(rollout: RolloutRecord) -> str:
    """Give the state in one word."""
    return rollout.state.value


def first_failure(rollout: RolloutRecord) -> tuple[str | None, str]:
    """Give the first failed cluster, by name, and why it failed."""
    failed = next((c for c in rollout.clusters if c.state is ClusterState.FAILED), None)
    return (None, "") if failed is None else (failed.name, failed.reason)


def decide_failure(
    rollout: RolloutRecord,
    healthy: int | None,
    rollbacks: tuple[int, ...],
    time: int,
    bound: tuple[int, int],
) -> RollBack | Withdraw | FreezeRelease:
    """Say what is to be done about a failed rollout.

    Args:
        rollout: that failed.
        healthy: the release's newest healthy revision.
        rollbacks: times of its automatic rollbacks.
        time: now.
        bound: a window in seconds, and how many rollbacks it may hold.
    """
    window, most = bound
    if rollout.automatic:
        return FreezeRelease("an automatic rollback failed")
    if healthy is None:
        return Withdraw()
    if sum(time - earlier < window for earlier in rollbacks) >= most:
        return FreezeRelease(f"{most} automatic rollbacks within {window} s")
    return RollBack(healthy)


_ALIVE = (RolloutState.PROGRESSING, RolloutState.PAUSED)


def _selected(selector: JsonObject, labels: Labels) -> tuple[str, ...]:
    wanted = selector["matchLabels"].items()
    return tuple(
        name for name in sorted(labels) if all(labels[name].get(key) == value for key, value in wanted)
    )


def _with(rollout: RolloutRecord, changed: Mapping[str, ClusterProgress]) -> RolloutRecord:
    if not changed:
        return rollout
    return dataclasses.replace(rollout, clusters=tuple(changed.get(c.name, c) for c in rollout.clusters))


def _settled(rollout: RolloutRecord, time: int) -> RolloutRecord:
    # While it is paused, the clock of a rollout stands still.
    now = time if rollout.paused_time is None else rollout.paused_time
    settled = {
        c.name: dataclasses.replace(c, state=ClusterState.HEALTHY, reason="")
        for c in rollout.clusters
        if c.state is not ClusterState.HEALTHY
        and c.healthy_since is not None
        and max(0, now - c.healthy_since) >= rollout.health.settle_seconds
    }
    return _with(rollout, settled)


def _overdue(rollout: RolloutRecord, time: int) -> RolloutRecord:
    # One that is settling still counts its seconds: its bridge may have nothing new to report.
    late = {
        c.name: dataclasses.replace(c, state=ClusterState.FAILED, reason="progress deadline passed")
        for c in rollout.clusters
        if c.state is ClusterState.STARTED and time >= (c.started or 0) + rollout.progress_deadline_seconds
    }
    return _with(rollout, late)


def _judged(rollout: RolloutRecord) -> RolloutRecord:
    failed = sum(cluster.state is ClusterState.FAILED for cluster in rollout.clusters)
    return _failed(rollout) if rollout.state in _ALIVE and failed >= rollout.failure_threshold else rollout


def _is_stuck(rollout: RolloutRecord) -> bool:
    reached = {name for wave in rollout.waves[: rollout.wave + 1] for name in wave}
    left = [c for c in rollout.clusters if c.name in reached and c.state is not ClusterState.HEALTHY]
    # One that failed and settles by now may be healthy in a moment.
    return bool(left) and all(c.state is ClusterState.FAILED and c.healthy_since is None for c in left)


def _failed(rollout: RolloutRecord) -> RolloutRecord:
    return dataclasses.replace(rollout, state=RolloutState.FAILED, paused_by=None, paused_time=None)


def _check_state(rollout: RolloutRecord, expected: RolloutState) -> None:
    if rollout.state is not expected:
        raise Refused(
            Code.ROLLOUT_STATE_CONFLICT,
            got=rollout.state.value,
            expected=expected.value,
            todo="see `conclave status`",
            release=rollout.release,
        )


def _later(time: int | None, paused: int, resumed: int) -> int | None:
    """Add the time that passed in the pause; what began within the pause begins when it ends."""
    return None if time is None else time + resumed - max(paused, time)
