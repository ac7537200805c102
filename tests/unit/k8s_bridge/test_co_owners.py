"""Whose fields are whose: the arithmetic of field sets, and the declared list of co-owners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k8s_bridge.co_owners import CO_OWNED_OF_KIND, foreign_of, our_fields, without_admitted
from k8s_bridge.field_sets import DEPTH_MAX, FieldSet, common, minus, shown, union
from k8s_bridge.objects import ObjectKey
from ledger.types import JsonObject

WEB = ObjectKey("apps/v1", "Deployment", "shop", "web")
HOOK = ObjectKey("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "guard")


def _live(ours: FieldSet | None, *others: tuple[str, FieldSet], subresource: str = "") -> JsonObject:
    update: JsonObject = {"operation": "Update", "apiVersion": "apps/v1"}
    update |= {"subresource": subresource} if subresource else {}
    entries: list[JsonObject] = [{**update, "manager": name, "fieldsV1": fields} for name, fields in others]
    if ours is not None:
        entries.append(
            {"manager": "conclave", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": ours}
        )
    return {"apiVersion": "apps/v1", "metadata": {"managedFields": entries}}


def _container(name: str, **fields: Any) -> FieldSet:
    item = f'k:{{"name":"{name}"}}'
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {item: {".": {}, **fields}}}}}}


@pytest.mark.requires("bridge.foreign-fields")
@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        (_container("side"), ["spec.template.spec.containers[name=side]"]),
        (_container("web", **{"f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:name": {}}}}),
         ["spec.template.spec.containers[name=web].env[name=A]"]),
        ({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}}, ["metadata.labels.x"]),
        ({"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}}, ["spec.template.spec.hostNetwork"]),
        ({"f:metadata": {"f:ownerReferences": {'k:{"uid":"1"}': {}}}}, ["metadata.ownerReferences[uid=1]"]),
    ],
)  # fmt: skip
def test_what_others_added_is_named_and_would_be_ours(theirs: FieldSet, named: list[str]) -> None:
    live = _live(_container("web", **{"f:image": {}}), ("kubectl-edit", theirs))
    found = foreign_of(WEB, live)
    assert found is not None
    assert shown(found.fields) == named
    assert found.reason == f"{named[0]} added by kubectl-edit"
    assert [entry["manager"] for entry in found.takeover] == ["conclave"]
    taken = found.takeover[0]["fieldsV1"]
    assert minus(theirs, taken) == minus(our_fields(live), taken) == {}


@pytest.mark.requires("bridge.foreign-fields")
def test_a_manager_that_calls_itself_ours_is_still_foreign() -> None:
    found = foreign_of(WEB, _live(_container("web"), ("conclave", _container("side"))))
    assert found is not None
    assert found.managers == ("conclave",)


@pytest.mark.requires("bridge.foreign-fields")
def test_a_field_that_we_apply_too_is_no_addition() -> None:
    ours = _container("web", **{"f:image": {}})
    assert foreign_of(WEB, _live(ours, ("kubectl-edit", ours))) is None
    assert foreign_of(WEB, _live(ours)) is None


_BUNDLE: FieldSet = {"f:clientConfig": {"f:caBundle": {}}}


def _hook(name: str, fields: FieldSet) -> FieldSet:
    return {"f:webhooks": {f'k:{{"name":"{name}"}}': {".": {}, **fields}}}


CO_OWNED: list[tuple[str, str, FieldSet, FieldSet]] = [
    ("apps/v1", "Deployment", {}, {"f:metadata": {"f:finalizers": {".": {}, 'v:"a/b"': {}}}}),
    ("apps/v1", "Deployment", {},
     {"f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}}}),
    ("apps/v1", "Deployment", {}, {"f:status": {"f:replicas": {}}}),
    ("v1", "Secret", {}, {"f:data": {".": {}, "f:token": {}}}),
    ("v1", "ServiceAccount", {}, {"f:secrets": {".": {}, 'k:{"name":"t"}': {}}}),
    ("v1", "PersistentVolumeClaim", {}, {"f:spec": {"f:volumeName": {}},
     "f:metadata": {"f:annotations": {".": {}, "f:pv.kubernetes.io/bind-completed": {}}}}),
    ("apiregistration.k8s.io/v1", "APIService", {}, {"f:spec": {"f:caBundle": {}}}),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {},
     {"f:spec": {"f:conversion": {"f:webhook": {"f:clientConfig": {".": {}, "f:caBundle": {}}}}}}),
    (HOOK.api_version, HOOK.kind, _hook("a", {"f:name": {}}), _hook("a", _BUNDLE)),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", {"f:aggregationRule": {}}, {"f:rules": {}}),
]  # fmt: skip


@pytest.mark.requires("bridge.co-owned")
@pytest.mark.parametrize(("api_version", "kind", "ours", "theirs"), CO_OWNED)
def test_what_the_list_names_is_left_to_others(
    api_version: str, kind: str, ours: FieldSet, theirs: FieldSet
) -> None:
    key = ObjectKey(api_version, kind, "", "x")
    assert foreign_of(key, _live(ours, ("controller", union(ours, theirs)))) is None
    more = union(union(ours, theirs), {"f:metadata": {"f:labels": {"f:x": {}}}})
    found = foreign_of(key, _live(ours, ("controller", more)))
    assert found is not None
    assert shown(found.fields) == ["metadata.labels.x"]
    left = found.takeover[1]["fieldsV1"]
    assert shown(minus(left, theirs)) == []
    assert {entry["manager"] for entry in found.takeover} == {"conclave", "controller"}


@pytest.mark.requires("bridge.co-owned")
def test_the_list_allows_nothing_inside_what_others_added() -> None:
    ours = _hook("a", {"f:name": {}})
    found = foreign_of(HOOK, _live(ours, ("injector", _hook("b", _BUNDLE))))
    assert found is not None
    assert shown(found.fields) == ["webhooks[name=b]"]
    role = ObjectKey("rbac.authorization.k8s.io/v1", "ClusterRole", "", "x")
    assert foreign_of(role, _live({"f:metadata": {}}, ("kubectl-edit", {"f:rules": {}}))) is not None


@pytest.mark.requires("bridge.co-owned")
def test_what_was_written_through_a_subresource_is_left_alone() -> None:
    scaled: FieldSet = {"f:spec": {"f:replicas": {}}}
    assert foreign_of(WEB, _live(_container("web"), ("hpa", scaled), subresource="scale")) is None
    assert foreign_of(WEB, _live(_container("web"), ("kubectl-edit", scaled))) is not None


@pytest.mark.requires("bridge.co-owned")
def test_the_list_is_the_one_that_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spec" / "bridge.md").read_text()
    missing = [
        (kind, step)
        for (_, kind), rules in CO_OWNED_OF_KIND.items()
        for rule in rules
        for step in (kind, rule[-1].removeprefix("f:"))
        if f"`{step}`" not in page and not any(step in word for word in page.split("`")[1::2])
    ]
    assert missing == []


@pytest.mark.requires("bridge.admitted")
def test_what_admission_adds_to_every_apply_is_not_foreign() -> None:
    added: FieldSet = {"f:metadata": {"f:annotations": {".": {}, "f:team": {}}}}
    live = _live({"f:data": {}}, ("conclave", added))
    live["metadata"]["annotations"] = {"team": "shop"}
    foreign = foreign_of(WEB, live)
    assert foreign is not None
    fresh = _live({"f:data": {}}, ("conclave", added))
    fresh["metadata"]["annotations"] = {"team": "shop"}
    assert without_admitted(foreign, live, fresh) is None
    fresh["metadata"]["annotations"] = {"team": "another"}
    assert without_admitted(foreign, live, fresh) == foreign
    assert without_admitted(foreign, live, _live({"f:data": {}})) == foreign


@pytest.mark.requires("bridge.foreign-fields")
def test_field_sets_obey_the_arithmetic_of_sets() -> None:
    one: FieldSet = {"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}
    other: FieldSet = {"f:a": {"f:b": {}}, "f:e": {}}
    assert union(one, other) == union(other, one) == {**one, "f:e": {}}
    assert minus(one, other) == {"f:a": {".": {}, "f:c": {}}, "f:d": {}}
    assert minus(union(one, other), other) == minus(one, other)
    assert minus(one, one) == {}
    assert common(one, other, {"a": {"b": 1}}, {"a": {"b": 1}}) == {"f:a": {"f:b": {}}}
    assert common(one, other, {"a": {"b": 1}}, {"a": {"b": 2}}) == {}


@pytest.mark.requires("bridge.foreign-fields")
def test_a_set_nested_too_deep_is_taken_as_a_whole() -> None:
    deep: FieldSet = {}
    for _ in range(DEPTH_MAX * 4):
        deep = {"f:x": deep}
    assert minus(deep, deep) != {}
    assert len(shown(deep)[0]) < DEPTH_MAX * 4
    assert foreign_of(WEB, _live({}, ("kubectl-edit", deep))) is not None
