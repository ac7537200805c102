"""The objects of the constitution: strict reading, one stored form."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest

from ledger.authority import objects
from ledger.authority.objects import read_stored, write_stored
from ledger.errors import Code, Refused
from ledger.limits import PROPOSAL_TTL_BLOCKS_MIN
from tests.support.constitutions import stored
from tests.support.refusal import refusal_of

RULE = {
    "effect": "allow",
    "verbs": ["approve", "propose"],
    "kinds": ["*"],
    "namespaces": ["team-*"],
    "clusters": ["*"],
    "names": ["*"],
}
ROLE = {"rules": [RULE]}
BINDING = {
    "subject": "did:key:zA",
    "role": "operator",
    "namespaces": ["*"],
    "clusters": ["*"],
    "parent": None,
    "notBefore": 3,
    "notAfter": None,
}
APPROVAL_RULE = {
    "match": {
        "operations": ["apply", "configure"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "risks": ["high"],
    },
    "require": {
        "humans": 2,
        "organisations": 1,
        "quorum": [{"role": "a", "count": 1}, {"role": "b", "count": 2}],
        "delaySeconds": 60,
        "ttlBlocks": 100,
        "denyThreshold": 1,
    },
}
BREAK_GLASS = {
    "members": ["did:key:zA", "did:key:zB"],
    "count": 2,
    "operations": ["apply"],
    "kinds": ["*"],
    "namespaces": ["*"],
    "clusters": ["*"],
    "notAfterTime": 5,
    "usesMax": 1,
}
READERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Role": (objects.read_role, ROLE),
    "RoleBinding": (objects.read_role_binding, BINDING),
    "ApprovalRule": (objects.read_approval_rule, APPROVAL_RULE),
    "BreakGlass": (objects.read_break_glass, BREAK_GLASS),
}


@pytest.mark.requires("authority.objects-strict")
def test_each_kind_reads_what_the_specification_says() -> None:
    found = objects.read_role(stored("Role", "r", ROLE))
    assert (found.name, found.rules[0].verbs) == ("r", ("approve", "propose"))
    binding = objects.read_role_binding(stored("RoleBinding", "b", BINDING))
    assert (binding.subject, binding.role, binding.not_before, binding.not_after) == (
        "did:key:zA",
        "operator",
        3,
        None,
    )
    rule = objects.read_approval_rule(stored("ApprovalRule", "x", APPROVAL_RULE, version=4))
    assert (rule.version, rule.require.delay_seconds, rule.match.risks) == (4, 60, ("high",))
    glass = objects.read_break_glass(stored("BreakGlass", "g", BREAK_GLASS))
    assert (glass.spec.count, glass.spec.not_after_time) == (2, 5)


@pytest.mark.requires("authority.objects-strict")
@pytest.mark.parametrize("kind", READERS)
def test_a_missing_or_unknown_field_is_refused(kind: str) -> None:
    read, spec = READERS[kind]
    for field in spec:
        left = {name: value for name, value in spec.items() if name != field}
        refusal_of(functools.partial(read, stored(kind, "x", left)), Code.FIELD_MISSING)
    refusal_of(lambda: read(stored(kind, "x", {**spec, "extra": 1})), Code.FIELD_UNKNOWN)


@pytest.mark.requires("authority.objects-strict")
@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Role", ("rules",), []),
        ("Role", ("rules",), [RULE] * 33),
        ("Role", ("rules", 0, "effect"), "maybe"),
        ("Role", ("rules", 0, "verbs"), ["*"]),
        ("Role", ("rules", 0, "verbs"), []),
        ("Role", ("rules", 0, "verbs"), ["propose", "approve"]),
        ("Role", ("rules", 0, "verbs"), ["execute"]),
        ("Role", ("rules", 0, "names"), []),
        ("RoleBinding", ("subject",), "ann"),
        ("RoleBinding", ("role",), "Not A Name"),
        ("RoleBinding", ("parent",), ""),
        ("RoleBinding", ("notBefore",), -1),
        ("RoleBinding", ("notAfter",), True),
        ("ApprovalRule", ("match", "operations"), ["*"]),
        ("ApprovalRule", ("match", "risks"), ["none"]),
        ("ApprovalRule", ("require", "humans"), 0),
        ("ApprovalRule", ("require", "humans"), 65),
        ("ApprovalRule", ("require", "organisations"), 0),
        ("ApprovalRule", ("require", "denyThreshold"), 0),
        ("ApprovalRule", ("require", "ttlBlocks"), PROPOSAL_TTL_BLOCKS_MIN - 1),
        ("ApprovalRule", ("require", "delaySeconds"), 10**9),
        ("ApprovalRule", ("require", "quorum", 0, "count"), 0),
        ("ApprovalRule", ("require", "quorum", 0, "role"), "c"),
        ("ApprovalRule", ("require", "quorum"), [{"role": "a", "count": 1}] * 2),
        ("BreakGlass", ("operations",), ["configure"]),
        ("BreakGlass", ("count",), 3),
        ("BreakGlass", ("count",), 0),
        ("BreakGlass", ("members",), ["did:key:zB", "did:key:zA"]),
        ("BreakGlass", ("members",), ["did:key:zA", "did:key:zA"]),
        ("BreakGlass", ("usesMax",), 0),
    ],
)
def test_a_value_out_of_bounds_is_refused(kind: str, path: tuple[Any, ...], value: Any) -> None:
    read, spec = READERS[kind]
    spoiled = copy.deepcopy(spec)
    place: Any = spoiled
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(Refused) as caught:
        read(stored(kind, "x", spoiled))
    assert caught.value.code in (Code.FIELD_INVALID, Code.LIMIT_EXCEEDED)


@pytest.mark.requires("authority.stored-form")
def test_the_stored_form_is_canonical_and_reads_back() -> None:
    kept = stored("RoleBinding", "b", BINDING, version=2)
    content = write_stored(kept)
    assert content == (
        b'{"authority":null,"height":1,"kind":"RoleBinding","labels":{},"name":"b","spec":{"clusters":["*"],'
        b'"namespaces":["*"],"notAfter":null,"notBefore":3,"parent":null,"role":"operator",'
        b'"subject":"did:key:zA"},"version":2}'
    )
    assert read_stored(content) == kept
    refusal_of(lambda: read_stored(b"{"), Code.BODY_NOT_JSON)
    refusal_of(lambda: read_stored(content.replace(b'"version":2', b'"version":0')), Code.FIELD_INVALID)
