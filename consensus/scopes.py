"""What a recorded change touched, found again from what was signed.

Owns the finding of a proposal's scope by every verifier. Promises that touches and risk come from signed
manifests, never from what the machine noted of them. Source: docs/spec/authority.md §2.

A selector is the one thing not resolved again: labels change, so the clusters it chose are those of the
revision, and authority is judged for every one of them.
"""

from __future__ import annotations

from consensus.evidence import Evidence, Get, required, unbound
from ledger import records, statekeys
from ledger.actions import Proposal
from ledger.authority.scope import (
    Operation,
    Scope,
    asks_for_host,
    ledger_scope,
    risk_of,
    touches_of_release,
)
from ledger.changes import Configure, Delete, Release, Rollback
from ledger.records import ProposalRecord, RevisionRecord

SAME_BLOCK_MAX = 16
"""Revisions of one release in one block that are tried as what a change was made of."""


def revision_record(get: Get, name: str, number: int) -> RevisionRecord:
    """Give a revision that another record names.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    key = statekeys.revision(name, number)
    record = required(get, key, records.read_revision)
    if (record.release, record.revision) != (name, number):
        raise unbound(key, f"{record.release} {record.revision}", f"{name} {number}")
    return record


def signed_release(get: Get, evidence: Evidence, identifier: str, name: str) -> Release:
    """Give the release that a proposal's signed body carries.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    action = evidence.said(get, identifier).action
    if not isinstance(action, Proposal) or not isinstance(action.change, Release):
        raise unbound(statekeys.envelope(identifier), type(action).__name__, "a proposed release")
    if action.change.name != name:
        raise unbound(statekeys.envelope(identifier), action.change.name, name)
    return action.change


def scopes_of(
    get: Get, evidence: Evidence, record: ProposalRecord, proposal: Proposal, height: int
) -> tuple[Scope, ...]:
    """Give the scope a change had in the block of ``height``; more than one where the block had several.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    change = proposal.change
    if isinstance(change, Configure):
        named = [(o.kind, o.name) for o in change.remove] + [(o.kind, o.name) for o in change.put]
        return (ledger_scope(named),)
    if isinstance(change, Release):
        clusters = change.clusters or _own_revision(get, record).clusters
        return (_scope(Operation.APPLY, change, clusters),)
    name = change.release
    if isinstance(change, Rollback):
        source = revision_record(get, name, change.to_revision).content
        content = signed_release(get, evidence, source, name)
        found = {r.clusters for r in _revisions_at(get, record, name, height)}
        return tuple(_scope(Operation.ROLLBACK, content, clusters) for clusters in sorted(found))
    operation = Operation.DELETE if isinstance(change, Delete) else Operation.WITHDRAW
    return tuple(
        _scope(operation, signed_release(get, evidence, revision.content, name), revision.clusters)
        for revision in _revisions_at(get, record, name, height)
    )


def _own_revision(get: Get, record: ProposalRecord) -> RevisionRecord:
    if record.revision is None or record.change.release is None:
        raise unbound(statekeys.proposal(record.id), record.revision, "the revision it became")
    return revision_record(get, record.change.release, record.revision)


def _revisions_at(get: Get, record: ProposalRecord, name: str, height: int) -> tuple[RevisionRecord, ...]:
    """Give the revisions of a release that were its newest somewhere in the block of ``height``."""
    if record.revision is not None and height == record.final_height:
        # What the proposal became says itself which one was the newest before it.
        return (revision_record(get, name, _before(record)),)
    low, high = 1, required(get, statekeys.release(name), records.read_release).revision
    found: RevisionRecord | None = None
    while low <= high:
        middle = (low + high) // 2
        candidate = revision_record(get, name, middle)
        if candidate.height <= height:
            low, found = middle + 1, candidate
        else:
            high = middle - 1
    if found is None:
        raise unbound(statekeys.release(name), "no revision", f"one at height {height}")
    revisions = [found]
    while revisions[-1].height == height and revisions[-1].revision > 1 and len(revisions) < SAME_BLOCK_MAX:
        revisions.append(revision_record(get, name, revisions[-1].revision - 1))
    return tuple(revisions)


def _before(record: ProposalRecord) -> int:
    if record.revision is None or record.revision < 2:
        raise unbound(statekeys.proposal(record.id), record.revision, "a revision after the first")
    return record.revision - 1


def _scope(operation: Operation, release: Release, clusters: tuple[str, ...]) -> Scope:
    touches = touches_of_release(release.name, release.namespace, release.manifests)
    host = any(asks_for_host(manifest) for manifest in release.manifests)
    return Scope(operation, touches, clusters, risk_of(operation, touches, host_access=host))
