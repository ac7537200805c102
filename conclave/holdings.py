"""What a cluster's releases hold, read from the ledger for those who install the bridge's permissions.

Owns the choice of revisions: those that may be applied (what the cluster has, the newest, the newest healthy
one), and the older ones whose objects may still have to leave. Promises that everything is proven, and
manifests verified down to the operators' signatures. Never decides what is granted (``k8s_bridge.grants``).
"""

from __future__ import annotations

from consensus import release_reader
from consensus.evidence import Evidence, required
from consensus.reader import View
from k8s_bridge.grants import Holding
from k8s_bridge.kinds import Resource, defined_by
from ledger import records, statekeys
from ledger.authority.scope import Touch
from ledger.records import DesiredState, RevisionRecord
from ledger.release import ReleaseRevision
from ledger.types import JsonObject

_DEFINITION = "CustomResourceDefinition.apiextensions.k8s.io"


def holdings_of(view: View, cluster: str) -> tuple[list[Holding], dict[str, Resource]]:
    """Give what the releases of ``cluster`` hold, and the kinds that older revisions defined.

    Raises:
        Refused: CLUSTER_UNKNOWN.
        VerificationFailed: as ``release_reader.release``.
    """
    evidence = Evidence(view.chain_id)
    held: list[Holding] = []
    told: dict[str, Resource] = {}
    for name in release_reader.releases(view, cluster).value:
        applied = _may_be_applied(view, cluster, name)
        manifests: list[JsonObject] = []
        touches: list[Touch] = []
        scaled: set[str] = set()
        for revision in release_reader.history(view, name).value:
            if cluster not in revision.clusters:
                continue
            if revision.revision in applied:
                found = _verified(view, evidence, cluster, revision)
                manifests += found.manifests
                scaled |= {rule.object for rule in found.autoscale}
                continue
            touched = _touches(view, revision)
            touches += touched
            if any(touch.kind == _DEFINITION for touch in touched):
                told |= defined_by(_verified(view, evidence, cluster, revision).manifests)
        scope = release_reader.release_record(view, name).value.namespace
        held.append(
            Holding(name, scope, tuple(manifests), tuple(sorted(set(touches))), tuple(sorted(scaled)))
        )
    return held, told


def _may_be_applied(view: View, cluster: str, name: str) -> frozenset[int]:
    record = release_reader.release_record(view, name).value
    desired = release_reader.desired(view, cluster, name).value
    if desired is not None and desired.state is DesiredState.DELETED:
        return frozenset()
    found = {record.revision, record.healthy, desired.revision if desired else None}
    return frozenset(number for number in found if number is not None)


def _verified(view: View, evidence: Evidence, cluster: str, revision: RevisionRecord) -> ReleaseRevision:
    name, number = revision.release, revision.revision
    return release_reader.release(view, cluster, name, evidence=evidence, revision=number).value


def _touches(view: View, revision: RevisionRecord) -> list[Touch]:
    key = statekeys.content(revision.content)
    content = view.read(lambda get: required(get, key, records.read_content)).value
    return [Touch(t.kind, t.namespace, t.name) for t in content.touches]
