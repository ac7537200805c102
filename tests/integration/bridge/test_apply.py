"""The bridge's applier on a real API server."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_bridge.apply import carry_out
from k8s_bridge.bounds import Timeouts, Within
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.desired import desired_of
from k8s_bridge.objects import key_of, uid_of
from k8s_bridge.observe import observe
from k8s_bridge.plan import Action, plan
from k8s_bridge.store import InventoryStore
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import make_plan, outcomes, reconcile
from tests.support.verified import CHAIN_ID, release

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SHARED = Path(os.environ.get("CONCLAVE_SHARED", Path(__file__).parents[3].parent / "shared"))


def _shop(namespace: str) -> list[JsonObject]:
    return [
        namespace_object(namespace),
        config_map("settings", namespace),
        service("web", namespace),
        deployment("web", namespace),
    ]


def _live(client: KubernetesClient, manifest: JsonObject) -> JsonObject:
    live = client.get(key_of(manifest))
    assert live is not None
    return live


def _version(client: KubernetesClient, manifest: JsonObject) -> str:
    return str(_live(client, manifest)["metadata"]["resourceVersion"])


def _by_hand(client: KubernetesClient, method: str, manifest: JsonObject) -> JsonObject:
    key = key_of(manifest)
    path = client.kind_of(key.api_version, key.kind).path(key.namespace, "" if method == "post" else key.name)
    return client._connection.ask(method, path, body=manifest)[1]


@pytest.mark.requires("bridge.signed-is-applied", "bridge.no-op-writes-nothing")
def test_create_then_nothing_to_do(client: KubernetesClient, namespace: str) -> None:
    wanted = release(_shop(namespace))
    first = reconcile(client, wanted)
    assert set(outcomes(first).values()) == {"created"}
    assert first.outcome is ReleaseOutcome.APPLIED
    versions = [_version(client, manifest) for manifest in _shop(namespace)[:3]]
    again = make_plan(client, wanted)
    assert {step.action for step in again.steps} == {Action.UNCHANGED}
    assert set(outcomes(reconcile(client, wanted)).values()) == {"unchanged"}
    assert versions == [_version(client, manifest) for manifest in _shop(namespace)[:3]]


@pytest.mark.requires("bridge.upgrade")
def test_upgrade_patches_prunes_and_leaves_the_rest(client: KubernetesClient, namespace: str) -> None:
    reconcile(client, release(_shop(namespace)))
    web = _version(client, service("web", namespace))
    upgraded = [
        namespace_object(namespace),
        service("web", namespace),
        deployment("web", namespace, replicas=2),
        config_map("more", namespace),
    ]
    assert outcomes(reconcile(client, release(upgraded, revision=2))) == {
        f"Namespace/{namespace}": "unchanged",
        "ConfigMap/more": "created",
        "Service/web": "unchanged",
        "Deployment/web": "configured",
        "ConfigMap/settings": "deleted",
    }
    assert _version(client, service("web", namespace)) == web
    assert client.get(key_of(config_map("settings", namespace))) is None
    assert _live(client, upgraded[2])["spec"]["replicas"] == 2


@pytest.mark.requires("bridge.drift-undone", "bridge.foreign-untouched")
def test_a_hand_edit_is_undone_and_a_foreign_object_left_alone(
    client: KubernetesClient, namespace: str
) -> None:
    wanted = release(_shop(namespace))
    reconcile(client, wanted)
    foreign = _by_hand(client, "post", config_map("theirs", namespace))
    edited = _live(client, _shop(namespace)[3])
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "evil.test/image:latest"
    del edited["metadata"]["resourceVersion"]
    _by_hand(client, "put", edited)
    found = outcomes(reconcile(client, wanted))
    assert found["Deployment/web"] == "configured"
    image = _live(client, edited)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert _live(client, foreign) == foreign


@pytest.mark.requires("bridge.foreign-untouched")
def test_a_foreign_object_of_the_same_name_is_a_conflict(client: KubernetesClient, namespace: str) -> None:
    _by_hand(client, "post", namespace_object(namespace))
    foreign = _by_hand(client, "post", config_map("settings", namespace, key="theirs"))
    changes = reconcile(client, release(_shop(namespace)))
    assert outcomes(changes)["ConfigMap/settings"] == "conflict"
    assert outcomes(changes)["Deployment/web"] == "created"
    assert _live(client, foreign) == foreign
    assert client.get(key_of(namespace_object(namespace)))


@pytest.mark.requires("bridge.foreign-untouched")
def test_a_delete_means_one_uid(client: KubernetesClient, namespace: str) -> None:
    reconcile(client, release(_shop(namespace)))
    key = key_of(config_map("settings", namespace))
    with pytest.raises(EnvironmentFault) as caught:
        client.delete(key, "00000000-0000-0000-0000-000000000000")
    assert (caught.value.code, caught.value.facts["status"]) == (Code.KUBERNETES_REFUSED, 409)
    assert client.get(key) is not None


@pytest.mark.requires("bridge.definition-first")
def test_a_definition_and_its_objects_in_one_release(client: KubernetesClient, namespace: str) -> None:
    group = f"{namespace}.test"
    crd = definition(group=group)
    custom = {**widget("one", namespace), "apiVersion": f"{group}/v1"}
    wanted = [custom, crd, namespace_object(namespace)]
    changes = reconcile(client, release(wanted))
    assert set(outcomes(changes).values()) == {"created"}, [r.reason for r in changes.results]
    assert {step.action for step in make_plan(client, release(wanted)).steps} == {Action.UNCHANGED}
    pruned = reconcile(client, release([namespace_object(namespace)], revision=2))
    assert outcomes(pruned) == {
        f"Namespace/{namespace}": "unchanged",
        "Widget/one": "deleted",
        f"CustomResourceDefinition/widgets.{group}": "deleted",
    }


@pytest.mark.requires("bridge.namespace-kept")
def test_a_namespace_with_a_foreign_object_is_kept(client: KubernetesClient, namespace: str) -> None:
    extra = f"{namespace}-b"
    both = [*_shop(namespace), namespace_object(extra), config_map("a", extra)]
    reconcile(client, release(both))
    foreign = _by_hand(client, "post", config_map("theirs", extra))
    assert (
        outcomes(reconcile(client, release(_shop(namespace), revision=2)))[f"Namespace/{extra}"] == "skipped"
    )
    client.delete(key_of(foreign), uid_of(foreign))
    assert (
        outcomes(reconcile(client, release(_shop(namespace), revision=2)))[f"Namespace/{extra}"] == "deleted"
    )


@pytest.mark.requires("bridge.kind-unknown", "bridge.scope")
def test_unknown_kinds_and_wrong_scopes_fail_alone(client: KubernetesClient, namespace: str) -> None:
    roleless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "homeless"}}
    boxed = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "boxed", "namespace": namespace},
        "rules": [],
    }
    changes = reconcile(client, release([*_shop(namespace), widget("one", namespace), roleless, boxed]))
    codes = {r.key.name: r.code for r in changes.results if r.code}
    assert codes == {
        "one": Code.OBJECT_KIND_UNKNOWN,
        "homeless": Code.OBJECT_SCOPE_MISMATCH,
        "boxed": Code.OBJECT_SCOPE_MISMATCH,
    }
    assert outcomes(changes)["Deployment/web"] == "created"


@pytest.mark.requires("bridge.failure-deletes-nothing")
def test_a_refused_change_is_reported_and_deletes_nothing(client: KubernetesClient, namespace: str) -> None:
    reconcile(client, release(_shop(namespace)))
    broken = copy.deepcopy(deployment("web", namespace))
    broken["spec"]["selector"]["matchLabels"] = {"app": "other"}
    changes = reconcile(client, release([namespace_object(namespace), broken], revision=2))
    result = next(r for r in changes.results if r.key.kind == "Deployment")
    assert (result.outcome, result.code) == ("failed", Code.KUBERNETES_REFUSED)
    assert "422" in result.reason
    assert client.get(key_of(config_map("settings", namespace))) is not None


def _argo_cd() -> list[JsonObject]:
    path = SHARED / "inputs" / "argo-cd" / "install.yaml"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    found = [found for found in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if found]
    cluster_scoped = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for manifest in found:
        if manifest["kind"] not in cluster_scoped:
            manifest["metadata"]["namespace"] = "argocd"
    return [*found, namespace_object("argocd")]


def _lost(signed: Any, live: Any, path: str = "") -> list[str]:
    """Name what was signed and is not in the live object; defaulted fields and empty values aside."""
    if isinstance(signed, dict) and isinstance(live, dict):
        return [
            lost for name, value in signed.items() for lost in _lost(value, live.get(name), f"{path}.{name}")
        ]
    if isinstance(signed, list) and isinstance(live, list) and len(signed) == len(live):
        return [
            lost
            for i, pair in enumerate(zip(signed, live, strict=True))
            for lost in _lost(*pair, f"{path}[{i}]")
        ]
    return [] if signed == live or (not signed and not live) else [f"{path}: {signed!r} became {live!r}"]


@pytest.mark.requires("bridge.real-manifests")
def test_argo_cd_goes_in_whole_and_out_again(client: KubernetesClient) -> None:
    manifests = _argo_cd()
    wanted = release(manifests, name="argo-cd")
    changes = reconcile(client, wanted)
    assert {r.reason for r in changes.results if r.outcome != "created"} == set()
    lost = [f"{key_of(m)}{field}" for m in manifests for field in _lost(m, _live(client, m))]
    assert lost == []
    assert {step.action for step in make_plan(client, wanted).steps} == {Action.UNCHANGED}
    reconcile(client, release([namespace_object("argocd")], name="argo-cd", revision=2))
    left = [m for m in manifests if m["kind"] not in {"CustomResourceDefinition", "Namespace"}]
    live = [client.get(key_of(m)) for m in left]
    assert [found for found in live if found and "deletionTimestamp" not in found["metadata"]] == []
    key = key_of(namespace_object("argocd"))
    client.delete(key, uid_of(client.get(key)))


@pytest.mark.requires("bridge.unreachable")
def test_an_api_server_that_is_down_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    client = KubernetesClient(connect(str(path), {}))
    with pytest.raises(EnvironmentFault) as caught:
        reconcile(client, release(_shop("a")))
    assert caught.value.code is Code.KUBERNETES_UNREACHABLE
    client.close()


@pytest.mark.requires("bridge.late-writer", "bridge.foreign-untouched")
def test_a_plan_that_got_old_takes_over_and_revives_nothing(client: KubernetesClient, namespace: str) -> None:
    kept, gone, made = (config_map(name, namespace) for name in ("kept", "gone", "made"))
    reconcile(client, release([namespace_object(namespace), kept, gone]))
    edited = [config_map(name, namespace, text="new") for name in ("kept", "gone")]
    wanted = release([namespace_object(namespace), *edited, made], revision=2)
    store = InventoryStore(client, CHAIN_ID)
    old = plan(wanted, observe(client, desired_of(wanted), store.load()))
    client.delete(key_of(gone), uid_of(_live(client, gone)))
    _by_hand(client, "post", {**made, "data": {"by": "another"}})
    found = outcomes(carry_out(old, client, store.save))
    assert found["ConfigMap/kept"] == "configured"
    assert found["ConfigMap/gone"] == found["ConfigMap/made"] == "failed"
    assert client.get(key_of(gone)) is None
    assert _live(client, made)["data"] == {"by": "another"}


@pytest.mark.requires("bridge.late-writer")
def test_a_record_that_another_wrote_since_is_not_overwritten(
    client: KubernetesClient, namespace: str
) -> None:
    wanted = release([namespace_object(namespace), config_map("one", namespace)])
    reconcile(client, wanted)
    early, late = (InventoryStore(client, CHAIN_ID) for _ in range(2))
    early.load()
    record = late.load().of(wanted.value.name)
    assert record is not None
    early.save(replace(record, revision=2))
    with pytest.raises(EnvironmentFault) as caught:
        late.save(replace(record, revision=3))
    assert caught.value.facts["status"] == 409


@pytest.mark.requires("bridge.lease-bounds")
def test_the_api_server_gives_a_write_up_when_it_was_told_to(
    client: KubernetesClient, namespace: str
) -> None:
    reconcile(client, release([namespace_object(namespace)]))
    hurried = client.in_scope("")
    hurried._acting_as = ""
    hurried.fence(Within(Timeouts(5.0, 5.0, 0.001), 0))
    statuses: set[object] = set()
    for _ in range(50):
        manifest = config_map("late", namespace, filling="x" * 500_000, number=str(len(statuses)))
        try:
            hurried.apply(manifest)
            statuses.add(200)
        except EnvironmentFault as fault:
            statuses.add(fault.facts.get("status"))
        if 504 in statuses:
            return
    pytest.fail(f"never given up: {statuses}")
