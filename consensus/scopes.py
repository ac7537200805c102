"""What a recorded change touched, found again from what was signed.

Owns the finding of a proposal's scope by every verifier. Promises that touches and risk come from signed
manifests, never from what the machine noted of them. Source: docs/spec/authority.md §2.

A selector is the one thing not resolved again: labels change, so the clusters it chose are those of the
revision, and authority is judged for every one of them. What leaves a release is found from the revision it
came after; that this one was approved is another question, which is asked of it alone.
"""

from __future__ import annotations

from consensus.evidence import Evidence, Get, required, unbound
from ledger import records, statekeys
from ledger.actions import Proposal
from ledger.authority.scope import (
    Operation,
    Scope,
    Touch,
    asks_for_host,
    ledger_scope,
    release_scope,
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
    get: Get, evidence: Evidence, record: ProposalRecord, proposal: Proposal, *, executed: bool
) -> tuple[Scope, ...]:
    """Give the scope a change had in a block; more than one where the block had several.

    Args:
        get: gives proven values.
        evidence: envelopes judged before.
        record: of the proposal, which is final.
        proposal: what was signed.
        executed: whether the block is the one that made it final, or the one it was proposed in.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    change = proposal.change
    if isinstance(change, Configure):
        named = [(o.kind, o.name) for o in change.remove] + [(o.kind, o.name) for o in change.put]
        return (ledger_scope(named),)
    if isinstance(change, Release):
        clusters = change.clusters or _own_revision(get, record).clusters
        newest = _newest(get, record, change.name, executed=executed)
        contents = (
            None if n is None else signed_release(get, evidence, n.content, n.release) for n in newest
        )
        return tuple(_scope(Operation.APPLY, change, content, clusters) for content in contents)
    found = []
    for revision in _newest(get, record, change.release, executed=executed):
        if revision is None:
            raise unbound(statekeys.proposal(record.id), "no revision", f"one of {change.release} before it")
        before = signed_release(get, evidence, revision.content, change.release)
        if isinstance(change, Rollback):
            source = revision_record(get, change.release, change.to_revision).content
            content = signed_release(get, evidence, source, change.release)
            found.append(_scope(Operation.ROLLBACK, content, before, revision.clusters))
        else:
            operation = Operation.DELETE if isinstance(change, Delete) else Operation.WITHDRAW
            found.append(_scope(operation, before, before, revision.clusters))
    return tuple(found)


def _own_revision(get: Get, record: ProposalRecord) -> RevisionRecord:
    if record.revision is None or record.change.release is None:
        raise unbound(statekeys.proposal(record.id), record.revision, "the revision it became")
    return revision_record(get, record.change.release, record.revision)


def _newest(
    get: Get, record: ProposalRecord, name: str, *, executed: bool
) -> tuple[RevisionRecord | None, ...]:
    """Give the revisions of a release that were its newest in a block, the later first; None for none yet."""
    height = record.final_height if executed else record.height
    assert height is not None, "a change that is not final"
    if record.revision is None:
        high = required(get, statekeys.release(name), records.read_release).revision
    else:
        # What the proposal became says itself which one was the newest before it.
        high = record.revision - 1
    if record.revision is not None and executed:
        return (revision_record(get, name, high) if high else None,)
    found = [_at(get, name, high, height)]
    while (last := found[-1]) is not None and last.height == height and len(found) < SAME_BLOCK_MAX:
        found.append(revision_record(get, name, last.revision - 1) if last.revision > 1 else None)
    return tuple(found)


def _at(get: Get, name: str, high: int, height: int) -> RevisionRecord | None:
    """Give the newest revision up to ``high`` that was made at ``height`` or before."""
    low, middle = 1, high
    found: RevisionRecord | None = None
    # The first look is at the latest: seldom has anything come between.
    while low <= high:
        candidate = revision_record(get, name, middle)
        if candidate.height <= height:
            low, found = middle + 1, candidate
        else:
            high = middle - 1
        middle = (low + high) // 2
    return found


def _scope(
    operation: Operation, release: Release, before: Release | None, clusters: tuple[str, ...]
) -> Scope:
    had = () if before is None else _touches(before)
    host = any(asks_for_host(manifest) for manifest in release.manifests)
    return release_scope(operation, _touches(release), had, clusters, host_access=host)


def _touches(release: Release) -> tuple[Touch, ...]:
    return touches_of_release(release.name, release.namespace, release.manifests)
