"""Do these bindings together allow all that a change touches?

Owns the matching of role rules against touches and clusters. Promises that a deny anywhere wins, that a chain
of delegation allows only what each of its links allows and none of its delegators is denied, and that the
work is bounded before it is done. Never asks who the
subjects are, nor for a height. Source: docs/spec/authority.md §2, §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """What one chain allows: each link by some rule, and none of its delegators is denied it."""

    links: tuple[_Link, ...]
    withheld: tuple[_Link, ...]

    @property
    def size(self) -> int:
        """How many gates one question may ask."""
        return sum(map(len, self.links)) + sum(map(len, self.withheld))

    def within(self, here: set[int]) -> _Path:
        """Give the path with the gates alone that count on a cluster."""
        return _Path(_narrowed(self.links, here), _narrowed(self.withheld, here))

    def allows(self, touch: Touch) -> bool:
        """Tell whether it allows a touch."""
        return all(any(gate.match(touch) for gate in link) for link in self.links) and not any(
            gate.match(touch) for link in self.withheld for gate in link
        )


def _narrowed(links: tuple[_Link, ...], here: set[int]) -> tuple[_Link, ...]:
    return tuple(tuple(gate for gate in link if id(gate) in here) for link in links)


def first_missing(
    allowing: Sequence[Chain],
    denying: Sequence[Chain],
    verb: str,
    scope: Scope,
    *,
    delegators: Mapping[str, Sequence[Chain]],
    deny_any_name: bool = False,
) -> tuple[Touch, str] | None:
    """Give a touch and a cluster that these chains do not allow, or None where they allow everything.

    Args:
        allowing: chains whose allow rules count.
        denying: chains whose deny rules count.
        verb: one of ``Verb``.
        scope: what and where; of an empty one nothing is allowed.
        delegators: chains by DID of everybody who handed an allowing one on, which is to allow nothing that
            one of these denies.
        deny_any_name: whether a rule that denies some names is taken to deny them all.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    if not scope.touches or not scope.clusters:
        return Touch("nothing", "-", "-"), "-"
    denies = _Denials(verb, any_name=deny_any_name)
    forbidden = denies.of(denying)
    theirs = {did: denies.of(chains) for did, chains in delegators.items()}
    paths = [
        _Path(links, tuple(theirs[did] for did in delegators_of(chain)))
        for chain in allowing
        if all(links := _allow_links(chain, verb))
    ]
    gates = [*(gate for path in paths for link in path.links for gate in link), *denies.all()]
    _check_work(len(gates), len(scope.clusters))
    groups = _groups(gates, scope.clusters)
    touches = _distinct(scope.touches, gates)
    _check_work(sum(path.size for path in paths) + len(forbidden), len(groups) * len(touches))
    for on, cluster in groups.items():
        here = {id(gate) for gate, counts in zip(gates, on, strict=True) if counts}
        open_paths = [path for path in (path.within(here) for path in paths) if all(path.links)]
        forbids = [gate for gate in forbidden if id(gate) in here]
        for touch in touches:
            if any(gate.match(touch) for gate in forbids) or not any(p.allows(touch) for p in open_paths):
                return touch, cluster
    return None


def delegators_of(chain: Chain) -> tuple[str, ...]:
    """Give the DIDs of those who handed a binding on, each once."""
    return tuple(dict.fromkeys(binding.subject for binding, _ in chain[1:]))


class _Denials:
    """The denials of chains, each made once: a parent may come in many chains."""

    def __init__(self, verb: str, *, any_name: bool) -> None:
        self._verb, self._any_name = verb, any_name
        self._known: dict[str, list[_Gate]] = {}

    def of(self, chains: Iterable[Chain]) -> _Link:
        """Give what these chains deny."""
        links = {binding.name: (binding, role) for chain in chains for binding, role in chain}
        return tuple(gate for binding, role in links.values() for gate in self._of_link(binding, role))

    def all(self) -> Iterable[_Gate]:
        """Give every denial asked for so far."""
        return (gate for gates in self._known.values() for gate in gates)

    def _of_link(self, binding: RoleBinding, role: Role) -> list[_Gate]:
        if binding.name not in self._known:
            self._known[binding.name] = [
                _gate(binding, rule, any_name=self._any_name)
                for rule in role.rules
                if rule.effect is Effect.DENY and self._verb in rule.verbs
            ]
        return self._known[binding.name]


def _allow_links(chain: Chain, verb: str) -> tuple[_Link, ...]:
    return tuple(
        tuple(
            _gate(binding, rule) for rule in role.rules if rule.effect is Effect.ALLOW and verb in rule.verbs
        )
        for binding, role in chain
    )


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


def _check_work(gates: int, times: int) -> None:
    checks = gates * times
    if checks > TOUCH_CHECKS_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{checks} checks of permissions",
            expected=f"at most {TOUCH_CHECKS_MAX}",
            todo="split the change, or bind fewer roles",
        )
