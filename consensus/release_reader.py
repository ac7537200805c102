"""The ledger's questions about releases, answered with proof; and by name those of its neighbours.

Owns which records belong together and how they must bind to each other (docs/spec/ledger.md §3, releases.md).
Promises that a release revision is handed out only when its manifests, its authority and every operator
signature verify, and a deletion only when operators approved it. Every function takes a ``View`` and gives a
``Verified`` value; none has another way to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consensus.evidence import Evidence, Get, ahead, open_envelope, optional, required, speaker, unbound
from consensus.ledger_reader import (
    PAGE_MAX,
    bindings,
    break_glasses,
    clusters,
    constitution,
    count_of,
    freezes,
    identities,
    incidents,
    objects,
    parameters,
    protocol,
    roles,
    rules,
    validators,
)
from consensus.listing import listing
from consensus.proposal_reader import proposal, proposals, proposed
from consensus.reader import View
from consensus.revisions import desired_record, revision_of
from consensus.scopes import revision_record
from consensus.verified import Verified
from ledger import autoscale, records, statekeys
from ledger import rollout as rollout_records
from ledger.actions import Report
from ledger.autoscale import ScaleRecord
from ledger.errors import Code, Refused, VerificationFailed
from ledger.records import DesiredRecord, ReleaseRecord, ReportRecord, RevisionRecord
from ledger.release import ReleaseRevision
from ledger.rollout import RolloutRecord
from ledger.types import ActionKind

__all__ = [
    "PAGE_MAX",
    "all_releases",
    "bindings",
    "break_glasses",
    "clusters",
    "constitution",
    "desired",
    "freezes",
    "history",
    "identities",
    "incidents",
    "objects",
    "parameters",
    "proposal",
    "proposals",
    "proposed",
    "protocol",
    "rehearse",
    "release",
    "release_record",
    "releases",
    "report",
    "report_sequence",
    "roles",
    "rollout",
    "rules",
    "scale",
    "validators",
]


def releases(view: View, cluster: str) -> Verified[tuple[str, ...]]:
    """Give the names of all releases that ``cluster`` has something of, or will have.

    Raises:
        Refused: CLUSTER_UNKNOWN.
        VerificationFailed: as ``View.get``, LEDGER_RECORD_INVALID.
    """
    return view.read(lambda get: _releases(get, cluster))


def all_releases(view: View) -> Verified[tuple[str, ...]]:
    """Give the names of all releases of the ledger, deleted ones too."""
    return view.read(lambda get: listing(get, statekeys.INDEX_RELEASES))


def release(
    view: View, cluster: str, name: str, *, evidence: Evidence | None = None, revision: int | None = None
) -> Verified[ReleaseRevision]:
    """Give what ``cluster`` must make true of release ``name``, or a revision of it.

    Args:
        view: the state to read.
        cluster: the cluster that asks.
        name: the release.
        evidence: envelopes judged before, to spare judging them again.
        revision: its number; None for the one the cluster shall have now.

    Raises:
        Refused: RELEASE_UNKNOWN where there is none for this cluster (yet), REVISION_UNKNOWN.
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


def desired(view: View, cluster: str, name: str) -> Verified[DesiredRecord | None]:
    """Give what ``cluster`` shall have of a release; None where it is to have nothing yet, or no more.

    Who approved that is not asked: ``release`` does.
    """
    return view.read(lambda get: desired_record(get, cluster, name))


def rollout(view: View, name: str) -> Verified[RolloutRecord | None]:
    """Give the newest rollout of a release."""
    return view.read(lambda get: _rollout(get, name))


def scale(view: View, cluster: str, name: str) -> Verified[ScaleRecord | None]:
    """Give the replicas that the machine decided for a release on ``cluster``."""
    return view.read(lambda get: optional(get, statekeys.scale(cluster, name), autoscale.read))


def report(view: View, cluster: str, name: str) -> Verified[ReportRecord | None]:
    """Give the newest report of ``cluster`` on release ``name``, its reporter's signature verified.

    Raises:
        VerificationFailed: OPERATOR_SIGNATURE_INVALID, LEDGER_RECORD_INVALID.
    """
    return view.read(lambda get: _report(get, view.chain_id, cluster, name))


def report_sequence(view: View, cluster: str) -> Verified[int]:
    """Give the sequence of the newest report of ``cluster`` on any release; 0 before the first."""
    return view.read(lambda get: count_of(get, statekeys.report_sequence(cluster)))


def rehearse(
    get: Get, cluster: str, known: Mapping[str, DesiredRecord], usual: Iterable[bytes], evidence: Evidence
) -> None:
    """Read what a reader will read that knows some desired records: every release that is to be another.

    Args:
        get: gives values that nothing proves.
        cluster: that will ask.
        known: what it shall have, as far as it is known.
        usual: keys that a release is likely to need.
        evidence: judged before; what is judged here must count nowhere else: hand over a copy.
    """
    names, desires = _releases(get, cluster), {}
    ahead(get, [k for n in names if n not in known for k in (statekeys.desired(cluster, n), *usual)])
    for name in names:
        found = desired_record(get, cluster, name)
        if found is not None and found != known.get(name):
            desires[name] = found
    for name, found in desires.items():
        ahead(get, [statekeys.release(name), statekeys.revision(name, found.revision), *usual])
        _release(get, evidence, cluster, name, None)


def _releases(get: Get, cluster: str) -> tuple[str, ...]:
    if get(statekeys.ledger_object("Cluster", cluster)) is None:
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=cluster,
            expected="a cluster of the ledger",
            todo="see: conclave get clusters",
        )
    return listing(get, statekeys.cluster_releases(cluster))


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


def _release(get: Get, evidence: Evidence, cluster: str, name: str, number: int | None) -> ReleaseRevision:
    current = _release_record(get, name)
    wanted = None
    if number is None:
        wanted = desired_record(get, cluster, name)
        if wanted is None:
            raise Refused(
                Code.RELEASE_UNKNOWN,
                got=f"{name} on {cluster}",
                expected="a release that has reached this cluster",
                todo="see: conclave status",
            )
        number = wanted.revision
    if not 1 <= number <= current.revision:
        if wanted is not None:
            raise unbound(statekeys.desired(cluster, name), number, f"1 … {current.revision}")
        raise Refused(Code.REVISION_UNKNOWN, got=number, expected=f"1 … {current.revision}", release=name)
    return revision_of(get, evidence, cluster, (name, number), wanted)


def _history(get: Get, name: str) -> tuple[RevisionRecord, ...]:
    newest = _release_record(get, name).revision
    return tuple(revision_record(get, name, n) for n in range(newest, max(0, newest - PAGE_MAX), -1))


def _rollout(get: Get, name: str) -> RolloutRecord | None:
    key = statekeys.rollout(name)
    found = optional(get, key, rollout_records.read)
    if found is not None and found.release != name:
        raise unbound(key, found.release, name)
    return found


def _report(get: Get, chain_id: str, cluster: str, name: str) -> ReportRecord | None:
    key = statekeys.report(cluster, name)
    record = optional(get, key, records.read_report)
    if record is None:
        return None
    envelope_key = statekeys.report_envelope(cluster, name)
    content = required(get, envelope_key, lambda content: content)
    said = open_envelope(get, content, chain_id, envelope_key)
    reporter = speaker(get, said, ActionKind.REPORT, record.height, envelope_key)
    expected = Report(
        record.cluster,
        record.release,
        record.revision,
        record.sequence,
        record.outcome,
        record.health,
        record.objects,
        record.metrics,
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
