"""Observe, plan and apply one release, as the bridge does."""

from __future__ import annotations

from consensus.verified import Verified
from k8s_bridge.apply import carry_out
from k8s_bridge.changeset import ChangeSet
from k8s_bridge.cluster import Cluster
from k8s_bridge.desired import desired_of
from k8s_bridge.observe import observe
from k8s_bridge.plan import Plan, plan
from k8s_bridge.rounds import until_undisturbed
from k8s_bridge.store import InventoryStore
from ledger.release import ReleaseRevision


def make_plan(cluster: Cluster, wanted: Verified[ReleaseRevision]) -> Plan:
    inventories = InventoryStore(cluster, wanted.chain_id).load()
    return plan(wanted, observe(cluster, desired_of(wanted), inventories))


def reconcile(cluster: Cluster, wanted: Verified[ReleaseRevision]) -> ChangeSet:
    save = InventoryStore(cluster, wanted.chain_id).save
    return until_undisturbed(lambda: carry_out(make_plan(cluster, wanted), cluster, save))


def outcomes(changes: ChangeSet) -> dict[str, str]:
    return {f"{result.key.kind}/{result.key.name}": result.outcome.value for result in changes.results}
