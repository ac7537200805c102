"""What a change needs to pass: the strictest of all rules that apply.

Owns the merging of rules. Promises that a change no rule judges is impossible, and that an approval can bind
to exactly what was required when it was given. Never asks who approves. Source: docs/spec/authority.md §4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ledger import canonical
from ledger.authority.constitution import Constitution
from ledger.authority.objects import ApprovalRule, BreakGlass
from ledger.authority.patterns import compiled
from ledger.authority.scope import Operation, Scope, Touch
from ledger.errors import Code, Refused
from ledger.limits import TOUCH_CHECKS_MAX
from ledger.types import JsonObject, sha256


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a change needs.

    Attributes:
        quorum: so many humans of each role, by role.
        rules: name and version of every rule that applies, by name.
        members: who alone counts, under a break-glass object; None for everybody who may approve.
        digest: what an approval binds to, SHA-256 in hex.
    """

    humans: int
    organisations: int
    quorum: tuple[tuple[str, int], ...]
    delay_seconds: int
    ttl_blocks: int
    deny_threshold: int
    rules: tuple[tuple[str, int], ...]
    members: tuple[str, ...] | None = None
    digest: str = ""


def requirement(constitution: Constitution, scope: Scope, ttl_blocks_max: int) -> Requirement:
    """Give what a change needs under the approval rules.

    Args:
        constitution: in force.
        scope: of the change.
        ttl_blocks_max: the ledger's parameter; no rule allows more.

    Raises:
        Refused: NO_RULE_MATCHES with what no rule judges; LIMIT_EXCEEDED.
    """
    key = ("requirement", scope, ttl_blocks_max)
    known = constitution.memo.get(key)
    if isinstance(known, Requirement):
        return known
    applying = _applying(constitution, scope)
    asked = [rule.require for rule in applying]
    quorum: dict[str, int] = {}
    for require in asked:
        for item in require.quorum:
            quorum[item.role] = max(item.count, quorum.get(item.role, 0))
    found = _digested(
        Requirement(
            humans=max(r.humans for r in asked),
            organisations=max(r.organisations for r in asked),
            quorum=tuple(sorted(quorum.items())),
            delay_seconds=max(r.delay_seconds for r in asked),
            ttl_blocks=min(ttl_blocks_max, *(r.ttl_blocks for r in asked)),
            deny_threshold=min(r.deny_threshold for r in asked),
            rules=tuple((rule.name, rule.version) for rule in applying),
        ),
        scope,
    )
    constitution.remember(key, found)
    return found


def break_glass_requirement(
    constitution: Constitution, name: str, scope: Scope, *, time: int, uses: int, ttl_blocks: int
) -> Requirement:
    """Give what a change needs under a break-glass object.

    Args:
        constitution: in force.
        name: the object's.
        scope: of the change.
        time: block time.
        uses: how often it was used.
        ttl_blocks: the ledger's parameter.

    Raises:
        Refused: BREAK_GLASS_INVALID.
    """
    glass = constitution.break_glasses.get(name)
    if glass is None:
        raise Refused(
            Code.BREAK_GLASS_INVALID,
            got="nothing",
            expected="a break-glass object of the ledger",
            object=name,
        )
    spec = glass.spec
    outside = _outside(glass, scope)
    problem = (
        (outside is not None, f"{outside}", "within the object's operations, kinds, namespaces, clusters"),
        (time > spec.not_after_time, f"time {time}", f"at most {spec.not_after_time}"),
        (uses >= spec.uses_max, f"use {uses + 1}", f"at most {spec.uses_max} uses"),
    )
    for holds, got, expected in problem:
        if holds:
            raise Refused(
                Code.BREAK_GLASS_INVALID,
                got=got,
                expected=expected,
                todo="stay within it, or propose under the ordinary rules",
                object=name,
            )
    return _digested(
        Requirement(
            humans=spec.count,
            organisations=1,
            quorum=(),
            delay_seconds=0,
            ttl_blocks=ttl_blocks,
            deny_threshold=spec.count,
            rules=((f"break-glass/{name}", glass.version),),
            members=tuple(spec.members),
        ),
        scope,
    )


def _outside(glass: BreakGlass, scope: Scope) -> str | None:
    """Give something of a change that a break-glass object does not cover, or None."""
    spec = glass.spec
    if scope.operation is Operation.CONFIGURE:
        return scope.operation
    for part in scope.judged_apart():
        if part.operation not in spec.operations:
            return part.operation
    kinds, namespaces, clusters = compiled(spec.kinds), compiled(spec.namespaces), compiled(spec.clusters)
    # It asks for less than the rules do, so it covers a guarded kind only by name, as a role does.
    for kind, namespace in dict.fromkeys((t.kind, t.namespace) for t in scope.touches):
        if not (kinds.match_kind(kind, namespace) and namespaces.match(namespace)):
            return f"{kind} in {namespace}"
    if not scope.touches or not scope.clusters:
        return "nothing"
    return next((cluster for cluster in scope.clusters if not clusters.match(cluster)), None)


def _digested(found: Requirement, scope: Scope) -> Requirement:
    named: JsonObject = {
        "humans": found.humans,
        "organisations": found.organisations,
        "quorum": [list(item) for item in found.quorum],
        "delaySeconds": found.delay_seconds,
        "ttlBlocks": found.ttl_blocks,
        "denyThreshold": found.deny_threshold,
        "rules": [list(item) for item in found.rules],
    }
    if scope.leaving:
        # Who approves that objects go approves these: another revision may have added some since.
        leaving = canonical.dump_plain([list(touch) for touch in scope.leaving])
        named["leaving"] = sha256(leaving).hex()
    return dataclasses.replace(found, digest=sha256(canonical.dump_plain(named)).hex())


def _applying(constitution: Constitution, scope: Scope) -> list[ApprovalRule]:
    applying = {name for part in scope.judged_apart() for name in _applying_to(constitution, part)}
    return [rule for rule in constitution.rules if rule.name in applying]


def _applying_to(constitution: Constitution, scope: Scope) -> set[str]:
    candidates = [
        rule
        for rule in constitution.rules
        if scope.operation in rule.match.operations and scope.risk in rule.match.risks
    ]
    # Rules know no names: one touch stands for all of its kind in its namespace.
    touches: dict[tuple[str, str], Touch] = {}
    for touch in scope.touches:
        touches.setdefault((touch.kind, touch.namespace), touch)
    groups: dict[tuple[str, ...], str] = {}
    for cluster in scope.clusters:
        here = tuple(rule.name for rule in candidates if compiled(rule.match.clusters).match(cluster))
        groups.setdefault(here, cluster)
    _check_work(len(candidates) * len(groups) * len(touches))
    applying: set[str] = set()
    for names, cluster in groups.items():
        rules = [rule for rule in candidates if rule.name in names]
        for touch in touches.values():
            found = [rule.name for rule in rules if _matches(rule, touch)]
            if not found:
                raise _unjudged(scope, touch, cluster)
            applying.update(found)
    if not applying:
        raise _unjudged(scope, Touch("nothing", "-", "-"), "-")
    return applying


def _matches(rule: ApprovalRule, touch: Touch) -> bool:
    kinds, namespaces = compiled(rule.match.kinds), compiled(rule.match.namespaces)
    return kinds.match(touch.kind) and namespaces.match(touch.namespace)


def _check_work(checks: int) -> None:
    if checks > TOUCH_CHECKS_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{checks} checks of approval rules",
            expected=f"at most {TOUCH_CHECKS_MAX}",
            todo="split the change, or have fewer rules that tell clusters apart",
        )


def _unjudged(scope: Scope, touch: Touch, cluster: str) -> Refused:
    where = f"{touch.kind} {touch.namespace}/{touch.name} on {cluster}"
    return Refused(
        Code.NO_RULE_MATCHES,
        got=f"{scope.operation} of {where}, risk {scope.risk}",
        expected="an approval rule that matches",
        todo="have a rule added that judges such changes",
        kind=touch.kind,
        namespace=touch.namespace,
        cluster=cluster,
    )
