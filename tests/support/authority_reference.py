"""What docs/spec/authority.md says, word by word and without any haste, to judge the real thing by.

Shares records with ``ledger.authority`` and none of its code. Never used outside tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ledger.authority.objects import ApprovalRule, Role, RoleBinding
from ledger.authority.scope import Scope, Touch
from ledger.types import SubjectKind
from tests.support.constitutions import Person

NAMED_GROUPS = ("rbac.authorization.k8s.io", "admissionregistration.k8s.io", "conclave.internal")


@dataclass(frozen=True)
class World:
    roles: tuple[Role, ...]
    bindings: tuple[RoleBinding, ...]
    rules: tuple[ApprovalRule, ...]


def fits(pattern: str, value: str) -> bool:
    if pattern == "*":
        return True
    if value == "-":
        return False
    if pattern[-1] == "*":
        return value[: len(pattern) - 1] == pattern[:-1]
    return pattern == value


def some_fit(patterns: Collection[str], value: str) -> bool:
    return any(fits(pattern, value) for pattern in patterns)


def has_to_be_named(kind: str, namespace: str) -> bool:
    _, _, group = kind.partition(".")
    own = kind == "Release.conclave.internal"
    return namespace == "-" or kind == "Secret" or (group in NAMED_GROUPS and not own)


def parents(world: World, binding: RoleBinding) -> list[RoleBinding] | None:
    """Give a binding and its parents, or None where one is missing or they are more than three."""
    found = [binding]
    while found[-1].parent is not None:
        above = [b for b in world.bindings if b.name == found[-1].parent]
        if not above or len(found) == 4:
            return None
        found += above
    return found


def is_live(world: World, binding: RoleBinding, height: int) -> bool:
    line = parents(world, binding)
    return line is not None and all(
        (b.not_before is None or b.not_before <= height)
        and (b.not_after is None or b.not_after >= height)
        and any(r.name == b.role for r in world.roles)
        for b in line
    )


def _rules_say(
    world: World, binding: RoleBinding, effect: str, verb: str, touch: Touch, cluster: str
) -> bool:
    (held,) = (r for r in world.roles if r.name == binding.role)
    inside = some_fit(binding.namespaces, touch.namespace) and some_fit(binding.clusters, cluster)
    for rule in held.rules:
        if effect == "allow" and has_to_be_named(touch.kind, touch.namespace):
            kind = touch.kind in rule.kinds
        else:
            kind = some_fit(rule.kinds, touch.kind)
        if (
            inside
            and kind
            and rule.effect == effect
            and verb in rule.verbs
            and some_fit(rule.namespaces, touch.namespace)
            and some_fit(rule.clusters, cluster)
            and some_fit(rule.names, touch.name)
        ):
            return True
    return False


def may_one(world: World, who: Person, verb: str, touch: Touch, cluster: str, height: int) -> bool:
    if who.kind is SubjectKind.AGENT and verb != "propose":
        return False
    if who.kind not in (SubjectKind.AGENT, SubjectKind.HUMAN):
        return False
    allowed = False
    for binding in world.bindings:
        if binding.subject != who.did or not is_live(world, binding, height):
            continue
        line = parents(world, binding)
        assert line is not None
        if any(_rules_say(world, b, "deny", verb, touch, cluster) for b in line):
            return False
        handed_on = not any(denied(world, b.subject, verb, touch, cluster, height) for b in line[1:])
        allowed = allowed or (
            handed_on and all(_rules_say(world, b, "allow", verb, touch, cluster) for b in line)
        )
    return allowed


def denied(world: World, did: str, verb: str, touch: Touch, cluster: str, height: int) -> bool:
    """Tell whether a live binding of somebody, or a parent of it, denies this."""
    mine = [b for b in world.bindings if b.subject == did and is_live(world, b, height)]
    return any(
        _rules_say(world, b, "deny", verb, touch, cluster) for own in mine for b in parents(world, own) or []
    )


def may_all(world: World, who: Person, verb: str, scope: Scope, height: int) -> bool:
    return all(may_one(world, who, verb, t, c, height) for t in scope.touches for c in scope.clusters)


def applying(world: World, scope: Scope) -> list[ApprovalRule] | None:
    """Give the rules that apply, by name; None where something is judged by none."""
    found: dict[str, ApprovalRule] = {}
    for touch, cluster in itertools.product(scope.touches, scope.clusters):
        goes = touch in scope.leaving
        operation, risk = ("delete", "high") if goes else (scope.operation, scope.risk)
        here = [
            r
            for r in world.rules
            if operation in r.match.operations
            and risk in r.match.risks
            and some_fit(r.match.kinds, touch.kind)
            and some_fit(r.match.namespaces, touch.namespace)
            and some_fit(r.match.clusters, cluster)
        ]
        if not here:
            return None
        found |= {r.name: r for r in here}
    return [found[name] for name in sorted(found)]


def holds(world: World, who: Person, name: str, scope: Scope, height: int) -> bool:
    for binding in world.bindings:
        line = parents(world, binding) or []
        if (
            binding.subject == who.did
            and is_live(world, binding, height)
            and all(b.role == name for b in line)
            and all(some_fit(b.namespaces, t.namespace) for b in line for t in scope.touches)
            and all(some_fit(b.clusters, c) for b in line for c in scope.clusters)
        ):
            return True
    return False


def approve_enough(world: World, group: Iterable[Person], scope: Scope, height: int) -> bool:
    """Tell whether these subjects, all approving, satisfy every rule that applies: every seating is tried."""
    rules = applying(world, scope)
    if rules is None:
        return False
    counting = [
        p for p in group if p.kind is SubjectKind.HUMAN and may_all(world, p, "approve", scope, height)
    ]
    if any(len(counting) < r.require.humans for r in rules):
        return False
    if any(len({p.organisation for p in counting}) < r.require.organisations for r in rules):
        return False
    most: dict[str, int] = {}
    for item in (item for r in rules for item in r.require.quorum):
        most[item.role] = max(item.count, most.get(item.role, 0))
    places = [name for name, count in sorted(most.items()) for _ in range(count)]
    return any(
        all(holds(world, who, place, scope, height) for who, place in zip(seated, places, strict=True))
        for seated in itertools.permutations(counting, len(places))
    )
