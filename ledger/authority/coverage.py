"""Do these bindings together allow all that a change touches?

Owns the matching of role rules against touches and clusters. Promises that a deny anywhere wins, that a chain
of delegation allows only what each of its links allows, and that the work is bounded before it is done. Knows
neither subjects nor heights. Source: docs/spec/authority.md §2, §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.authority.objects import Effect, Role, RoleBinding, RoleRule
from ledger.authority.patterns import ANY, PatternSet, compiled
from ledger.authority.scope import Scope, Touch
from ledger.errors import Code, Refused
from ledger.limits import TOUCH_CHECKS_MAX

Chain = tuple[tuple[RoleBinding, Role], ...]
"""A binding and its parents, nearest first, each with its role."""


@dataclass(frozen=True, slots=True, eq=False)
class _Gate:
    """One rule of a role within the scope of one binding to it."""

    kinds: PatternSet
    namespaces: PatternSet
    scope_namespaces: PatternSet
    names: PatternSet
    clusters: PatternSet
    scope_clusters: PatternSet
    allows: bool

    def is_on(self, cluster: str) -> bool:
        """Tell whether the rule counts on a cluster."""
        return self.clusters.match(cluster) and self.scope_clusters.match(cluster)

    def match(self, touch: Touch) -> bool:
        """Tell whether the rule matches a touch. Only what is allowed has to be named."""
        kind, namespace, name = touch
        return (
            (self.kinds.match_kind(kind, namespace) if self.allows else self.kinds.match(kind))
            and self.namespaces.match(namespace)
            and self.scope_namespaces.match(namespace)
            and self.names.match(name)
        )


_Link = tuple[_Gate, ...]


def first_missing(
    allowing: Sequence[Chain],
    denying: Sequence[Chain],
    verb: str,
    scope: Scope,
    *,
    deny_any_name: bool = False,
) -> tuple[Touch, str] | None:
    """Give a touch and a cluster that these chains do not allow, or None where they allow everything.

    Args:
        allowing: chains whose allow rules count.
        denying: chains whose deny rules count.
        verb: one of ``Verb``.
        scope: what and where; of an empty one nothing is allowed.
        deny_any_name: whether a rule that denies some names is taken to deny them all.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    if not scope.touches or not scope.clusters:
        return Touch("nothing", "-", "-"), "-"
    allows = [links for chain in allowing if all(links := _allow_links(chain, verb))]
    denies = _deny_gates(denying, verb, any_name=deny_any_name)
    gates = [*(gate for links in allows for link in links for gate in link), *denies]
    _check_work(len(gates) * len(scope.clusters))
    groups = _groups(gates, scope.clusters)
    touches = _distinct(scope.touches, gates)
    _check_work(len(gates) * len(groups) * len(touches))
    for on, cluster in groups.items():
        here = {id(gate) for gate, counts in zip(gates, on, strict=True) if counts}
        chains = [_narrowed(links, here) for links in allows]
        chains = [links for links in chains if all(links)]
        forbids = [gate for gate in denies if id(gate) in here]
        for touch in touches:
            if any(gate.match(touch) for gate in forbids) or not _allowed(chains, touch):
                return touch, cluster
    return None


def _allowed(chains: Iterable[tuple[_Link, ...]], touch: Touch) -> bool:
    return any(all(any(gate.match(touch) for gate in link) for link in links) for links in chains)


def _narrowed(links: tuple[_Link, ...], here: set[int]) -> tuple[_Link, ...]:
    return tuple(tuple(gate for gate in link if id(gate) in here) for link in links)


def _allow_links(chain: Chain, verb: str) -> tuple[_Link, ...]:
    return tuple(
        tuple(
            _gate(binding, rule) for rule in role.rules if rule.effect is Effect.ALLOW and verb in rule.verbs
        )
        for binding, role in chain
    )


def _deny_gates(chains: Iterable[Chain], verb: str, *, any_name: bool) -> list[_Gate]:
    # A parent may come in many chains; its denials count once.
    links = {binding.name: (binding, role) for chain in chains for binding, role in chain}
    return [
        _gate(binding, rule, any_name=any_name)
        for binding, role in links.values()
        for rule in role.rules
        if rule.effect is Effect.DENY and verb in rule.verbs
    ]


def _gate(binding: RoleBinding, rule: RoleRule, *, any_name: bool = False) -> _Gate:
    return _Gate(
        kinds=compiled(rule.kinds),
        namespaces=compiled(rule.namespaces),
        scope_namespaces=compiled(binding.namespaces),
        names=compiled((ANY,) if any_name else rule.names),
        clusters=compiled(rule.clusters),
        scope_clusters=compiled(binding.clusters),
        allows=rule.effect is Effect.ALLOW,
    )


def _groups(gates: Sequence[_Gate], clusters: Iterable[str]) -> dict[tuple[bool, ...], str]:
    """Give one cluster, the first, for each set of gates that count together."""
    found: dict[tuple[bool, ...], str] = {}
    for cluster in clusters:
        found.setdefault(tuple(gate.is_on(cluster) for gate in gates), cluster)
    return found


def _distinct(touches: tuple[Touch, ...], gates: Iterable[_Gate]) -> tuple[Touch, ...]:
    """Give the touches that the gates can tell apart: one a kind and namespace where none asks for names."""
    if not all(gate.names.is_any for gate in gates):
        return touches
    found: dict[tuple[str, str], Touch] = {}
    for touch in touches:
        found.setdefault((touch.kind, touch.namespace), touch)
    return tuple(found.values())


def _check_work(checks: int) -> None:
    if checks > TOUCH_CHECKS_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{checks} checks of permissions",
            expected=f"at most {TOUCH_CHECKS_MAX}",
            todo="split the change, or bind fewer roles",
        )
