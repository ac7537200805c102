"""Foreign additions, co-owners, changes that are not allowed and lasting refusals on a real API server."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import pytest

from consensus.verified import Verified
from k8s_bridge.client import JSON_PATCH, KubernetesClient
from k8s_bridge.cluster import Applied
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from k8s_bridge.plan import Action
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.store import InventoryStore
from ledger.errors import Code
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Unwatched
from tests.support.manifests import (
    IMAGE,
    config_map,
    definition,
    deployment,
    namespace_object,
    service,
    widget,
)
from tests.support.pipeline import make_plan, outcomes, reconcile
from tests.support.verified import CHAIN_ID, release, verified

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
WAIT_S = 90.0
FOREIGN = ("kubectl-edit", "conclave")
"""Whoever edits may call themselves anything."""


def _live(client: KubernetesClient, manifest: JsonObject) -> JsonObject:
    live = client.get(key_of(manifest))
    assert live is not None
    return live


def _edit(
    client: KubernetesClient, manifest: JsonObject, manager: str, *changes: tuple[str, Any]
) -> JsonObject:
    """Add fields to a live object as somebody else."""
    key = key_of(manifest)
    patch: list[JsonObject] = [{"op": "add", "path": path, "value": value} for path, value in changes]
    path = client.kind_of(key.api_version, key.kind).path(key.namespace, key.name)
    answer = client._connection.ask("patch", path, body=patch, content_type=JSON_PATCH, field_manager=manager)
    return answer[1]


def _still(client: KubernetesClient, wanted: Verified[ReleaseRevision], *manifests: JsonObject) -> None:
    """A further run writes nothing: nothing moves but what controllers write as status, whenever they do."""
    assert {step.action for step in make_plan(client, wanted).steps} == {Action.UNCHANGED}
    before = [_but_status(client, manifest) for manifest in manifests]
    assert set(outcomes(reconcile(client, wanted)).values()) == {"unchanged"}
    assert before == [_but_status(client, manifest) for manifest in manifests]


def _but_status(client: KubernetesClient, manifest: JsonObject) -> JsonObject:
    """Give all of an object that a write of ours would change."""
    live = {name: value for name, value in _live(client, manifest).items() if name != "status"}
    metadata = {name: value for name, value in live["metadata"].items() if name != "resourceVersion"}
    written = [entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"]
    return live | {"metadata": metadata | {"managedFields": written}}


def _version(client: KubernetesClient, manifest: JsonObject) -> str:
    return str(_live(client, manifest)["metadata"]["resourceVersion"])


def _settled(client: KubernetesClient, manifest: JsonObject) -> None:
    """Wait until the controllers have said what they have to say of an object."""
    version, since, deadline = "", time.monotonic(), time.monotonic() + WAIT_S
    while time.monotonic() - since < 1:
        assert time.monotonic() < deadline
        if _version(client, manifest) != version:
            version, since = _version(client, manifest), time.monotonic()
        time.sleep(0.1)


@pytest.mark.requires("bridge.foreign-fields")
@pytest.mark.parametrize("manager", FOREIGN)
def test_a_sidecar_a_host_path_a_variable_and_a_label_go(
    client: KubernetesClient, namespace: str, manager: str
) -> None:
    web = deployment("web", namespace)
    web["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "OURS", "value": "1"}]
    wanted = release([namespace_object(namespace), web])
    reconcile(client, wanted)
    signed = _live(client, web)["spec"]
    pod = "/spec/template/spec"
    _edit(
        client,
        web,
        manager,
        ("/metadata/labels", {"theirs": "yes"}),
        (f"{pod}/containers/-", {"name": "sidecar", "image": IMAGE}),
        (f"{pod}/hostNetwork", True),
        (f"{pod}/volumes", [{"name": "host", "hostPath": {"path": "/etc"}}]),
        (f"{pod}/containers/0/volumeMounts", [{"name": "host", "mountPath": "/host"}]),
        (f"{pod}/containers/0/env/-", {"name": "THEIRS", "value": "2"}),
    )
    assert len(_live(client, web)["spec"]["template"]["spec"]["containers"]) == 2
    (step,) = (step for step in make_plan(client, wanted).steps if step.action is Action.CONFIGURE)
    assert "spec.template.spec.containers[name=sidecar]" in step.reason
    assert f"added by {manager}" in step.reason
    reconcile(client, wanted)
    live = _live(client, web)
    assert live["spec"] == signed
    assert "labels" not in live["metadata"]
    _settled(client, web)
    _still(client, wanted, web)


@pytest.mark.requires("bridge.foreign-fields")
@pytest.mark.parametrize("manager", FOREIGN)
def test_keys_ports_and_annotations_of_other_kinds_go_too(
    client: KubernetesClient, namespace: str, manager: str
) -> None:
    shop = [namespace_object(namespace), config_map("settings", namespace), service("web", namespace)]
    wanted = release(shop)
    reconcile(client, wanted)
    _edit(client, shop[0], manager, ("/metadata/labels/pod-security.kubernetes.io~1enforce", "privileged"))
    _edit(client, shop[1], manager, ("/data/theirs", "x"), ("/metadata/annotations", {"theirs": "x"}))
    _edit(
        client,
        shop[2],
        manager,
        ("/spec/ports/-", {"name": "evil", "port": 99}),
        ("/spec/ports/0/name", "ours"),
        ("/spec/externalIPs", ["203.0.113.1"]),
    )
    found = outcomes(reconcile(client, wanted))
    assert set(found.values()) == {"configured"}
    labels = {"kubernetes.io/metadata.name": namespace}
    assert _live(client, shop[0])["metadata"]["labels"] == labels
    assert _live(client, shop[1])["data"] == {"key": "value"}
    assert "annotations" not in _live(client, shop[1])["metadata"]
    live = _live(client, shop[2])["spec"]
    assert [port["port"] for port in live["ports"]] == [80]
    assert "externalIPs" not in live
    assert live["clusterIP"]
    _still(client, wanted, *shop)


@pytest.mark.requires("bridge.foreign-in-the-way")
@pytest.mark.parametrize("record", ["kept", "emptied", "another's"])
def test_a_port_that_ours_cannot_stand_beside_goes(
    client: KubernetesClient, namespace: str, record: str
) -> None:
    door = service("web", namespace)
    wanted = release([namespace_object(namespace), door])
    reconcile(client, wanted)
    # Two ports need names, and neither has one.
    _edit(client, door, "helm", ("/spec/ports", [{"port": 99, "protocol": "TCP"}]))
    if record != "kept":
        _edit(client, door, "helm", ("/metadata/managedFields", [{}]))
    if record == "another's":
        _edit(client, door, "helm", ("/metadata/labels", {"theirs": "yes"}))
        path = client.kind_of("v1", "Service").path(namespace, "web") + "/status"
        said = {"type": "Seen", "status": "True", "reason": "Seen", "message": ""}
        status: JsonObject = {
            "status": {"conditions": [said | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        }
        client._connection.ask("patch", path, body=status, content_type="application/merge-patch+json")
    assert outcomes(reconcile(client, wanted))["Service/web"] == "configured"
    assert [port["port"] for port in _live(client, door)["spec"]["ports"]] == [80]
    _still(client, wanted, door)


@pytest.mark.requires("bridge.foreign-fields")
def test_a_record_of_ownership_that_was_emptied_hides_nothing(
    client: KubernetesClient, namespace: str
) -> None:
    web, db = deployment("web", namespace), service("db", namespace)
    wanted = release([namespace_object(namespace), web, db])
    reconcile(client, wanted)
    before = [_live(client, manifest)["spec"] for manifest in (web, db)]
    pod = "/spec/template/spec"
    _edit(client, web, "kubectl-edit", (f"{pod}/containers/-", {"name": "sidecar", "image": IMAGE}))
    _edit(client, db, "kubectl-edit", ("/spec/externalIPs", ["203.0.113.1"]))
    for manifest in (web, db):
        _edit(client, manifest, "kubectl-edit", ("/metadata/managedFields", [{}]))
    # A controller writes its status into the record again, and nothing else: no field has an owner then.
    _settled(client, web)
    reconcile(client, wanted)
    assert [_live(client, manifest)["spec"] for manifest in (web, db)] == before
    _settled(client, web)
    _still(client, wanted, web, db)


@pytest.mark.requires("bridge.co-owned")
def test_an_autoscaler_keeps_the_replicas_that_no_manifest_names(
    client: KubernetesClient, namespace: str
) -> None:
    web = deployment("web", namespace)
    del web["spec"]["replicas"]
    wanted = release([namespace_object(namespace), web])
    reconcile(client, wanted)
    kind = client.kind_of("apps/v1", "Deployment")
    scale: JsonObject = {"spec": {"replicas": 3}}
    client._connection.ask(
        "patch",
        f"{kind.path(namespace, 'web')}/scale",
        body=scale,
        content_type="application/merge-patch+json",
        field_manager="horizontal-pod-autoscaler",
    )
    _settled(client, web)
    _still(client, wanted, web)
    assert _live(client, web)["spec"]["replicas"] == 3
    _edit(client, web, "kubectl-edit", ("/spec/paused", True))
    assert outcomes(reconcile(client, wanted))["Deployment/web"] == "configured"
    live = _live(client, web)["spec"]
    assert (live["replicas"], live.get("paused")) == (3, None)


@pytest.fixture
def hook(client: KubernetesClient, namespace: str) -> Iterator[JsonObject]:
    """A webhook configuration that matches nothing."""
    made: JsonObject = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"hook-{namespace}"},
        "webhooks": [
            {
                "name": "guard.shop.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "clientConfig": {"service": {"name": "guard", "namespace": namespace}},
                "rules": [
                    {"apiGroups": ["none.test"], "apiVersions": ["v1"], "operations": ["CREATE"],
                     "resources": ["nothings"]}
                ],
            }
        ],
    }  # fmt: skip
    yield made
    live = client.get(key_of(made))
    if live is not None:
        client.delete(key_of(made), uid_of(live))


@pytest.mark.requires("bridge.co-owned")
def test_an_injected_bundle_stays_and_a_wider_selector_goes(
    client: KubernetesClient, namespace: str, hook: JsonObject
) -> None:
    wanted = release([namespace_object(namespace), hook])
    reconcile(client, wanted)
    bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"
    _edit(client, hook, "ca-injector", ("/webhooks/0/clientConfig/caBundle", bundle))
    _still(client, wanted, hook)
    _edit(client, hook, "ca-injector", ("/webhooks/0/timeoutSeconds", 1))
    assert outcomes(reconcile(client, wanted))[f"{hook['kind']}/hook-{namespace}"] == "configured"
    live = _live(client, hook)["webhooks"][0]
    assert (live["clientConfig"]["caBundle"], live["timeoutSeconds"]) == (bundle, 10)
    _still(client, wanted, hook)


@pytest.mark.requires("bridge.co-owned")
def test_a_secret_keeps_the_data_that_the_ledger_may_not_hold(
    client: KubernetesClient, namespace: str
) -> None:
    secret: JsonObject = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": namespace},
        "type": "Opaque",
    }
    wanted = release([namespace_object(namespace), secret])
    reconcile(client, wanted)
    _edit(client, secret, "kubectl-edit", ("/data", {"key": "c2VjcmV0"}))
    _still(client, wanted, secret)
    assert _live(client, secret)["data"] == {"key": "c2VjcmV0"}


def _job(namespace: str, value: str) -> JsonObject:
    container = {"name": "main", "image": IMAGE, "env": [{"name": "STEP", "value": value}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": namespace},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def _at(namespace: str, address: str) -> JsonObject:
    found = service("db", namespace)
    found["spec"]["clusterIP"] = address
    return found


@pytest.mark.requires("bridge.immutable")
@pytest.mark.parametrize("kind", ["Job", "Service"])
def test_what_cannot_be_changed_is_reported_and_made_anew_where_the_release_says_so(
    client: KubernetesClient, namespace: str, kind: str
) -> None:
    first, second = (
        (_job(namespace, "1"), _job(namespace, "2"))
        if kind == "Job"
        else (service("db", namespace), _at(namespace, "None"))
    )
    base = namespace_object(namespace)
    reconcile(client, release([base, first]))
    before = _live(client, first)
    wanted = release([base, second], revision=2)
    (result,) = (r for r in reconcile(client, wanted).results if r.key.kind == kind)
    assert (result.outcome, result.code) == ("failed", Code.OBJECT_IMMUTABLE), result.reason
    assert uid_of(_live(client, first)) == uid_of(before)
    assert _live(client, first)["spec"] == before["spec"]
    allowed = verified(dataclasses.replace(wanted.value, recreate=(str(key_of(second)),)))
    deadline = time.monotonic() + WAIT_S
    while (found := outcomes(reconcile(client, allowed)))[f"{kind}/{key_of(second).name}"] == "skipped":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert set(found.values()) == {"unchanged", "created"}
    live = _live(client, second)
    assert uid_of(live) != uid_of(before)
    _settled(client, second)
    _still(client, allowed, second)


class Counting(KubernetesClient):
    """Counts what is asked for by apply."""

    asked: list[str]

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        key = key_of(manifest)
        if key.namespace != "conclave-system":
            self.asked.append(key.name)
        return super().apply(manifest, dry_run=dry_run)


@pytest.mark.requires("bridge.lasting-refusal")
def test_what_is_refused_for_good_is_not_tried_again(client: KubernetesClient, namespace: str) -> None:
    twice = deployment("twice", namespace)
    variable = {"name": "A", "value": "1"}
    twice["spec"]["template"]["spec"]["containers"][0]["env"] = [variable, variable]
    unknown = deployment("unknown", namespace)
    unknown["spec"]["template"]["spec"]["nope"] = 1
    large = config_map("large", namespace, key="x" * 1_100_000)
    invalid = service("invalid", namespace, port=0)
    counting = Counting(client._connection)
    counting.asked = []
    now_ns = time.time_ns()
    reconciler = Reconciler(counting, InventoryStore(counting, CHAIN_ID), Unwatched(), lambda: now_ns)
    wanted = release([namespace_object(namespace), twice, unknown, large, invalid])
    standing = reconciler.reconcile(wanted)
    codes = {r.key.name: r.fault.facts["status"] for r in standing.finding.changes.results if r.fault}
    assert codes == {"twice": 500, "unknown": 500, "large": 422, "invalid": 422}
    assert standing.lasting
    reasons = {r.key.name: r.reason for r in standing.finding.changes.results}
    assert "duplicate entries" in reasons["twice"]
    assert "ConfigMap 1 MiB" in reasons["large"]
    counting.asked.clear()
    again = reconciler.reconcile(wanted)
    assert again.lasting
    assert counting.asked == [namespace]
    mended = copy.deepcopy(twice)
    mended["spec"]["template"]["spec"]["containers"][0]["env"] = [variable]
    counting.asked.clear()
    third = reconciler.reconcile(release([namespace_object(namespace), mended, unknown], revision=2))
    assert outcomes(third.finding.changes)["Deployment/twice"] == "created"
    assert "unknown" not in counting.asked


@pytest.mark.requires("bridge.lasting-refusal")
def test_an_object_that_is_too_large_for_the_store_is_told_as_such(
    client: KubernetesClient, namespace: str
) -> None:
    group = f"{namespace}.test"
    base = [namespace_object(namespace), definition(group=group)]
    huge = {**widget("huge", namespace), "apiVersion": f"{group}/v1", "spec": {"text": "x" * 1_700_000}}
    (result,) = (r for r in reconcile(client, release([*base, huge])).results if r.key.name == "huge")
    assert (result.outcome, result.code) == ("failed", Code.KUBERNETES_REFUSED)
    assert result.fault is not None
    assert result.fault.facts["permanent"] is True
    assert "etcd keeps 1.5 MiB" in result.fault.todo
    key = ObjectKey("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"widgets.{group}")
    client.delete(key, uid_of(client.get(key)))


@pytest.mark.requires("bridge.definition-first")
def test_a_fresh_definition_serves_before_its_first_object_is_made(
    client: KubernetesClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    groups = [f"n{number}.{namespace}.test" for number in range(5)]
    crds = [definition(group=group) for group in groups]
    for crd in crds:
        client.apply(crd)
        client.wait_established(key_of(crd), WAIT_S)
        monkeypatch.setattr(client._connection, "_sleep", slept.append)
        kind = client.kind_of(f"{crd['spec']['group']}/v1", "Widget")
        assert client.list(kind)[0] == []
        monkeypatch.undo()
    # The server never asked for more time once a definition was waited for.
    assert slept == []
    for crd in crds:
        client.delete(key_of(crd), uid_of(_live(client, crd)))
