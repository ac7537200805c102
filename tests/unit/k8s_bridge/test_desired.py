"""From verified revisions to desired objects, and what is refused on the way."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from consensus.verified import Verified
from k8s_bridge.desired import desired_of
from k8s_bridge.objects import ObjectKey, key_of, parse_object_id
from k8s_bridge.plan import World, plan
from ledger.autoscale import AutoscaleRule
from ledger.errors import Code, Refused
from ledger.release import ReleaseRevision
from tests.support.manifests import config_map, deployment
from tests.support.verified import release, verified


@pytest.mark.requires("bridge.only-verified")
def test_nothing_but_a_verified_revision_is_desired_or_planned() -> None:
    unproven: Any = release([config_map("a")]).value
    for refuse in (lambda: desired_of(unproven), lambda: plan(unproven, World(None, {}))):
        with pytest.raises(TypeError):
            refuse()


@pytest.mark.requires("bridge.empty-refused")
def test_an_empty_release_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        desired_of(release([]))
    assert caught.value.code is Code.EMPTY_RELEASE


@pytest.mark.requires("bridge.bad-object-refused")
@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (None, ""),
        ([], ""),
        ({}, "metadata"),
        ({"metadata": {}}, "apiVersion"),
        ({"apiVersion": "v1", "kind": 3, "metadata": {"name": "a"}}, "kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ""}}, "metadata.name"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": 1}},
            "metadata.namespace",
        ),
        ({"apiVersion": "a/b/c", "kind": "ConfigMap", "metadata": {"name": "a"}}, "object"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a/b"}}, "metadata.name"),
    ],
)
def test_what_is_no_object_is_refused_with_its_field(manifest: Any, field: str) -> None:
    with pytest.raises(Refused) as caught:
        desired_of(release([manifest]))
    assert (caught.value.code, caught.value.facts["field"]) == (Code.OBJECT_INVALID, field)


@pytest.mark.requires("bridge.bad-object-refused")
def test_two_versions_of_one_object_are_a_duplicate() -> None:
    beta = {**deployment("web"), "apiVersion": "apps/v1beta1"}
    with pytest.raises(Refused) as caught:
        desired_of(release([deployment("web"), beta]))
    assert caught.value.code is Code.OBJECT_DUPLICATE


@pytest.mark.requires("bridge.object-id")
def test_object_ids_are_spelled_as_the_specification_says() -> None:
    key = key_of(deployment("frontend", "guestbook"))
    assert str(key) == "apps/v1/Deployment/guestbook/frontend"
    assert str(ObjectKey("v1", "Namespace", "", "shop")) == "v1/Namespace/-/shop"
    for text in (str(key), "v1/Namespace/-/shop", "v1/ConfigMap/a/b"):
        assert str(parse_object_id(text)) == text


@pytest.mark.requires("bridge.object-id")
@pytest.mark.parametrize(
    "text", ["", "a", "v1/ConfigMap/a", "v1//a/b", "a/b/c/d/e/f", "v1/K/n/" + "x" * 2000]
)
def test_what_is_no_object_id_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_object_id(text)
    assert caught.value.code is Code.OBJECT_INVALID


def _scaled(replicas: tuple[tuple[str, int], ...]) -> Verified[ReleaseRevision]:
    rule = AutoscaleRule("apps/v1/Deployment/shop/web", 1, 5, 2, ())
    made = release([config_map("a"), deployment("web", replicas=9), deployment("other", replicas=9)]).value
    return verified(dataclasses.replace(made, autoscale=(rule,), replicas=replicas))


@pytest.mark.requires("bridge.replicas")
def test_replicas_alone_are_set_and_of_scaled_objects_alone() -> None:
    signed = desired_of(_scaled(())).objects
    found = desired_of(_scaled((("apps/v1/Deployment/shop/web", 3),))).objects
    web = key_of(deployment("web"))
    assert signed[web] == deployment("web", replicas=9)
    assert found[web] == deployment("web", replicas=3)
    assert {k: v for k, v in found.items() if k != web} == {k: v for k, v in signed.items() if k != web}


@pytest.mark.requires("bridge.replicas")
@pytest.mark.parametrize(
    "replicas",
    [
        ("apps/v1/Deployment/shop/web", 0),
        ("apps/v1/Deployment/shop/web", 6),
        ("apps/v1/Deployment/shop/other", 3),
    ],
)
def test_replicas_that_no_signed_rule_allows_are_refused(replicas: tuple[str, int]) -> None:
    with pytest.raises(Refused) as caught:
        desired_of(_scaled((replicas,)))
    assert caught.value.code is Code.LEDGER_RECORD_INVALID
