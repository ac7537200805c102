"""What no API server would take is refused when it is rendered, with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conclave.render.admissible import OBJECT_BYTES_MAX
from conclave.render.release import RenderOptions, render
from conclave.render.removed_apis import REMOVED
from conclave.render.scopes import CLUSTER_SCOPED, NAMESPACED
from ledger.errors import Code, Refused
from ledger.manifest import group_of
from ledger.types import JsonObject

EAST = RenderOptions(name="r", clusters=("east",), image_digest_required=False)
GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\ndata: {a: b}\n---\n"
LINE = GOOD.count("\n") + 1


def refused(folder: Path, content: str, file: str = "a.yaml") -> Refused:
    """Render one file that must be refused."""
    (folder / file).write_text(content)
    with pytest.raises(Refused) as caught:
        render(folder, EAST)
    return caught.value


def thing(**changes: Any) -> JsonObject:
    """Give a ConfigMap with other top-level fields."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "second"},
        "data": {"a": "b"},
    } | changes


def named(name: str = "second", **fields: Any) -> JsonObject:
    """Give a ConfigMap with more metadata."""
    return thing(metadata={"name": name, **fields})


BAD: list[tuple[str, Any, Code, str]] = [
    ("a list of things", [thing()], Code.OBJECT_INVALID, "a map"),
    ("text", "hello", Code.OBJECT_INVALID, "a map"),
    ("a number", 7, Code.OBJECT_INVALID, "a map"),
    ("no apiVersion", {"kind": "ConfigMap", "metadata": {"name": "a"}}, Code.OBJECT_INVALID, "apiVersion"),
    ("a list without items", {"apiVersion": "v1", "kind": "List"}, Code.OBJECT_INVALID, "metadata"),
    ("a list of a kind", thing(kind="ConfigMapList"), Code.OBJECT_KIND_UNKNOWN, "kind"),
    ("a misspelt kind", thing(kind="Deploymint", apiVersion="apps/v1"), Code.OBJECT_KIND_UNKNOWN, "kind"),
    ("a kind of another group", thing(kind="Deployment"), Code.OBJECT_KIND_UNKNOWN, "kind"),
    ("a kind in small letters", thing(kind="configmap"), Code.OBJECT_KIND_UNKNOWN, "kind"),
    ("only generateName", thing(metadata={"generateName": "a-"}), Code.OBJECT_INVALID, "metadata.name"),
    ("generateName too", named(generateName="a-"), Code.OBJECT_INVALID, "metadata.generateName"),
    ("status", thing(status={"phase": "x"}), Code.OBJECT_INVALID, "status"),
    ("managedFields", named(managedFields=[]), Code.OBJECT_INVALID, "metadata.managedFields"),
    ("resourceVersion", named(resourceVersion="7"), Code.OBJECT_INVALID, "metadata.resourceVersion"),
    ("uid", named(uid="x"), Code.OBJECT_INVALID, "metadata.uid"),
    ("a time", named(creationTimestamp="2026-01-01"), Code.OBJECT_INVALID, "metadata.creationTimestamp"),
    ("generation", named(generation=3), Code.OBJECT_INVALID, "metadata.generation"),
    ("selfLink", named(selfLink="/x"), Code.OBJECT_INVALID, "metadata.selfLink"),
    ("null data", thing(data=None), Code.OBJECT_INVALID, "data"),
    ("null in data", thing(data={"a": None}), Code.OBJECT_INVALID, "data.a"),
    ("a null label", named(labels={"a": None}), Code.OBJECT_INVALID, "metadata.labels.a"),
    ("null in a list", thing(spec={"x": [1, {"y": [None]}]}), Code.OBJECT_INVALID, "spec.x[1].y[0]"),
    ("a large name", named("Second"), Code.OBJECT_INVALID, "metadata.name"),
    ("a name with a colon", named("a:b"), Code.OBJECT_INVALID, "metadata.name"),
    ("the same object", named("first"), Code.OBJECT_DUPLICATE, "metadata.name"),
    ("a large object", thing(data={"a": "x" * OBJECT_BYTES_MAX}), Code.LIMIT_EXCEEDED, "data"),
    (
        "a removed version",
        thing(apiVersion="extensions/v1beta1", kind="Ingress"),
        Code.OBJECT_INVALID,
        "apiVersion",
    ),
    ("a removed group", thing(apiVersion="extensions/v1", kind="Job"), Code.OBJECT_KIND_UNKNOWN, "kind"),
    (
        "a removed kind",
        thing(apiVersion="policy/v1beta1", kind="PodSecurityPolicy"),
        Code.OBJECT_INVALID,
        "apiVersion",
    ),
]


@pytest.mark.requires("render.bad-input")
@pytest.mark.parametrize(("value", "code", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_it_is_refused_with_file_line_and_field(tmp_path: Path, value: Any, code: Code, field: str) -> None:
    error = refused(tmp_path, GOOD + json.dumps(value))
    assert (error.code, error.facts["field"]) == (code, field)
    assert (error.facts["file"], error.facts["line"]) == ("a.yaml", LINE)
    assert f"a.yaml:{LINE}" in error.got
    assert error.expected
    assert error.todo


@pytest.mark.requires("render.bad-input")
def test_two_names_that_differ_by_case_only_are_named_both(tmp_path: Path) -> None:
    roles = [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}}
        for name in ("Reader", "reader")
    ]
    (tmp_path / "b.yaml").write_text(json.dumps(roles[1]))
    error = refused(tmp_path, json.dumps(roles[0]))
    assert error.code is Code.OBJECT_DUPLICATE
    assert "Role/default/reader" in error.got
    assert "Role/default/Reader at a.yaml:1" in error.got
    assert (error.facts["file"], error.facts["line"]) == ("b.yaml", 1)


@pytest.mark.requires("render.bad-input")
def test_one_object_in_two_versions_is_one_object(tmp_path: Path) -> None:
    custom = [thing(apiVersion=f"example.org/{version}", kind="Thing") for version in ("v1", "v2")]
    for item in custom:
        item["metadata"] = {"name": "a", "namespace": "n"}
    error = refused(tmp_path, "\n---\n".join(map(json.dumps, custom)))
    assert (error.code, error.facts["line"]) == (Code.OBJECT_DUPLICATE, 3)


@pytest.mark.requires("render.bad-input")
def test_what_is_in_a_list_is_told_by_its_place(tmp_path: Path) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [thing(), named("Third")]}
    error = refused(tmp_path, GOOD + json.dumps(items))
    assert f"a.yaml:{LINE} items[1]: metadata.name: Third" in error.got
    assert (error.facts["file"], error.facts["line"]) == ("a.yaml", LINE)


@pytest.mark.requires("render.bad-input")
def test_what_looks_alike_and_is_good_passes(tmp_path: Path) -> None:
    good = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "System:x"},
        },
        {
            "apiVersion": "example.org/v1beta1",
            "kind": "Ingress",
            "metadata": {"name": "a", "namespace": "n"},
            "spec": None,
        },
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.org"},
            "spec": {"group": "example.org", "scope": "Cluster", "names": {"kind": "Thing"}, "x": [None]},
        },
        {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "Big"}},
        thing(data={"a": "x" * (OBJECT_BYTES_MAX - 200)}),
    ]
    (tmp_path / "a.yaml").write_text("\n---\n".join(map(json.dumps, good)))
    assert len(render(tmp_path, EAST)["spec"]["manifests"]) == len(good)


@pytest.mark.requires("render.bad-input")
def test_every_removed_version_names_its_successor(tmp_path: Path) -> None:
    assert len(REMOVED) > 50
    for (api_version, kind), (gone, successor) in REMOVED.items():
        error = refused(tmp_path, json.dumps(thing(apiVersion=api_version, kind=kind)))
        assert error.code is Code.OBJECT_INVALID
        assert gone in error.got
        assert error.expected == successor
        if "/" in successor:
            assert (group_of({"apiVersion": successor}), kind) in CLUSTER_SCOPED | NAMESPACED
