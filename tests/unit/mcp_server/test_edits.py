"""A model's typed changes: what is not named stays as signed, what is named has to exist."""

from __future__ import annotations

import copy
import functools

import pytest

from ledger.changes import Release, read_release
from ledger.errors import Code
from ledger.manifest import object_id
from ledger.types import JsonObject
from mcp_server.edits import Edits, Image, release_object
from tests.support.manifests import config_map, deployment
from tests.support.refusal import refusal_of

NEW_IMAGE = "registry.test/shop@sha256:" + "b" * 64
RENDERER = "conclave mcp"
WEB, SETTINGS = deployment("web", replicas=2), config_map("settings", colour="blue")
WEB_ID, SETTINGS_ID = object_id(WEB), object_id(SETTINGS)
ZONE = {"matchLabels": {"zone": "a"}}


def signed(**spec: object) -> Release:
    """Give a release as its operator signed it."""
    made: JsonObject = {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": "shop"},
        "spec": {
            "clusters": ["east"],
            "namespace": "shop",
            "manifests": [copy.deepcopy(WEB), copy.deepcopy(SETTINGS)],
            "provenance": {"source": "helm", "digest": "a" * 64, "renderer": "helm 4"},
            "recreate": [WEB_ID],
            **spec,
        },
    }
    if "selector" in spec:
        del made["spec"]["clusters"]
    return read_release(made, image_digest_required=True)


def edited(edits: Edits, old: Release | None = None) -> JsonObject:
    """Give the proposed spec."""
    found: JsonObject = release_object("shop", old or signed(), edits, renderer=RENDERER)["spec"]
    return found


@pytest.mark.requires("mcp.edits")
def test_an_image_changes_and_all_else_stays_as_signed() -> None:
    old = signed()
    container = WEB["spec"]["template"]["spec"]["containers"][0]["name"]
    found = edited(Edits(images=(Image(WEB_ID, container, NEW_IMAGE),)), old)
    wanted = copy.deepcopy(WEB)
    wanted["spec"]["template"]["spec"]["containers"][0]["image"] = NEW_IMAGE
    assert found["manifests"] == [wanted, SETTINGS]
    assert (found["clusters"], found["namespace"], found["recreate"]) == (["east"], "shop", [WEB_ID])
    assert found["provenance"]["renderer"] == RENDERER
    assert old.manifests == [WEB, SETTINGS]


@pytest.mark.requires("mcp.edits")
def test_objects_are_put_replaced_and_removed() -> None:
    darker, more = config_map("settings", colour="black"), config_map("more", size="1")
    found = edited(Edits(objects=(darker, more)))
    assert found["manifests"] == [WEB, darker, more]
    assert edited(Edits(remove=(SETTINGS_ID,)))["manifests"] == [WEB]


@pytest.mark.requires("mcp.edits")
def test_replicas_are_set() -> None:
    found = edited(Edits(replicas=((WEB_ID, 5),)))
    assert found["manifests"][0]["spec"]["replicas"] == 5


@pytest.mark.requires("mcp.edits")
def test_a_new_release_says_where_it_goes() -> None:
    edits = Edits(objects=(WEB,), clusters=("west", "east"), namespace="shop")
    found = release_object("new", None, edits, renderer=RENDERER)
    assert found["metadata"] == {"name": "new"}
    assert found["spec"]["clusters"] == ["east", "west"]
    for lacking in (Edits(objects=(WEB,), namespace="shop"), Edits(objects=(WEB,), clusters=("east",))):
        refusal_of(
            functools.partial(release_object, "new", None, lacking, renderer=RENDERER), Code.FIELD_MISSING
        )


@pytest.mark.requires("mcp.edits")
def test_a_selector_gives_way_to_clusters_that_are_named() -> None:
    old = signed(selector=ZONE)
    assert edited(Edits(remove=(SETTINGS_ID,)), old)["selector"] == ZONE
    found = edited(Edits(clusters=("west",)), old)
    assert found["clusters"] == ["west"]
    assert "selector" not in found


RULE = {
    "object": WEB_ID,
    "minReplicas": 1,
    "maxReplicas": 4,
    "initialReplicas": 2,
    "metrics": [{"name": "cpu", "target": 60}],
}


@pytest.mark.requires("mcp.edits")
@pytest.mark.parametrize(
    ("code", "edits"),
    [
        (Code.FIELD_INVALID, Edits()),
        (Code.FIELD_INVALID, Edits(objects=(SETTINGS,))),
        (Code.FIELD_INVALID, Edits(replicas=((WEB_ID, 2),))),
        (Code.FIELD_INVALID, Edits(replicas=((SETTINGS_ID, 2),))),
        (Code.FIELD_INVALID, Edits(images=(Image(WEB_ID, "another", NEW_IMAGE),))),
        (Code.FIELD_INVALID, Edits(images=(Image(SETTINGS_ID, "web", NEW_IMAGE),))),
        (Code.FIELD_INVALID, Edits(remove=(SETTINGS_ID,), namespace="kube-system")),
        (Code.OBJECT_UNKNOWN, Edits(remove=("v1/ConfigMap/shop/none",))),
        (Code.OBJECT_UNKNOWN, Edits(images=(Image("v1/ConfigMap/shop/none", "web", NEW_IMAGE),))),
        (Code.EMPTY_RELEASE, Edits(remove=(SETTINGS_ID, WEB_ID))),
        (Code.OBJECT_INVALID, Edits(objects=({"kind": "ConfigMap"},))),
        (Code.OBJECT_DUPLICATE, Edits(objects=(SETTINGS, SETTINGS))),
    ],
)
def test_what_changes_nothing_or_names_nothing_is_refused(code: Code, edits: Edits) -> None:
    refusal_of(lambda: edited(edits), code)


@pytest.mark.requires("mcp.edits")
def test_replicas_under_a_rule_are_the_rules() -> None:
    governed = signed(autoscale=[RULE])
    refusal_of(lambda: edited(Edits(replicas=((WEB_ID, 3),)), governed), Code.FIELD_INVALID)
