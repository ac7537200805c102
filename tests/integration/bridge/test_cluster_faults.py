"""A cluster that is hurt under a running bridge: said by code, waited out, put back, nothing else touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import connect
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from k8s_bridge.store import DEFAULT_NAMESPACE
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, namespace_object, widget
from tests.support.running_bridge import Running, running_bridge, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
MERGE = "application/merge-patch+json"
FINALIZER = "test.conclave/held"
LONG_S = 180.0


@pytest.fixture
def running(client: KubernetesClient) -> Iterator[Running]:
    with running_bridge(client) as found:
        yield found


def _patch(client: KubernetesClient, key: ObjectKey, body: JsonObject) -> None:
    path = client.kind_of(key.api_version, key.kind).path(key.namespace, key.name)
    client._connection.ask("patch", path, body=body, content_type=MERGE, field_manager="kubectl-edit")


def _hold(client: KubernetesClient, key: ObjectKey, *finalizers: str) -> None:
    _patch(client, key, {"metadata": {"finalizers": list(finalizers)}})


def _delete(client: KubernetesClient, key: ObjectKey) -> None:
    client.delete(key, uid_of(client.get(key)))


@pytest.mark.requires("bridge.faults")
def test_a_definition_that_is_deleted_by_hand_comes_back_with_its_objects(
    running: Running, client: KubernetesClient, namespace: str
) -> None:
    group = f"{namespace}.test"
    crd = definition("Widget", group)
    thing = {**widget("one", namespace), "apiVersion": f"{group}/v1"}
    bystander = config_map("settings", namespace)
    wanted = [namespace_object(namespace), crd, thing, bystander]
    try:
        running.ledger.want(wanted, 1)
        until(lambda: running.account().get("outcome") == "applied", "applied", LONG_S)
        before = client.get(key_of(bystander))
        old = uid_of(client.get(key_of(thing)))
        _delete(client, key_of(crd))
        until(lambda: _uid(client, key_of(thing)) not in {"", old}, "made again", LONG_S)
        until(lambda: running.account().get("outcome") == "applied", "applied again", LONG_S)
        assert client.get(key_of(bystander)) == before
    finally:
        _delete(client, key_of(crd))


def _uid(client: KubernetesClient, key: ObjectKey) -> str:
    try:
        return uid_of(client.get(key))
    except EnvironmentFault:
        return ""


@pytest.mark.requires("bridge.faults")
def test_a_namespace_that_cannot_go_is_waited_for_and_fails_nothing(
    running: Running, client: KubernetesClient, namespace: str
) -> None:
    room, held, other = (
        namespace_object(namespace),
        config_map("held", namespace),
        config_map("other", namespace),
    )
    running.ledger.want([room, held, other], 1)
    until(lambda: running.account().get("outcome") == "applied", "applied")
    old = uid_of(client.get(key_of(room)))
    _hold(client, key_of(held), FINALIZER)
    _delete(client, key_of(room))
    # Its controller deletes what is inside; what is held stays, and the namespace with it.
    _delete(client, key_of(other))
    until(lambda: client.get(key_of(other)) is None, "other gone")
    everything = {str(key_of(manifest)) for manifest in (room, held, other)}
    waits = dict.fromkeys(everything, int(Code.OBJECT_TERMINATING))
    until(lambda: {**running.codes(), str(key_of(held)): waits[str(key_of(held))]} == waits, "waited for")
    assert {finding.changes.outcome for finding in running.offered.findings} <= {"applied", "partial"}
    _hold(client, key_of(held))
    until(lambda: uid_of(client.get(key_of(room))) not in {"", old}, "the namespace made again", LONG_S)
    until(lambda: running.account().get("outcome") == "applied", "all of it", LONG_S)


@pytest.mark.requires("bridge.faults")
def test_the_bridges_own_namespace_is_made_again(
    running: Running, client: KubernetesClient, namespace: str
) -> None:
    own = ObjectKey("v1", "Namespace", "", DEFAULT_NAMESPACE)
    one, two = config_map("one", namespace), config_map("two", namespace)
    running.ledger.want([namespace_object(namespace), one], 1)
    until(lambda: running.account().get("outcome") == "applied", "applied")
    before = client.get(key_of(one))
    _delete(client, own)
    until(lambda: client.get(own) is None, "gone", LONG_S)
    running.ledger.want([namespace_object(namespace), one, two], 2)
    until(lambda: client.get(key_of(two)) is not None, "applied with a new record", LONG_S)
    assert client.get(key_of(one)) == before


ACCOUNT, TOKEN_SEEN_S = "bridge-of-test", 120.0


def _account(client: KubernetesClient, namespace: str) -> str:
    """Make a service account anew, with an administrator's rights; give a token of it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    _delete(client, ObjectKey("v1", "ServiceAccount", namespace, ACCOUNT))
    client._connection.ask("post", path, body={"metadata": {"name": ACCOUNT}})
    request: JsonObject = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    _, made = client._connection.ask("post", f"{path}/{ACCOUNT}/token", body=request)
    return str(made["status"]["token"])


@pytest.mark.requires("bridge.token-rotated", "bridge.faults")
def test_a_token_that_is_revoked_is_said_and_its_successor_is_taken(
    kube: Path, client: KubernetesClient, namespace: str, tmp_path: Path
) -> None:
    room = f"{namespace}-account"
    client.apply(namespace_object(room))
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": room}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding: JsonObject = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                           "metadata": {"name": room}, "roleRef": role, "subjects": [subject]}  # fmt: skip
    client.apply(binding)
    token = tmp_path / "token"
    token.write_text(_account(client, room))
    config = yaml.safe_load(kube.read_text())
    for user in config["users"]:
        user["user"] = {"tokenFile": str(token)}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    theirs = KubernetesClient(connect(str(file), {}))
    settings = config_map("settings", namespace)
    try:
        with running_bridge(theirs) as running:
            running.ledger.want([namespace_object(namespace), settings], 1)
            until(lambda: running.account().get("outcome") == "applied", "applied")
            until(running.is_told, "told")
            before, told = client.get(key_of(settings)), len(running.offered.findings)
            successor = _account(client, room)
            until(
                lambda: running.loop.account()["kubernetes"].get("facts", {}).get("status") == 401,
                "said",
                TOKEN_SEEN_S,
            )
            running.ledger.want(
                [namespace_object(namespace), config_map("settings", namespace, key="new")], 2
            )
            until(lambda: running.account().get("fault") is not None, "said of the release")
            assert (client.get(key_of(settings)), len(running.offered.findings)) == (before, told)
            token.write_text(successor)
            until(lambda: running.loop.account()["kubernetes"]["code"] == 0, "taken", TOKEN_SEEN_S)
            until(lambda: running.account().get("revision") == 2, "caught up", TOKEN_SEEN_S)
    finally:
        theirs.close()
        _delete(client, key_of(binding))
        _delete(client, ObjectKey("v1", "Namespace", "", room))
