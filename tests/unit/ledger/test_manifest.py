"""What a Kubernetes object must be to enter a release."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import manifest
from ledger.errors import Code
from ledger.types import JsonObject
from tests.support.refusal import refusal_of
from tests.support.subjects import PINNED, configmap


def workload(kind: str = "Deployment", api_version: str = "apps/v1", **pod: Any) -> JsonObject:
    """Give a workload with the pod specification ``pod`` where its kind has it."""
    spec: Any = {"containers": [{"name": "c", "image": PINNED}]} | pod
    if kind != "Pod":
        spec = {"template": {"spec": spec}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "w", "namespace": "n"},
        "spec": spec,
    }


def check(*manifests: Any, required: bool = True) -> None:
    manifest.check_all(list(manifests), image_digest_required=required)


GOOD: list[JsonObject] = [
    configmap("a"),
    configmap("a.b-c"),
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:x"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "empty"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "empty"}, "data": {}, "type": "Opaque"},
    {"apiVersion": "other.io/v1", "kind": "Secret", "metadata": {"name": "crd"}, "data": {"a": "b"}},
    {"apiVersion": "x.io/v1beta1", "kind": "AccessList", "metadata": {"name": "one"}, "spec": {}},
    workload(),
]


@pytest.mark.requires("ledger.manifest-rules")
def test_ordinary_objects_pass() -> None:
    for item in GOOD:
        check(item)


API_VERSIONS: list[Any] = [None, 1, "", "V1", "a/b/v1", "/v1", "v1\n", "v" + "1" * 317, "apps/V1", "apps/"]
METADATA: list[Any] = [None, [], {}, {"name": ""}, {"name": 1}]
WHERE = {"no object": "", "list": "kind", "metadata": "", "server field": ""}
BAD: list[tuple[str, Any]] = [
    ("no object", [1, None, "x", []]),
    ("apiVersion", [configmap("a") | {"apiVersion": v} for v in API_VERSIONS]),
    ("kind", [configmap("a") | {"kind": k} for k in ("", "a b", None, "K" * 64, "Config-Map", "É")]),
    (
        "list",
        [configmap("a") | {"kind": "List", "items": []}, configmap("a") | {"kind": "PodList", "items": []}],
    ),
    ("metadata", [configmap("a") | {"metadata": m} for m in METADATA]),
    (
        "name",
        [configmap(n) for n in ("a/b", "a%b", ".", "..", "a b", "a\n", "a" * 254, "é", "\u202etxt", "\x7f")],
    ),
    (
        "namespace",
        [configmap("a") | {"metadata": {"name": "a", "namespace": n}} for n in ("", "A", "a/b", 1, "-")],
    ),
    ("status", [configmap("a") | {"status": {}}]),
    (
        "server field",
        [
            configmap("a") | {"metadata": {"name": "a", field: "x"}}
            for field in (
                "uid",
                "resourceVersion",
                "managedFields",
                "generateName",
                "creationTimestamp",
                "generation",
                "selfLink",
            )
        ],
    ),
]


@pytest.mark.requires("ledger.manifest-rules")
@pytest.mark.parametrize(("what", "item"), [(what, item) for what, items in BAD for item in items])
def test_each_broken_object_is_refused(what: str, item: Any) -> None:
    refusal = refusal_of(lambda: check(configmap("first"), item), Code.OBJECT_INVALID)
    assert refusal.facts["field"].startswith("manifests[1]")
    assert refusal.facts["field"].endswith(WHERE.get(what, what))


@pytest.mark.requires("ledger.secret-refused")
@pytest.mark.parametrize("content", [{"data": {"a": "YQ=="}}, {"stringData": {"a": "a"}}, {"data": "x"}])
def test_a_secret_with_data_is_refused(content: JsonObject) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}} | content
    refusal = refusal_of(lambda: check(secret), Code.SECRET_WITH_DATA)
    assert refusal.facts["object"] == "v1/Secret/n/s"
    assert "YQ==" not in str(refusal)


@pytest.mark.requires("ledger.manifest-rules")
def test_one_object_twice_is_refused_also_across_versions() -> None:
    other = workload(api_version="apps/v1beta1")
    refusal_of(lambda: check(configmap("a"), configmap("a")), Code.OBJECT_DUPLICATE)
    refusal_of(lambda: check(workload(), other), Code.OBJECT_DUPLICATE)
    check(configmap("a"), configmap("b"), workload(), workload(kind="StatefulSet"))


KINDS = [
    ("Pod", "v1"), ("Deployment", "apps/v1"), ("DaemonSet", "apps/v1"), ("StatefulSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"), ("Job", "batch/v1"), ("CronJob", "batch/v1"), ("ReplicationController", "v1"),
]  # fmt: skip
UNPINNED = [
    "nginx",
    "nginx:1.29",
    "a@sha256:" + "0" * 63,
    "@sha256:" + "0" * 64,
    "a@sha512:" + "0" * 64,
    "a b" + PINNED,
    "a\u00a0b" + PINNED[1:],
    "\u0430pp@sha256:" + "0" * 64,
]


@pytest.mark.requires("ledger.images-pinned")
@pytest.mark.parametrize(("kind", "api_version"), KINDS)
def test_images_are_found_wherever_pods_are(kind: str, api_version: str) -> None:
    check(workload(kind, api_version))
    for group in ("containers", "initContainers", "ephemeralContainers"):
        loose = workload(kind, api_version, **{group: [{"image": PINNED}, {"image": "nginx:1"}]})
        refusal = refusal_of(lambda loose=loose: check(loose), Code.IMAGE_NOT_PINNED)  # type: ignore[misc]
        (found,) = refusal.facts["images"]
        assert found["object"] == f"{api_version}/{kind}/n/w"
        assert found["path"].endswith(f"{group}[1].image")
    volume = workload(kind, api_version, volumes=[{"name": "v", "image": {"reference": "nginx:1"}}])
    refusal_of(lambda: check(volume), Code.IMAGE_NOT_PINNED)


@pytest.mark.requires("ledger.images-pinned")
def test_every_unpinned_image_is_listed_unless_the_ledger_does_not_ask() -> None:
    loose = workload(containers=[{"image": image} for image in UNPINNED])
    refusal = refusal_of(lambda: check(loose, configmap("a")), Code.IMAGE_NOT_PINNED)
    assert [found["image"] for found in refusal.facts["images"]] == UNPINNED
    check(loose, required=False)


@pytest.mark.requires("ledger.manifest-rules")
@pytest.mark.parametrize("spec", [None, 1, [], {"template": 1}, {"template": {"spec": {"containers": {}}}}])
def test_a_workload_of_an_odd_shape_is_read_without_failing(spec: Any) -> None:
    """Its schema is the API server's to judge."""
    check(workload() | {"spec": spec})


@pytest.mark.requires("ledger.manifest-rules")
def test_object_ids() -> None:
    assert manifest.object_id(workload()) == "apps/v1/Deployment/n/w"
    assert manifest.object_id(GOOD[2]) == "rbac.authorization.k8s.io/v1/ClusterRole/-/system:x"
