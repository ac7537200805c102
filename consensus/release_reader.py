"""The ledger's questions, answered with proof: releases, proposals, reports, identities.

Owns which records belong together and how they must bind to each other (docs/spec/ledger.md §3). Promises
that a release revision is handed out only when its manifests, its authority and every operator signature
verify. Every function takes a ``View`` and gives a ``Verified`` value; none has another way to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus.operators import Approved, Evidence, Said, approved, open_envelope, required, speaker, unbound
from consensus.reader import View
from consensus.verified import Verified
from ledger import records, statekeys
from ledger.actions import Proposal, Report
from ledger.changes import Release
from ledger.errors import Code, Refused, VerificationFailed
from ledger.limits import HISTORY_HEIGHTS
from ledger.records import ProposalRecord, ReleaseRecord, ReportRecord, RevisionRecord
from ledger.release import ReleaseRevision
from ledger.roles import ApprovalRule, Identity
from ledger.types import ActionKind

T = TypeVar("T")
R = TypeVar("R")
Get = Callable[[bytes], bytes | None]
PAGE_MAX = HISTORY_HEIGHTS
"""How many proposals or revisions one call reads."""


def releases(view: View, cluster: str) -> Verified[tuple[str, ...]]:
    """Give the names of all releases that target ``cluster``; complete, as the index is one proven value.

    Raises:
        Refused: CLUSTER_UNKNOWN.
        VerificationFailed: as ``View.get``, LEDGER_RECORD_INVALID.
    """
    return view.read(lambda get: _releases(get, cluster))


def all_releases(view: View) -> Verified[tuple[str, ...]]:
    """Give the names of all releases of the ledger."""
    return view.read(lambda get: _names(get, statekeys.INDEX_RELEASES))


def release(
    view: View, cluster: str, name: str, *, evidence: Evidence | None = None, revision: int | None = None
) -> Verified[ReleaseRevision]:
    """Give a revision of release ``name`` as ``cluster`` must run it.

    Args:
        view: the state to read.
        cluster: the cluster that asks.
        name: the release.
        evidence: envelopes judged before, to spare judging them again.
        revision: its number; None for the newest.

    Raises:
        Refused: RELEASE_UNKNOWN where there is none for this cluster, REVISION_UNKNOWN.
        VerificationFailed: PROPOSAL_UNDER_APPROVED, APPROVALS_INSUFFICIENT, OPERATOR_SIGNATURE_INVALID,
            LEDGER_RECORD_INVALID, and as ``View.get``.
    """
    known = evidence or Evidence(view.chain_id)
    return view.read(lambda get: _release(get, known, cluster, name, revision))


def release_record(view: View, name: str) -> Verified[ReleaseRecord]:
    """Give a release's record.

    Raises:
        Refused: RELEASE_UNKNOWN.
    """
    return view.read(lambda get: _release_record(get, name))


def history(view: View, name: str) -> Verified[tuple[RevisionRecord, ...]]:
    """Give the newest ``PAGE_MAX`` revisions of a release, the newest first.

    Raises:
        Refused: RELEASE_UNKNOWN.
    """
    return view.read(lambda get: _history(get, name))


def proposal(view: View, which: str | int) -> Verified[ProposalRecord]:
    """Give a proposal by id or number.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
    """
    return view.read(lambda get: _proposal(get, which))


def proposals(view: View, *, newest: int = PAGE_MAX) -> Verified[tuple[ProposalRecord, ...]]:
    """Give the ``newest`` proposals, the newest first."""
    return view.read(lambda get: _proposals(get, min(newest, PAGE_MAX)))


def proposed(view: View, which: str | int) -> Verified[Proposal]:
    """Give what a proposal says, its proposer's signature verified; approved or not.

    Raises:
        Refused: PROPOSAL_UNKNOWN.
        VerificationFailed: OPERATOR_SIGNATURE_INVALID, LEDGER_RECORD_INVALID.
    """
    return view.read(lambda get: _proposed(get, view.chain_id, which))


def report(view: View, cluster: str, name: str) -> Verified[ReportRecord | None]:
    """Give the newest report of ``cluster`` on release ``name``, its reporter's signature verified.

    Raises:
        VerificationFailed: OPERATOR_SIGNATURE_INVALID, LEDGER_RECORD_INVALID.
    """
    return view.read(lambda get: _report(get, view.chain_id, cluster, name))


def identities(view: View) -> Verified[tuple[Identity, ...]]:
    """Give every identity of the ledger, by DID."""
    return view.read(_identities)


def rules(view: View) -> Verified[tuple[ApprovalRule, ...]]:
    """Give every approval rule, by name."""
    return view.read(
        lambda get: tuple(
            required(get, statekeys.rule(n), records.read_rule) for n in _names(get, statekeys.INDEX_RULES)
        )
    )


def clusters(view: View) -> Verified[tuple[str, ...]]:
    """Give the names of all clusters."""
    return view.read(lambda get: _names(get, statekeys.INDEX_CLUSTERS))


def parameters(view: View) -> Verified[records.Parameters]:
    """Give the ledger's parameters."""
    return view.read(lambda get: required(get, statekeys.PARAMETERS, records.read_parameters))


def _names(get: Get, key: bytes, field: str = "names") -> tuple[str, ...]:
    return required(
        lambda k: get(k) or b'{"%s":[]}' % field.encode(),
        key,
        lambda content: records.read_names(content, field=field),
    )


def _releases(get: Get, cluster: str) -> tuple[str, ...]:
    if cluster not in _names(get, statekeys.INDEX_CLUSTERS):
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=cluster,
            expected="a cluster of the ledger",
            todo="see: conclave get clusters",
        )
    return _names(get, statekeys.cluster_releases(cluster))


def _release_record(get: Get, name: str) -> ReleaseRecord:
    key = statekeys.release(name)
    if get(key) is None:
        raise Refused(
            Code.RELEASE_UNKNOWN,
            got=name,
            expected="a release of the ledger",
            todo="see: conclave get releases",
        )
    record = required(get, key, records.read_release)
    if record.name != name:
        raise unbound(key, record.name, name)
    return record


def _revision(get: Get, name: str, number: int) -> RevisionRecord:
    key = statekeys.revision(name, number)
    record = required(get, key, records.read_revision)
    if (record.release, record.revision) != (name, number):
        raise unbound(key, f"{record.release} {record.revision}", f"{name} {number}")
    return record


def _release(get: Get, evidence: Evidence, cluster: str, name: str, number: int | None) -> ReleaseRevision:
    current = _release_record(get, name)
    if number is not None and not 1 <= number <= current.revision:
        raise Refused(Code.REVISION_UNKNOWN, got=number, expected=f"1 … {current.revision}", release=name)
    revision = _revision(get, name, number or current.revision)
    if cluster not in revision.clusters:
        raise Refused(
            Code.RELEASE_UNKNOWN, got=f"{name} on {cluster}", expected=" | ".join(revision.clusters)
        )
    authority = approved(get, evidence, revision.authority)
    content = _content(get, evidence, revision, authority)
    return ReleaseRevision(
        name=name,
        revision=revision.revision,
        digest=revision.digest,
        content_proposal=revision.content,
        authority_proposal=revision.authority,
        clusters=revision.clusters,
        namespace=content.namespace,
        manifests=tuple(content.manifests),
        height=revision.height,
        approvers=tuple(approver.did for approver in authority.approvers),
    )


def _content(get: Get, evidence: Evidence, revision: RevisionRecord, authority: Approved) -> Release:
    """Give the manifests the revision names, if the authority means exactly them."""
    key = statekeys.revision(revision.release, revision.revision)
    stated = authority.record
    target = stated.change.to_revision
    if (stated.revision, stated.change.release, target) != (
        revision.revision,
        revision.release,
        revision.rollback_of,
    ):
        raise unbound(key, f"approved by proposal {stated.number} for {stated.change}", "its own approval")
    source = authority
    if target is not None:
        earlier = _revision(get, revision.release, target)
        if target >= revision.revision or earlier.content != revision.content:
            raise unbound(key, revision.content, f"the content of revision {target}")
        source = approved(get, evidence, revision.content)
    change = source.proposal.change
    if not isinstance(change, Release) or (source.record.id, source.record.digest, change.name) != (
        revision.content,
        revision.digest,
        revision.release,
    ):
        raise unbound(key, source.record.id, f"the content {revision.content} of digest {revision.digest}")
    if target is None and change.clusters != revision.clusters:
        raise unbound(key, revision.clusters, f"the clusters that were signed: {change.clusters}")
    return change


def _history(get: Get, name: str) -> tuple[RevisionRecord, ...]:
    newest = _release_record(get, name).revision
    return tuple(_revision(get, name, n) for n in range(newest, max(0, newest - PAGE_MAX), -1))


def _proposal(get: Get, which: str | int) -> ProposalRecord:
    identifier = which
    if isinstance(which, int):
        key = statekeys.proposal_number(which) if 0 < which < 10**10 else b""
        if not key or get(key) is None:
            raise _unknown(which)
        identifier = required(get, key, records.read_number)
    key = statekeys.proposal(str(identifier))
    if get(key) is None:
        raise _unknown(which)
    record = required(get, key, records.read_proposal)
    if record.id != identifier or (isinstance(which, int) and record.number != which):
        raise unbound(key, f"{record.id}, number {record.number}", which)
    return record


def _unknown(which: str | int) -> Refused:
    return Refused(
        Code.PROPOSAL_UNKNOWN,
        got=which,
        expected="the number or id of a proposal of the ledger",
        todo="see: conclave get proposals",
    )


def _proposals(get: Get, newest: int) -> tuple[ProposalRecord, ...]:
    count = required(lambda k: get(k) or b'{"count":0}', statekeys.PROPOSALS, records.read_count)
    return tuple(_proposal(get, n) for n in range(count, max(0, count - newest), -1))


def _proposed(get: Get, chain_id: str, which: str | int) -> Proposal:
    record = _proposal(get, which)
    said: Said = Evidence(chain_id).said(get, record.id)
    key = statekeys.envelope(record.id)
    speaker(get, said, ActionKind.PROPOSAL, key)
    if said.digest != record.digest or not isinstance(said.action, Proposal):
        raise unbound(key, said.digest, record.digest)
    return said.action


def _report(get: Get, chain_id: str, cluster: str, name: str) -> ReportRecord | None:
    key = statekeys.report(cluster, name)
    if get(key) is None:
        return None
    record = required(get, key, records.read_report)
    envelope_key = statekeys.report_envelope(cluster, name)
    said = open_envelope(required(get, envelope_key, lambda content: content), chain_id, envelope_key)
    reporter = speaker(get, said, ActionKind.REPORT, envelope_key)
    expected = Report(
        record.cluster,
        record.release,
        record.revision,
        record.sequence,
        record.outcome,
        record.health,
        record.objects,
    )
    if said.action != expected or (record.cluster, record.release) != (cluster, name):
        raise unbound(key, "a report", "what its reporter signed")
    if reporter.cluster != cluster or reporter.did != record.reporter:
        raise VerificationFailed(
            Code.OPERATOR_SIGNATURE_INVALID,
            got=reporter.did,
            expected=f"the node of cluster {cluster}",
            key=statekeys.text(key),
        )
    return record


def _identities(get: Get) -> tuple[Identity, ...]:
    found = []
    for did in _names(get, statekeys.INDEX_IDENTITIES, "dids"):
        identity = required(get, statekeys.identity(did), records.read_identity)
        if identity.did != did:
            raise unbound(statekeys.identity(did), identity.did, did)
        found.append(identity)
    return tuple(found)
