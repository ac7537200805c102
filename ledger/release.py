"""A release revision as a cluster must run it.

Owns the typed record that travels from the verified ledger to the bridge; promises that its manifests are
exactly what the operators signed, and that its replicas lie within what they signed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.autoscale import AutoscaleRule
from ledger.health_expression import KindHealth
from ledger.records import DesiredState
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class ReleaseRevision:
    """One final revision of a release.

    Attributes:
        name: the release.
        revision: its number, from 1.
        digest: sha256 (hex) of the body that carries the manifests.
        content_proposal: id of the proposal whose body carries the manifests.
        authority_proposal: id of the proposal that was approved (differs for a rollback by people).
        clusters: the clusters it targets.
        namespace: the default namespace of the release.
        manifests: the Kubernetes objects, as signed.
        height: the height at which the revision became final.
        approvers: DIDs whose approvals were verified and counted.
        state: whether the cluster shall have it.
        prune: of a deleted release: whether its objects leave the cluster too.
        autoscale: its rules for replicas, as signed.
        replicas: by object id, of every object that has a rule; within the rule's bounds.
        recreate: ids of objects that may be deleted and made anew, as signed.
        health_rules: how custom kinds say how they are doing, as signed.
        cause: the number of the incident by which the machine rolled back to it.
    """

    name: str
    revision: int
    digest: str
    content_proposal: str
    authority_proposal: str
    clusters: tuple[str, ...]
    namespace: str
    manifests: tuple[JsonObject, ...]
    height: int
    approvers: tuple[str, ...]
    state: DesiredState = DesiredState.PRESENT
    prune: bool = False
    autoscale: tuple[AutoscaleRule, ...] = ()
    replicas: tuple[tuple[str, int], ...] = ()
    cause: int | None = None
    recreate: tuple[str, ...] = ()
    health_rules: tuple[KindHealth, ...] = ()
