"""Patterns and touches: what is matched, what has to be named, how risky a change is."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.authority.patterns import any_matches, is_guarded, kind_matches, matches, read_patterns
from ledger.authority.scope import (
    Operation,
    Risk,
    Touch,
    asks_for_host,
    kind_of_manifest,
    release_scope,
    risk_of,
    touches_of_release,
)
from ledger.errors import Code
from ledger.limits import PATTERN_BYTES_MAX, PATTERNS_MAX
from tests.support.refusal import refusal_of


@pytest.mark.requires("authority.patterns")
@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("team-a", "team-a", True),
        ("team-a", "team-ab", False),
        ("team-*", "team-", True),
        ("team-*", "team-ab", True),
        ("team-*", "team", False),
        ("*", "team-a", True),
        ("*", "-", True),
        ("-", "-", False),
        ("-*", "-", False),
        ("", "", True),
    ],
)
def test_a_pattern_is_exact_a_prefix_or_anything(pattern: str, value: str, expected: bool) -> None:
    assert matches(pattern, value) is expected
    assert any_matches(("other", pattern), value) is expected


@pytest.mark.requires("authority.patterns")
@pytest.mark.parametrize(
    "value", [[], ["b", "a"], ["a", "a"], ["*a"], ["a*b*"], ["**"], [""], [1], "a", None, {"a": 1}]
)
def test_any_other_list_of_patterns_is_refused(value: Any) -> None:
    refusal_of(lambda: read_patterns(value, "spec.kinds"), Code.FIELD_INVALID)


@pytest.mark.requires("authority.patterns")
def test_lists_of_patterns_are_bounded() -> None:
    many = sorted(f"a{i}" for i in range(PATTERNS_MAX + 1))
    assert read_patterns(many[1:], "x") == tuple(many[1:])
    refusal_of(lambda: read_patterns(many, "x"), Code.LIMIT_EXCEEDED)
    refusal_of(lambda: read_patterns(["a" * (PATTERN_BYTES_MAX + 1)], "x"), Code.LIMIT_EXCEEDED)


@pytest.mark.requires("authority.guarded-kinds")
@pytest.mark.parametrize(
    "kind",
    [
        "Secret",
        "Role.rbac.authorization.k8s.io",
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
        "Role.conclave.internal",
        "Freeze.conclave.internal",
    ],
)
def test_guarded_kinds_are_matched_by_name_alone(kind: str) -> None:
    assert is_guarded(kind)
    assert kind_matches((kind,), kind, "team-a")
    assert not kind_matches(("*", kind[:-1] + "*", kind[:3] + "*"), kind, "team-a")


@pytest.mark.requires("authority.guarded-kinds")
def test_what_has_no_namespace_is_matched_by_name_alone_and_the_rest_by_patterns() -> None:
    assert not kind_matches(("*", "Names*"), "Namespace", "-")
    assert kind_matches(("Namespace",), "Namespace", "-")
    assert kind_matches(("*",), "Release.conclave.internal", "team-a")
    assert kind_matches(("Depl*",), "Deployment.apps", "team-a")
    assert not is_guarded("SecretStore.example.org")


@pytest.mark.requires("authority.touches")
def test_a_release_touches_itself_and_its_manifests_each_once() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "n"}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}}
    older = {**deployment, "apiVersion": "apps/v1beta1"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    assert touches_of_release("web", "n", [deployment, older, namespace, config]) == (
        Touch("ConfigMap", "n", "b"),
        Touch("Deployment.apps", "n", "a"),
        Touch("Namespace", "-", "n"),
        Touch("Release.conclave.internal", "n", "web"),
    )
    assert kind_of_manifest("example.org/v1", "Thing") == "Thing.example.org"


@pytest.mark.requires("authority.leaving")
def test_what_the_release_has_and_will_not_have_leaves_as_a_deletion() -> None:
    own, kept, gone = Touch("Release", "n", "web"), Touch("ConfigMap", "n", "a"), Touch("Secret", "n", "b")
    same = release_scope(Operation.APPLY, (kept, own), (), ("east",), host_access=False)
    assert same.judged_apart() == (same,)
    less = release_scope(Operation.APPLY, (kept, own), (own, gone, kept), ("east",), host_access=False)
    assert (less.touches, less.leaving, less.risk) == ((kept, own, gone), (gone,), Risk.LOW)
    stays, leaves = less.judged_apart()
    assert (stays.operation, stays.touches, stays.risk, stays.leaving) == ("apply", (kept, own), "low", ())
    assert (leaves.operation, leaves.touches, leaves.risk, leaves.leaving) == ("delete", (gone,), "high", ())
    assert stays.clusters == leaves.clusters == ("east",)


@pytest.mark.requires("authority.risk")
@pytest.mark.parametrize(
    ("operation", "touch", "host", "expected"),
    [
        (Operation.APPLY, Touch("ConfigMap", "n", "a"), False, Risk.LOW),
        (Operation.ROLLBACK, Touch("Release.conclave.internal", "n", "a"), False, Risk.LOW),
        (Operation.WITHDRAW, Touch("ConfigMap", "n", "a"), False, Risk.LOW),
        (Operation.APPLY, Touch("ConfigMap", "n", "a"), True, Risk.HIGH),
        (Operation.APPLY, Touch("Secret", "n", "a"), False, Risk.HIGH),
        (Operation.APPLY, Touch("Namespace", "-", "a"), False, Risk.HIGH),
        (Operation.DELETE, Touch("ConfigMap", "n", "a"), False, Risk.HIGH),
        (Operation.CONFIGURE, Touch("Role.conclave.internal", "-", "a"), False, Risk.CONSTITUTION),
    ],
)
def test_risk_follows_from_the_form_of_a_change(
    operation: Operation, touch: Touch, host: bool, expected: Risk
) -> None:
    assert risk_of(operation, (Touch("ConfigMap", "n", "z"), touch), host_access=host) is expected


@pytest.mark.requires("authority.risk")
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"hostNetwork": True}, True),
        ({"hostPID": True}, True),
        ({"hostIPC": True}, True),
        ({"hostNetwork": False, "hostPID": None}, False),
        ({"containers": [{"securityContext": {"privileged": True}}]}, True),
        ({"initContainers": [{"securityContext": {"privileged": True}}]}, True),
        ({"containers": [{"securityContext": {"privileged": False}}]}, False),
        ({"containers": [{"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]}, True),
        ({"containers": [{"securityContext": {"capabilities": {"add": [], "drop": ["ALL"]}}}]}, False),
        ({"volumes": [{"hostPath": {}}]}, True),
        ({"containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]}, True),
        ({"containers": [{"ports": [{"containerPort": 80, "hostPort": 0}]}]}, False),
        ({"properties": {"hostPort": {"type": "integer"}}}, False),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, True),
        ({"volumes": [{"emptyDir": {}}]}, False),
        ({"containers": "no list", "volumes": 7, "securityContext": None}, False),
    ],
)
def test_a_pod_that_asks_for_its_host_is_seen_wherever_it_stands(part: Any, expected: bool) -> None:
    assert asks_for_host({"kind": "Pod", "spec": part}) is expected
    template = {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": part}}}}}
    assert asks_for_host(template) is expected


@pytest.mark.requires("authority.risk")
@pytest.mark.parametrize("value", [None, 1, "text", [], {}, [[{"a": [None, {"capabilities": []}]}]]])
def test_any_json_can_be_asked_for_host_access(value: Any) -> None:
    assert asks_for_host(value) is False
