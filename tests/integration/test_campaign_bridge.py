"""A few rounds of kills, hand edits and releases at once: all agrees afterwards, the audit log too."""

from __future__ import annotations

import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.inventory import NAME_PREFIX
from k8s_bridge.store import DEFAULT_NAMESPACE
from tests.campaign import audit
from tests.campaign.bridge import Campaign, Tally, campaign
from tests.campaign.bridge_hand import MERGE
from tests.campaign.bridge_stage import BRIDGES
from tests.support.manifests import config_map

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    # A server that dies before the handshake leaves its socket to the collector, within urllib3.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
    ),
]

ROUNDS, SEED = 5, 7


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Campaign, Tally]]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="cb-") as folder:
        patch.delenv("KUBECONFIG", raising=False)
        with campaign(Path(folder), SEED, print) as found:
            yield found, found.run(ROUNDS)


@pytest.mark.requires("campaign.bridge", "campaign.bridge-audit")
def test_after_chaos_the_cluster_is_the_ledger_and_the_audit_log_is_the_plans(
    played: tuple[Campaign, Tally],
) -> None:
    _, tally = played
    assert tally.rounds == ROUNDS
    assert tally.done["release"] > len(tally.refused), str(tally)
    hurt = {"kill cluster", "kill bridge", "kill validator"}
    assert hurt <= tally.done.keys(), str(tally)
    assert tally.done["edit"] >= ROUNDS, str(tally)
    assert (tally.verdict.unplanned, tally.verdict.unsent) == ([], [])
    assert tally.verdict.holds, str(tally)
    assert tally.verdict.own.keys() == {"lease", "inventory"}, str(tally)


@pytest.mark.requires("campaign.bridge", "campaign.bridge-audit")
def test_what_goes_wrong_then_is_seen(played: tuple[Campaign, Tally]) -> None:
    """With the bridges gone, nobody mends what is done to the cluster, or keeps to a plan."""
    found, _ = played
    scene = found.scene
    for name in BRIDGES:
        scene.signal_bridge(name, signal.SIGKILL)
    assert found.look() == []
    chance = random.Random(SEED)  # noqa: S311 - reproducible, not secret
    while not found.hand.foreign:
        found.hand.beside(chance, anywhere=False)
    assert found.look() == []
    key = min(found.hand.foreign)
    named = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
    touched = {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": {**named, "labels": {"text": "ours"}},
    }
    bridge = KubernetesClient(connect(str(scene.folder / "bridge.kubeconfig"), {}))
    try:
        bridge.apply(config_map("unplanned", "default"))
        bridge.apply(touched)
        bridge.apply(config_map("tried", "default"), dry_run=True)
    finally:
        bridge.close()
    said = found.look()
    assert sum("nobody wants it" in line for line in said) == 2, said
    assert sum("of others" in line for line in said) == 1, said
    scene.admin.ask("delete", f"/api/v1/namespaces/{DEFAULT_NAMESPACE}/configmaps/{NAME_PREFIX}tools")
    label = {"metadata": {"labels": {"theirs": "yes"}}}
    scene.admin.ask("patch", "/api/v1/namespaces/shop", body=label, content_type=MERGE)
    more = [line for line in found.look() if line not in said]
    labelled = 'v1/Namespace/-/shop: .metadata.labels is {"theirs": "yes"}, not null'
    assert sorted(more) == ["tools: no record", labelled]
    verdict = found.audited()
    assert [line.rpartition(": ")[2] for line in verdict.unplanned] == [audit.NONE] * 2
    assert verdict.unsent == []
