"""The progress of rollouts: which cluster shall have which revision now, and what happens when one fails.

Owns desired records, the agenda of deadlines, and the machine's own rollback. Promises that the machine
only ever goes back to content that people approved and clusters found healthy, and not more often than the
ledger's parameters allow. Source: docs/spec/releases.md §3, §4.
"""

from __future__ import annotations

import dataclasses

from abci_app import indexes, rollouts
from abci_app.machine import claims, freezes, incidents
from abci_app.machine.context import Context
from abci_app.machine.incidents import About
from abci_app.machine.world import content_record, release_record, revision_record
from abci_app.rollouts import FreezeRelease, RollBack
from ledger import freezing, records, release_spec, statekeys
from ledger import rollout as rollout_records
from ledger.errors import Code, Refused
from ledger.limits import FREEZES_MAX, ROLLBACKS_KEPT_MAX
from ledger.records import (
    DesiredRecord,
    DesiredState,
    FreezeRecord,
    IncidentKind,
    ReleaseRecord,
)
from ledger.rollout import RolloutRecord, RolloutState
from state.reader import StateReader


def rollout_record(state: StateReader, name: str) -> RolloutRecord | None:
    """Give a release's newest rollout, or None."""
    content = state.get(statekeys.rollout(name))
    return None if content is None else rollout_records.read(content)


def desired_record(state: StateReader, cluster: str, name: str) -> DesiredRecord | None:
    """Give what a cluster shall have of a release, or None."""
    content = state.get(statekeys.desired(cluster, name))
    return None if content is None else records.read_desired(content)


def begin(ctx: Context, rollout: RolloutRecord) -> None:
    """Begin a rollout in place of the one before it."""
    _settle(ctx, rollout_record(ctx.state, rollout.release), rollout)


def step(ctx: Context, name: str) -> None:
    """Let time pass for a rollout: deadlines, settling, the next clusters."""
    rollout = rollout_record(ctx.state, name)
    if rollout is not None and rollout.state is RolloutState.PROGRESSING:
        _settle(ctx, rollout, rollouts.expire(rollout, ctx.time))


def observe(ctx: Context, rollout: RolloutRecord, report: rollouts.Observation) -> None:
    """Take what a bridge reported on the rollout's revision."""
    _settle(ctx, rollout, rollouts.expire(rollouts.observe(rollout, report, ctx.time), ctx.time))


def pause(ctx: Context, name: str, by: str) -> None:
    """Pause a rollout that progresses; any other stays as it is."""
    rollout = rollout_record(ctx.state, name)
    if rollout is not None and rollout.state is RolloutState.PROGRESSING:
        _settle(ctx, rollout, rollouts.pause(rollout, by, ctx.time))


def resume(ctx: Context, name: str, by: str) -> None:
    """Let a rollout go on that ``by`` paused; any other stays as it is."""
    rollout = rollout_record(ctx.state, name)
    if rollout is not None and rollout.state is RolloutState.PAUSED and rollout.paused_by == by:
        _settle(ctx, rollout, rollouts.resume(rollout, ctx.time))


def withdraw(ctx: Context, name: str) -> None:
    """End a rollout where it stands."""
    rollout = rollout_record(ctx.state, name)
    if rollout is not None and rollout.state in (RolloutState.PROGRESSING, RolloutState.PAUSED):
        _settle(ctx, rollout, rollouts.withdraw(rollout))


def existing(state: StateReader, name: str) -> RolloutRecord:
    """Give a release's newest rollout.

    Raises:
        Refused: RELEASE_UNKNOWN.
    """
    rollout = rollout_record(state, name)
    if rollout is None:
        raise Refused(Code.RELEASE_UNKNOWN, got=name, expected="a release of the ledger")
    return rollout


def _settle(ctx: Context, before: RolloutRecord | None, rollout: RolloutRecord) -> None:
    """Go as far as may be gone now, write it down and note when to look again."""
    verdict = rollouts.verdict(rollout)
    if verdict == "progressing":
        rollout, started = rollouts.advance(
            rollout, ctx.time, lambda cluster: _may_start(ctx, rollout, cluster)
        )
        for cluster in started:
            _start(ctx, rollout, cluster)
        verdict = rollouts.verdict(rollout)
    _write(ctx, before, rollout)
    if rollout.state is RolloutState.COMPLETE and (before is None or before.state is not rollout.state):
        _complete(ctx, rollout)
    if verdict == "failed" and (before is None or before.state is not rollout.state):
        _remedy(ctx, rollout)


def _may_start(ctx: Context, rollout: RolloutRecord, cluster: str) -> bool:
    known = freezes.of(ctx.state)
    if not known:
        return True
    namespaces = freezes.namespaces_of(ctx.state, rollout.release, rollout.revision, (cluster,))
    return not any(freezing.covers(f, rollout.release, (cluster,), namespaces) for f in known)


def _start(ctx: Context, rollout: RolloutRecord, cluster: str) -> None:
    desired = DesiredRecord(
        cluster, rollout.release, rollout.revision, DesiredState.PRESENT, prune=False, time=ctx.time
    )
    ctx.put(statekeys.desired(cluster, rollout.release), desired)
    # A bridge that has just deleted an earlier release of this name took it off its list.
    indexes.insert(ctx.state, statekeys.cluster_releases(cluster), rollout.release)
    ctx.emit("desired", cluster=cluster, release=rollout.release, revision=rollout.revision)


def _write(ctx: Context, before: RolloutRecord | None, rollout: RolloutRecord) -> None:
    name = rollout.release
    earlier = None if before is None else rollouts.next_due(before)
    due = rollouts.next_due(rollout)
    if earlier is not None and earlier != due:
        indexes.remove(ctx.state, statekeys.AGENDA, _entry(earlier, name))
    if due is not None:
        # Also where it stays the same: the entry may just have been taken off to get here.
        indexes.insert(ctx.state, statekeys.AGENDA, _entry(due, name))
    if before == rollout:
        return
    active = rollout.state in (RolloutState.PROGRESSING, RolloutState.PAUSED)
    (indexes.insert if active else indexes.remove)(ctx.state, statekeys.INDEX_ROLLOUTS, name)
    ctx.state.put(statekeys.rollout(name), rollout_records.write(rollout))
    ctx.emit(
        "rollout",
        release=name,
        revision=rollout.revision,
        state=rollout.state.value,
        wave=rollout.wave,
        waves=len(rollout.waves),
    )


def _entry(due: int, name: str) -> str:
    return f"{due:012d}/rollout/{name}"


def _complete(ctx: Context, rollout: RolloutRecord) -> None:
    release = release_record(ctx.state, rollout.release)
    assert release is not None, "a rollout without a release"
    healthy = dataclasses.replace(release, healthy=rollout.revision)
    ctx.put(statekeys.release(release.name), healthy)
    claims.follow(ctx, release, healthy)


def _remedy(ctx: Context, rollout: RolloutRecord) -> None:
    """Do what the specification wants of a failed rollout."""
    release = release_record(ctx.state, rollout.release)
    assert release is not None, "a rollout without a release"
    parameters = ctx.constants.parameters
    remedy = rollouts.decide_failure(
        rollout,
        release.healthy,
        release.rollbacks,
        ctx.time,
        (parameters.rollback_window_seconds, parameters.rollbacks_per_window_max),
    )
    cluster, reason = rollouts.first_failure(rollout)
    about = About(rollout.release, rollout.revision, cluster=cluster)
    if isinstance(remedy, RollBack):
        about = dataclasses.replace(about, new_revision=release.revision + 1)
        number = incidents.record(ctx, IncidentKind.ROLLBACK, reason, about)
        _roll_back(ctx, release, remedy.to_revision, number)
    elif isinstance(remedy, FreezeRelease) and len(freezes.of(ctx.state)) >= FREEZES_MAX:
        why = f"{reason}; {remedy.reason}; not frozen: {FREEZES_MAX} freezes are there"
        incidents.record(ctx, IncidentKind.ROLLOUT_FAILED, why, about)
    elif isinstance(remedy, FreezeRelease):
        number = incidents.record(ctx, IncidentKind.RELEASE_FROZEN, f"{reason}; {remedy.reason}", about)
        _freeze(ctx, rollout.release, number, remedy.reason)
    else:
        incidents.record(ctx, IncidentKind.ROLLOUT_FAILED, reason, about)


def _roll_back(ctx: Context, release: ReleaseRecord, to_revision: int, incident: int) -> None:
    source = revision_record(ctx.state, release.name, to_revision)
    revision = dataclasses.replace(
        source,
        revision=release.revision + 1,
        height=ctx.height,
        time=ctx.time,
        clusters=release.clusters,
        rollback_of=to_revision,
        cause=incident,
    )
    content = content_record(ctx.state, revision.content)
    changed = dataclasses.replace(
        release,
        namespace=content.namespace,
        revision=revision.revision,
        rollbacks=(*release.rollbacks, ctx.time)[-ROLLBACKS_KEPT_MAX:],
    )
    ctx.put(statekeys.revision(release.name, revision.revision), revision)
    ctx.put(statekeys.release(release.name), changed)
    claims.follow(ctx, release, changed)
    ctx.emit(
        "release",
        name=release.name,
        revision=revision.revision,
        state=changed.state.value,
        rollback_of=to_revision,
        cause=incident,
    )
    health = release_spec.read_health(content.spec, "spec")
    how = (release_spec.read_rollout(content.spec, "spec"), health)
    # Clusters that never had the release do not get it by a rollback.
    reached = tuple(c for c in release.clusters if desired_record(ctx.state, c, release.name) is not None)
    begin(ctx, rollouts.begin_rollback(release.name, revision.revision, reached, how, ctx.time))


def _freeze(ctx: Context, name: str, incident: int, reason: str) -> None:
    freezes.add(
        ctx,
        FreezeRecord(
            name=f"{freezes.OF_MACHINE}{incident}",
            clusters=("*",),
            namespaces=("*",),
            releases=(name,),
            by=freezes.MACHINE,
            reason=reason,
            height=ctx.height,
            time=ctx.time,
        ),
    )
