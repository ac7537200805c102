"""Small constitutions for tests: people, roles, bindings and rules in one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger import canonical
from ledger.authority.objects import (
    ApprovalRule,
    BreakGlass,
    Effect,
    Match,
    Require,
    Role,
    RoleBinding,
    RoleCount,
    RoleRule,
    StoredObject,
    read_break_glass,
)
from ledger.authority.scope import Operation, Risk, Scope, Touch
from ledger.types import Did, JsonObject, SubjectKind

ANY = ("*",)
GOVERNING = tuple(
    f"{kind}.conclave.internal"
    for kind in ("ApprovalRule", "BreakGlass", "Identity", "Parameters", "Role", "RoleBinding")
)
OPERATIONS = tuple(sorted(Operation))
RISKS = tuple(sorted(Risk))


@dataclass(frozen=True)
class Person:
    """A subject as authority sees one."""

    name: str
    organisation: str = "org-a"
    kind: SubjectKind = SubjectKind.HUMAN
    is_active: bool = True
    is_living: bool = True

    @property
    def did(self) -> Did:
        return Did(f"did:key:{self.name}")


def grant(  # one role rule, all of it open unless said
    *verbs: str,
    kinds: tuple[str, ...] = ANY,
    namespaces: tuple[str, ...] = ANY,
    clusters: tuple[str, ...] = ANY,
    names: tuple[str, ...] = ANY,
    effect: Effect = Effect.ALLOW,
) -> RoleRule:
    return RoleRule(effect, tuple(sorted(verbs)), kinds, namespaces, clusters, names)


def denial(*verbs: str, **where: tuple[str, ...]) -> RoleRule:
    return grant(*verbs, effect=Effect.DENY, **where)


def role(name: str, *rules: RoleRule) -> Role:
    return Role(name, rules)


def bind(
    name: str,
    who: str,
    to: str,
    *,
    namespaces: tuple[str, ...] = ANY,
    clusters: tuple[str, ...] = ANY,
    parent: str | None = None,
    heights: tuple[int | None, int | None] = (None, None),
) -> RoleBinding:
    return RoleBinding(name, Did(f"did:key:{who}"), to, namespaces, clusters, parent, *heights)


def rule(name: str = "default", version: int = 1, **parts: Any) -> ApprovalRule:
    """Give a rule that judges everything and requires the least, but for ``parts``, fields of either half."""
    matched: dict[str, Any] = {
        "operations": OPERATIONS,
        "kinds": ANY,
        "namespaces": ANY,
        "clusters": ANY,
        "risks": RISKS,
    }
    required: dict[str, Any] = {
        "humans": 1,
        "organisations": 1,
        "quorum": (),
        "delay_seconds": 0,
        "ttl_blocks": 100,
        "deny_threshold": 1,
    }
    for key, value in parts.items():
        (matched if key in matched else required)[key] = value
    required["quorum"] = tuple(RoleCount(*item) for item in required["quorum"])
    return ApprovalRule(name, version, Match(**matched), Require(**required))


def break_glass(name: str = "night", **parts: Any) -> BreakGlass:
    spec: JsonObject = {
        "members": ["did:key:ann", "did:key:bob"],
        "count": 2,
        "operations": ["apply"],
        "kinds": ["*"],
        "namespaces": ["*"],
        "clusters": ["*"],
        "notAfterTime": 1000,
        "usesMax": 2,
        **parts,
    }
    return read_break_glass(stored("BreakGlass", name, spec, version=3))


def stored(kind: str, name: str, spec: JsonObject, *, version: int = 1) -> StoredObject:
    canonical.dump(spec)
    return StoredObject(kind, name, {}, version, 1, None, spec)


def scope(
    *touches: tuple[str, str, str],
    clusters: tuple[str, ...] = ("east",),
    operation: Operation = Operation.APPLY,
    risk: Risk = Risk.LOW,
) -> Scope:
    found = tuple(Touch(*t) for t in touches) or (Touch("ConfigMap", "team-a", "settings"),)
    return Scope(operation, found, clusters, risk)


def governing(kind: str, name: str = "some") -> Scope:
    """Give the scope of a change of one of the ledger's own objects."""
    touch = (f"{kind}.conclave.internal", "-", name)
    return scope(touch, clusters=("-",), operation=Operation.CONFIGURE, risk=Risk.CONSTITUTION)
