"""What a cluster's bridge would do, step by step, before it does it.

Owns the way from a release, a proposal or a source to the steps for one cluster. Promises that they are
decided by the bridge's own planner (``k8s_bridge.plan``) from what the ledger proves, the inventory on the
cluster and a look at it by whoever asks, in dry runs; that nothing is written; that what is only thought of
never becomes a plan that could be carried out. What the bridge remembers (objects in contest, requests
refused for good) is not known here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from conclave.client import Client
from consensus import ledger_reader, release_reader, revisions
from consensus.reader import View
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.desired import Desired, desired_of, draft_of, namespaces_of
from k8s_bridge.observe import observe
from k8s_bridge.plan import Step, World, plan, steps_of
from k8s_bridge.store import InventoryStore
from k8s_bridge.workers import Pool
from ledger import freezing, health_expression, release_spec
from ledger.autoscale import AutoscaleRule
from ledger.changes import Change, Delete, Release, Rollback
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.records import DesiredState, state_at
from ledger.release import ReleaseRevision
from ledger.types import JsonObject, ProposalState

LATE = 2**53
"""A block time after every other."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The steps for one release on one cluster.

    Attributes:
        revision: what is looked at; its number is the one it has or would get.
        steps: in the order the bridge would take them.
        world: the cluster as it was seen.
        frozen: names of the freezes under which the bridge does nothing of it.
        wave: this cluster's in the rollout under way, and of how many; None for what is only thought of.
        server: the API server that was asked.
    """

    revision: ReleaseRevision
    steps: tuple[Step, ...]
    world: World
    frozen: tuple[str, ...]
    wave: tuple[int, int] | None
    server: str


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster, how to reach it, and whether to ask it as the account of a release's scope."""

    cluster: str
    kubeconfig: str | None = None
    impersonate: bool = False


def of_release(client: Client, view: View, place: Place, name: str) -> Preview:
    """Preview what the cluster shall have now, as the ledger proves it.

    Raises:
        Refused: RELEASE_UNKNOWN, and as ``k8s_bridge.plan.plan``. VerificationFailed: as reading.
        EnvironmentFault: KUBECONFIG_INVALID, KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
    """
    verified = release_reader.release(view, place.cluster, name)
    desired = desired_of(verified)
    world, server = _look(client, view, place, desired, verified.value.namespace)
    found = _preview(view, place, verified.value, (plan(verified, world).steps, world, server))
    return replace(found, wave=_wave(view, place.cluster, name))


def of_change(client: Client, view: View, place: Place, change: Change) -> Preview:
    """Preview what would be done if ``change`` were final now and had reached the cluster.

    Raises:
        Refused: USAGE for a change of ledger objects or a withdrawal, RELEASE_UNKNOWN, CLUSTER_UNKNOWN, and
        as
            ``of_release``. VerificationFailed, EnvironmentFault: as ``of_release``.
    """
    revision = _thought_of(view, place.cluster, change)
    desired = draft_of(revision, view.chain_id, view.height)
    world, server = _look(client, view, place, desired, revision.namespace)
    return _preview(view, place, revision, (steps_of(desired, world), world, server))


def of_proposal(client: Client, view: View, place: Place, which: str | int) -> Preview:
    """Preview an open or approved proposal, its proposer's signature verified.

    Raises:
        Refused: PROPOSAL_UNKNOWN, PROPOSAL_NOT_OPEN, and as ``of_change``.
    """
    record = release_reader.proposal(view, which).value
    state = state_at(record, view.height + 1)
    if state not in {ProposalState.OPEN, ProposalState.APPROVED}:
        raise Refused(
            Code.PROPOSAL_NOT_OPEN,
            got=f"proposal {record.number} is {state.value}",
            expected="one that is still to be carried out",
            todo="see what is wanted now: conclave diff release/NAME --plan CLUSTER",
        )
    return of_change(client, view, place, release_reader.proposed(view, record.id).value.change)


def _thought_of(view: View, cluster: str, change: Change) -> ReleaseRevision:
    match change:
        case Release():
            _require_target(cluster, change.clusters)
            return _of_content(view, cluster, change)
        case Rollback():
            target = release_reader.release(view, cluster, change.release, revision=change.to_revision).value
            number = release_reader.release_record(view, change.release).value.revision + 1
            replicas = _replicas(view, cluster, change.release, target.autoscale)
            return replace(target, revision=number, replicas=replicas)
        case Delete():
            newest = release_reader.release(view, cluster, change.release).value
            return replace(newest, state=DesiredState.DELETED, prune=change.prune)
        case _:
            raise Refused(
                Code.USAGE,
                got="a change that asks nothing of a cluster",
                expected="a release, a rollback or a deletion",
            )


def _of_content(view: View, cluster: str, change: Release) -> ReleaseRevision:
    try:
        number = release_reader.release_record(view, change.name).value.revision + 1
    except Refused as refusal:
        if refusal.code is not Code.RELEASE_UNKNOWN:
            raise
        number = 1
    rules = release_spec.read_autoscale(change.spec, "spec")
    return ReleaseRevision(
        name=change.name,
        revision=number,
        digest="",
        content_proposal="",
        authority_proposal="",
        clusters=change.clusters,
        namespace=change.namespace,
        manifests=tuple(change.manifests),
        height=view.height,
        approvers=(),
        autoscale=rules,
        replicas=_replicas(view, cluster, change.name, rules),
        recreate=release_spec.read_recreate(change.spec, "spec"),
        health_rules=health_expression.read_rules(change.spec, "spec"),
    )


def _replicas(
    view: View, cluster: str, name: str, rules: tuple[AutoscaleRule, ...]
) -> tuple[tuple[str, int], ...]:
    """Give the replicas a new revision would begin with: as decided before, within its own rules."""
    wanted = release_reader.desired(view, cluster, name).value
    if wanted is None:
        return tuple((rule.object, rule.initial_replicas) for rule in rules)
    newly = replace(wanted, time=LATE)
    return view.read(lambda get: revisions.replicas_of(get, rules, newly)).value


def _require_target(cluster: str, clusters: tuple[str, ...]) -> None:
    if clusters and cluster not in clusters:
        raise Refused(
            Code.CLUSTER_UNKNOWN, got=cluster, expected=f"a target of the release: {', '.join(clusters)}"
        )


def _look(client: Client, view: View, place: Place, desired: Desired, namespace: str) -> tuple[World, str]:
    connection = connect(_kubeconfig(client, place), os.environ)
    kubernetes, workers = KubernetesClient(connection), Pool()
    try:
        claims = InventoryStore(kubernetes, view.chain_id).load()
        asked = kubernetes.in_scope(namespace) if place.impersonate else kubernetes
        return observe(asked, desired, claims, workers=workers), connection.server
    finally:
        workers.close()
        kubernetes.close()


def _kubeconfig(client: Client, place: Place) -> str | None:
    """Give the kubeconfig that was named, or that of the devkube that stands for the cluster here.

    Raises:
        EnvironmentFault: KUBECONFIG_INVALID.
    """
    named = place.kubeconfig or os.environ.get("KUBECONFIG")
    if named:
        return named
    own: Path = client.home.devkube(place.cluster) / "kubeconfig"
    if not own.is_file():
        raise EnvironmentFault(
            Code.KUBECONFIG_INVALID,
            got=f"no kubeconfig for cluster {place.cluster}",
            expected="your own, by --kubeconfig FILE or KUBECONFIG",
            todo="name one; it needs to read, and to apply in dry runs",
        )
    return str(own)


def _preview(
    view: View, place: Place, revision: ReleaseRevision, seen: tuple[tuple[Step, ...], World, str]
) -> Preview:
    namespaces = namespaces_of(revision)
    frozen = tuple(
        freeze.name
        for freeze in ledger_reader.freezes(view).value
        if freezing.covers(freeze, revision.name, (place.cluster,), namespaces)
    )
    return Preview(revision, seen[0], seen[1], frozen, None, seen[2])


def _wave(view: View, cluster: str, name: str) -> tuple[int, int] | None:
    rollout = release_reader.rollout(view, name).value
    waves = () if rollout is None else rollout.waves
    return next(((n, len(waves)) for n, wave in enumerate(waves, 1) if cluster in wave), None)


def observed(preview: Preview, step: Step) -> tuple[JsonObject | None, JsonObject | None]:
    """Give what is there and what would be, as the API server said; None for nothing."""
    seen = preview.world.observed.get(step.key)
    live = None if seen is None else seen.live
    return live, (step.manifest if seen is None or seen.dry_run is None else seen.dry_run)
