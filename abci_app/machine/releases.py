"""Releases: an approved change becomes the next revision, and the end of a release.

Owns release and revision records and what each cluster shall have. Promises that revisions only go forward
and that only content which people signed and approved ever becomes one. Source: docs/spec/releases.md §1,
§2, §4.
"""

from __future__ import annotations

import dataclasses

from abci_app import indexes, rollouts, rules
from abci_app.machine import claims, progress
from abci_app.machine.context import Context
from abci_app.machine.world import (
    cluster_labels,
    content_record,
    release_record,
    revision_record,
    targets_of,
    touches_of,
    unknown_clusters,
)
from ledger import release_spec, statekeys
from ledger.errors import Code, Refused
from ledger.limits import RELEASES_PER_CLUSTER_MAX
from ledger.records import (
    DesiredRecord,
    DesiredState,
    ProposalRecord,
    ReleaseRecord,
    ReleaseState,
    RevisionRecord,
)


def apply(ctx: Context, proposal: ProposalRecord) -> int:
    """Make a release proposal's content the next revision and begin its rollout; give the revision's number.

    Raises:
        Refused: CLUSTER_UNKNOWN, RELEASE_CLUSTERS_CHANGED, REVISION_CONFLICT, TARGETS_EMPTY, OBJECT_CLAIMED,
            LIMIT_EXCEEDED.
    """
    content = content_record(ctx.state, proposal.id)
    current = release_record(ctx.state, content.release)
    rules.check_against(current, proposal.change.against)
    clusters = targets_of(ctx.state, content, proposal.change.clusters, current)
    rules.check_release_clusters(clusters, unknown_clusters(ctx.state, clusters), current)
    claims.check(ctx.state, content.release, touches_of(content), clusters)
    revision = RevisionRecord(
        release=content.release,
        revision=(current.revision if current else 0) + 1,
        content=proposal.id,
        authority=proposal.id,
        digest=proposal.digest,
        height=ctx.height,
        time=ctx.time,
        clusters=clusters,
        rollback_of=None,
    )
    release = ReleaseRecord(
        name=content.release,
        namespace=content.namespace,
        revision=revision.revision,
        clusters=clusters,
        healthy=current.healthy if current and current.state is not ReleaseState.DELETED else None,
        state=ReleaseState.ACTIVE,
        rollbacks=current.rollbacks if current else (),
    )
    _become(ctx, current, release, revision)
    return revision.revision


def roll_back(ctx: Context, proposal: ProposalRecord) -> int:
    """Make an earlier revision's content the next one; give the new revision's number.

    Raises:
        Refused: RELEASE_UNKNOWN, RELEASE_NOT_ACTIVE, REVISION_UNKNOWN, REVISION_CONFLICT, OBJECT_CLAIMED.
    """
    change = proposal.change
    assert change.release is not None, "a rollback without a release"
    assert change.to_revision is not None, "a rollback to nothing"
    current = rules.check_active(release_record(ctx.state, change.release), change.release)
    rules.check_against(current, change.against)
    rules.check_revision(current, change.release, change.to_revision)
    source = revision_record(ctx.state, change.release, change.to_revision)
    content = content_record(ctx.state, source.content)
    claims.check(ctx.state, change.release, touches_of(content), current.clusters)
    revision = dataclasses.replace(
        source,
        revision=current.revision + 1,
        authority=proposal.id,
        height=ctx.height,
        time=ctx.time,
        clusters=current.clusters,
        rollback_of=change.to_revision,
        cause=None,
    )
    release = dataclasses.replace(
        current, namespace=content.namespace, revision=revision.revision, state=ReleaseState.ACTIVE
    )
    _become(ctx, current, release, revision)
    return revision.revision


def withdraw(ctx: Context, name: str) -> None:
    """Stop a release's rollout for good; what it has reached stays.

    Raises:
        Refused: RELEASE_UNKNOWN or RELEASE_NOT_ACTIVE.
    """
    current = rules.check_active(release_record(ctx.state, name), name)
    ctx.put(statekeys.release(name), dataclasses.replace(current, state=ReleaseState.WITHDRAWN))
    progress.withdraw(ctx, name)
    ctx.emit("release", name=name, revision=current.revision, state=ReleaseState.WITHDRAWN.value)


def delete(ctx: Context, name: str, *, prune: bool) -> None:
    """End a release on every cluster it reached; with ``prune`` its objects go too.

    Raises:
        Refused: RELEASE_UNKNOWN or RELEASE_NOT_ACTIVE.
    """
    current = rules.check_active(release_record(ctx.state, name), name)
    gone = dataclasses.replace(current, state=ReleaseState.DELETED, healthy=None)
    ctx.put(statekeys.release(name), gone)
    claims.follow(ctx, current, gone)
    progress.withdraw(ctx, name)
    for cluster in current.clusters:
        desired = progress.desired_record(ctx.state, cluster, name)
        if desired is None:
            indexes.remove(ctx.state, statekeys.cluster_releases(cluster), name)
        else:
            wish = DesiredRecord(cluster, name, desired.revision, DesiredState.DELETED, prune, ctx.time)
            ctx.put(statekeys.desired(cluster, name), wish)
        ctx.state.delete(statekeys.scale(cluster, name))
    ctx.emit("release", name=name, revision=current.revision, state=ReleaseState.DELETED.value)


def _become(
    ctx: Context, before: ReleaseRecord | None, release: ReleaseRecord, revision: RevisionRecord
) -> None:
    """Write a new revision, list it where it goes, and begin its rollout."""
    name = release.name
    indexes.insert(ctx.state, statekeys.INDEX_RELEASES, name)
    for cluster in release.clusters:
        index = statekeys.cluster_releases(cluster)
        if indexes.insert(ctx.state, index, name) and (
            indexes.count(ctx.state, index) > RELEASES_PER_CLUSTER_MAX
        ):
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=f"{RELEASES_PER_CLUSTER_MAX + 1} on {cluster}",
                expected=f"at most {RELEASES_PER_CLUSTER_MAX} releases",
            )
    ctx.put(statekeys.revision(name, revision.revision), revision)
    ctx.put(statekeys.release(name), release)
    claims.follow(ctx, before, release)
    ctx.emit(
        "release",
        name=name,
        revision=revision.revision,
        state=release.state.value,
        rollback_of=revision.rollback_of,
        cause=revision.cause,
    )
    spec = content_record(ctx.state, revision.content).spec
    options = release_spec.read_rollout(spec, "spec")
    labels = cluster_labels(ctx.state) if release_spec.waves_select(options) else {}
    waves = rollouts.plan_waves(options, release.clusters, labels)
    health = release_spec.read_health(spec, "spec")
    progress.begin(ctx, rollouts.begin(name, revision.revision, waves, (options, health), ctx.time))
