"""The order of kinds."""

from __future__ import annotations

import pytest

from k8s_bridge.objects import ObjectKey
from k8s_bridge.order import apply_order, prune_order

IN_ORDER = [
    ObjectKey("v1", "Namespace", "", "z"),
    ObjectKey("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "a"),
    ObjectKey("v1", "ServiceAccount", "z", "z"),
    ObjectKey("v1", "ConfigMap", "z", "z"),
    ObjectKey("rbac.authorization.k8s.io/v1", "Role", "z", "z"),
    ObjectKey("rbac.authorization.k8s.io/v1", "RoleBinding", "z", "a"),
    ObjectKey("v1", "Service", "z", "z"),
    ObjectKey("apps/v1", "Deployment", "z", "a"),
    ObjectKey("autoscaling/v2", "HorizontalPodAutoscaler", "a", "a"),
    ObjectKey("aa.test/v1", "Aardvark", "a", "a"),
    ObjectKey("apiregistration.k8s.io/v1", "APIService", "", "a"),
    ObjectKey("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "a"),
]


@pytest.mark.requires("bridge.order")
def test_what_others_need_comes_first_and_webhooks_last() -> None:
    assert apply_order(reversed(IN_ORDER)) == IN_ORDER
    assert prune_order(IN_ORDER) == IN_ORDER[::-1]
