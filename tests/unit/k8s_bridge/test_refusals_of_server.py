"""What the API server's refusals become."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import DynamicApiError

from k8s_bridge.refusals import refused
from ledger.errors import Code

GOING = {"code": 403, "message": "forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}


def _error(status: int, body: Any) -> DynamicApiError:
    text = body if isinstance(body, str) else json.dumps(body)
    return DynamicApiError(SimpleNamespace(status=status, reason="Because", body=text, headers={}))  # type: ignore[no-untyped-call]


@pytest.mark.requires("bridge.faults")
def test_a_namespace_that_goes_is_no_missing_right() -> None:
    fault = refused(_error(403, GOING), "v1/ConfigMap/shop/a", "https://server")
    assert (fault.code, fault.facts["permanent"]) == (Code.OBJECT_TERMINATING, False)
    assert "finalizers" in fault.todo
    assert refused(_error(403, {"code": 403, "message": "no"}), "", "").code is Code.KUBERNETES_FORBIDDEN


@pytest.mark.requires("bridge.token-rotated")
def test_who_is_turned_away_is_told_to_replace_the_token() -> None:
    fault = refused(_error(401, {"code": 401, "message": "Unauthorized"}), "", "")
    assert (fault.code, fault.facts["status"]) == (Code.KUBERNETES_REFUSED, 401)
    assert "token" in fault.todo


@pytest.mark.requires("bridge.wire-bounds")
@pytest.mark.parametrize(
    "details", [None, 3, [], {"causes": 3}, {"causes": []}, {"causes": [3]}, {"causes": [{}]}]
)
def test_details_of_any_form_are_read(details: Any) -> None:
    found = refused(_error(403, {"code": 403, "message": "no", "details": details}), "", "")
    assert found.code is Code.KUBERNETES_FORBIDDEN


@pytest.mark.requires("bridge.wire-bounds")
@pytest.mark.parametrize("body", ["", "[]", "nonsense", "[" * 100_000])
def test_a_body_of_any_form_is_read(body: str) -> None:
    assert refused(_error(500, body), "", "").facts["reason"] == "Because"
