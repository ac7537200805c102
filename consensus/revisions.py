"""One revision as one cluster must make it true, put together from records that bind to each other.

Owns the road from a desired record to signed manifests, and to the deletion that operators approved. Promises
that whatever the machine decided by itself (a rollback, replicas) stays within what people signed. Works on
any getter of proven values. Source: docs/spec/releases.md.
"""

from __future__ import annotations

from consensus.evidence import Evidence, Get, optional, unbound
from consensus.ledger_reader import count_of, incident_of
from consensus.operators import Approved, approved
from consensus.proposal_reader import proposal_of
from consensus.scopes import revision_record
from ledger import autoscale, health_expression, records, release_spec, statekeys
from ledger.authority.scope import Operation
from ledger.autoscale import AutoscaleRule, ObjectScale
from ledger.changes import Delete, Release
from ledger.errors import Code, Refused
from ledger.records import DesiredRecord, DesiredState, IncidentKind, RevisionRecord
from ledger.release import ReleaseRevision
from ledger.types import ProposalState

DELETION_SEARCH_MAX = 1024
"""How many of the newest proposals are looked through for the one that deleted a release."""


def desired_record(get: Get, cluster: str, name: str) -> DesiredRecord | None:
    """Give what a cluster shall have of a release, as the machine wrote it.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    key = statekeys.desired(cluster, name)
    found = optional(get, key, records.read_desired)
    if found is not None and (found.cluster, found.release) != (cluster, name):
        raise unbound(key, f"{found.release} on {found.cluster}", f"{name} on {cluster}")
    return found


def revision_of(
    get: Get, evidence: Evidence, cluster: str, which: tuple[str, int], wanted: DesiredRecord | None
) -> ReleaseRevision:
    """Give a revision, verified.

    Args:
        get: gives proven values.
        evidence: envelopes judged before.
        cluster: that asks.
        which: release and revision.
        wanted: what the cluster shall have, if that is asked.

    Raises:
        Refused: RELEASE_UNKNOWN where the revision is not for this cluster.
        VerificationFailed: as ``operators.approved``.
    """
    revision = revision_record(get, *which)
    if cluster not in revision.clusters:
        raise Refused(
            Code.RELEASE_UNKNOWN,
            got=f"{revision.release} on {cluster}",
            expected=" | ".join(revision.clusters),
        )
    content, authority = _content(get, evidence, revision)
    rules = release_spec.read_autoscale(content.spec, "spec")
    state, prune = DesiredState.PRESENT, False
    if wanted is not None and wanted.state is DesiredState.DELETED:
        _check_deletion(get, evidence, revision, wanted)
        state, prune = wanted.state, wanted.prune
    return ReleaseRevision(
        name=revision.release,
        revision=revision.revision,
        digest=revision.digest,
        content_proposal=revision.content,
        authority_proposal=revision.authority,
        clusters=revision.clusters,
        namespace=content.namespace,
        manifests=tuple(content.manifests),
        height=revision.height,
        approvers=tuple(approver.did for approver in authority.approvers),
        state=state,
        prune=prune,
        autoscale=rules,
        replicas=replicas_of(get, rules, wanted) if wanted is not None else (),
        cause=revision.cause,
        recreate=release_spec.read_recreate(content.spec, "spec"),
        health_rules=health_expression.read_rules(content.spec, "spec"),
    )


def replicas_of(
    get: Get, rules: tuple[AutoscaleRule, ...], wanted: DesiredRecord
) -> tuple[tuple[str, int], ...]:
    """Give the replicas of every object that has a rule: as decided, else as the rule begins.

    A decision that was made before this revision was desired obeyed the rules of an earlier one, and is only
    brought within these; a later one obeyed these, or the machine did not make it.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID for a decision that no signed rule allows.
    """
    if not rules:
        return ()
    key = statekeys.scale(wanted.cluster, wanted.release)
    decided = optional(get, key, autoscale.read)
    known = {scale.object: scale for scale in (decided.objects if decided else ())}
    return tuple((rule.object, _replicas(key, rule, known.get(rule.object), wanted)) for rule in rules)


def _replicas(key: bytes, rule: AutoscaleRule, scale: ObjectScale | None, wanted: DesiredRecord) -> int:
    if scale is None:
        return rule.initial_replicas
    within = min(max(scale.replicas, rule.min_replicas), rule.max_replicas)
    if within != scale.replicas and scale.time > wanted.time:
        bounds = f"{rule.min_replicas} … {rule.max_replicas} of {rule.object}, as signed"
        raise unbound(key, f"{scale.replicas} replicas", bounds)
    return within


def _content(get: Get, evidence: Evidence, revision: RevisionRecord) -> tuple[Release, Approved]:
    """Give the manifests the revision names and what approved them, if that means exactly them."""
    key = statekeys.revision(revision.release, revision.revision)
    if revision.cause is not None:
        _check_machine_rollback(get, revision, revision.cause)
        authority = source = approved(get, evidence, revision.content)
    else:
        authority = approved(get, evidence, revision.authority)
        stated = authority.record
        bound = (stated.revision, stated.change.release, stated.change.to_revision)
        if bound != (revision.revision, revision.release, revision.rollback_of):
            raise unbound(key, f"approved by {stated.number} for {stated.change}", "its own approval")
        if stated.final_height != revision.height:
            raise unbound(key, f"of height {revision.height}", f"height {stated.final_height}")
        source = authority
        if revision.rollback_of is not None:
            _check_source(get, revision, revision.rollback_of)
            source = approved(get, evidence, revision.content)
    change = source.proposal.change
    if not isinstance(change, Release) or (source.record.id, source.record.digest, change.name) != (
        revision.content,
        revision.digest,
        revision.release,
    ):
        raise unbound(key, source.record.id, f"the content {revision.content} of digest {revision.digest}")
    if revision.rollback_of is None and change.clusters and change.clusters != revision.clusters:
        raise unbound(key, revision.clusters, f"the clusters that were signed: {change.clusters}")
    return change, authority


def _check_source(get: Get, revision: RevisionRecord, target: int) -> None:
    """A rollback brings back the content of an earlier revision, to the clusters the release had."""
    key = statekeys.revision(revision.release, revision.revision)
    if not 1 <= target < revision.revision:
        raise unbound(key, f"a rollback to {target}", "a rollback to an earlier revision")
    earlier = revision_record(get, revision.release, target)
    if (earlier.content, earlier.digest) != (revision.content, revision.digest):
        raise unbound(key, revision.content, f"the content of revision {target}")
    before = revision_record(get, revision.release, revision.revision - 1)
    if before.clusters != revision.clusters:
        raise unbound(key, revision.clusters, f"the clusters of revision {before.revision}")


def _check_machine_rollback(get: Get, revision: RevisionRecord, cause: int) -> None:
    """What the machine went back to by itself: content with an authority of its own, by an incident."""
    key = statekeys.revision(revision.release, revision.revision)
    target = revision.rollback_of
    if target is None:
        raise unbound(key, f"made by incident {cause}", "a rollback")
    _check_source(get, revision, target)
    if revision_record(get, revision.release, target).authority != revision.authority:
        raise unbound(key, revision.authority, f"the authority of revision {target}")
    incident = incident_of(get, cause)
    told = (incident.kind, incident.release, incident.new_revision, incident.height)
    if told != (IncidentKind.ROLLBACK, revision.release, revision.revision, revision.height):
        raise unbound(statekeys.incident(cause), told, f"the rollback that made {revision.revision}")


def _check_deletion(get: Get, evidence: Evidence, revision: RevisionRecord, wanted: DesiredRecord) -> None:
    """Operators approved that this release ends, with or without its objects, after this revision."""
    key = statekeys.desired(wanted.cluster, wanted.release)
    newest = count_of(get, statekeys.PROPOSALS)
    for number in range(newest, max(0, newest - DELETION_SEARCH_MAX), -1):
        record = proposal_of(get, number)
        change, final = record.change, record.final_height
        if (
            record.state is ProposalState.FINAL
            and (change.operation, change.release) == (Operation.DELETE, revision.release)
            and final is not None
            and final >= revision.height
        ):
            signed = approved(get, evidence, record.id).proposal.change
            if not isinstance(signed, Delete) or signed.prune is not wanted.prune:
                raise unbound(key, f"prune {wanted.prune}", f"what was signed: {signed}")
            return
    raise unbound(key, "deleted", "a deletion that operators approved")
