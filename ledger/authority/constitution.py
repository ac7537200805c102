"""The constitution, and what a subject may do under it.

Owns the judgement of permissions. Promises that deny wins, that a delegation only ever narrows, and that whatever a
subject is bound to, its kind bounds what it may do. Source: docs/spec/authority.md §3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ledger.authority.objects import ApprovalRule, BreakGlass, Effect, Role, RoleBinding, RoleRule, Verb
from ledger.authority.patterns import any_matches, kind_matches
from ledger.authority.scope import Scope, Touch
from ledger.errors import Code, Refused
from ledger.limits import DELEGATION_DEPTH_MAX, TOUCH_CHECKS_MAX
from ledger.types import Did, SubjectKind

_MEMO_MAX = 4096


class Subject(Protocol):
    """What authority needs to know of an identity."""

    @property
    def did(self) -> Did:
        """Its name for ever."""
        ...

    @property
    def name(self) -> str:
        """Its name among people."""
        ...

    @property
    def kind(self) -> SubjectKind:
        """What it is."""
        ...

    @property
    def organisation(self) -> str:
        """Where it belongs."""
        ...

    @property
    def is_active(self) -> bool:
        """Whether it can speak."""
        ...

    @property
    def is_living(self) -> bool:
        """Whether it can speak, or recover and then speak."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding as it counts: itself and its parents, each with the rules of its role."""

    links: tuple[tuple[RoleBinding, Role], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Constitution:
    """Roles, bindings, approval rules and break-glass objects, as one version of the ledger has them."""

    roles: dict[str, Role]
    bindings: tuple[RoleBinding, ...]
    rules: tuple[ApprovalRule, ...]
    break_glasses: dict[str, BreakGlass]
    _by_name: dict[str, RoleBinding]
    _by_subject: dict[str, tuple[RoleBinding, ...]]
    memo: dict[object, object] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        roles: Iterable[Role],
        bindings: Iterable[RoleBinding],
        rules: Iterable[ApprovalRule],
        break_glasses: Iterable[BreakGlass] = (),
    ) -> Constitution:
        """Make a constitution; the order of its parts does not matter."""
        found = tuple(sorted(bindings, key=lambda b: b.name))
        by_subject: dict[str, tuple[RoleBinding, ...]] = {}
        for binding in found:
            by_subject[binding.subject] = (*by_subject.get(binding.subject, ()), binding)
        return cls(
            roles={role.name: role for role in roles},
            bindings=found,
            rules=tuple(sorted(rules, key=lambda r: r.name)),
            break_glasses={b.name: b for b in break_glasses},
            _by_name={b.name: b for b in found},
            _by_subject=by_subject,
        )

    @property
    def subjects(self) -> tuple[Did, ...]:
        """Everybody who is bound to something."""
        return tuple(Did(did) for did in sorted(self._by_subject))

    def bindings_of(self, did: str) -> tuple[RoleBinding, ...]:
        """Give the bindings of a subject, by name."""
        return self._by_subject.get(did, ())

    def binding(self, name: str) -> RoleBinding | None:
        """Give a binding by name."""
        return self._by_name.get(name)

    def remember(self, key: object, value: object) -> None:
        """Keep an answer that depends on the constitution and ``key`` alone."""
        if len(self.memo) >= _MEMO_MAX:
            self.memo.clear()
        self.memo[key] = value


def chain_of(constitution: Constitution, binding: RoleBinding) -> Grant | None:
    """Give a binding with its parents; None where a role or parent is missing, or it is too deep."""
    links: list[tuple[RoleBinding, Role]] = []
    current: RoleBinding | None = binding
    while current is not None:
        role = constitution.roles.get(current.role)
        if role is None or len(links) > DELEGATION_DEPTH_MAX:
            return None
        links.append((current, role))
        if current.parent is None:
            return Grant(tuple(links))
        current = constitution.binding(current.parent)
    return None


def check_may(constitution: Constitution, subject: Subject, verb: str, scope: Scope, height: int) -> None:
    """The subject may do this to everything the change touches, everywhere.

    Args:
        constitution: in force.
        subject: who.
        verb: one of ``Verb``.
        scope: what and where.
        height: now.

    Raises:
        Refused: PERMISSION_DENIED with what is not allowed; LIMIT_EXCEEDED.
    """
    if not _kind_may(subject, verb):
        raise _denied(subject, verb, scope.touches[0], scope.clusters[0])
    missing = _missing(constitution, subject.did, verb, scope, height)
    if missing is not None:
        raise _denied(subject, verb, *missing)


def may(constitution: Constitution, subject: Subject, verb: str, scope: Scope, height: int) -> bool:
    """Tell whether ``check_may`` passes.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    return _kind_may(subject, verb) and _missing(constitution, subject.did, verb, scope, height) is None


def may_lastingly(constitution: Constitution, subject: Subject, verb: str, scope: Scope, height: int) -> bool:
    """Tell whether the subject may, and will as long as the constitution stays: no bound by height helps."""
    if not _kind_may(subject, verb):
        return False
    grants = _grants(constitution, subject.did)
    lasting = [g for g in grants if _is_lasting(g, height)]
    denying = [g for g in grants if not _is_over(g, height)]
    return _first_missing(lasting, denying, verb, scope) is None


def holds_role(
    constitution: Constitution, did: str, role: str, scope: Scope, height: int, *, lasting: bool = False
) -> bool:
    """Tell whether a subject is bound to a role for all that a change touches."""
    counts = _is_lasting if lasting else _is_live
    return any(
        grant.links[0][0].role == role
        and counts(grant, height)
        and all(_covers(binding, scope) for binding, _ in grant.links)
        for grant in _grants(constitution, did)
    )


def _kind_may(subject: Subject, verb: str) -> bool:
    if subject.kind is SubjectKind.AGENT:
        return verb == Verb.PROPOSE
    return subject.kind is SubjectKind.HUMAN


def _missing(
    constitution: Constitution, did: str, verb: str, scope: Scope, height: int
) -> tuple[Touch, str] | None:
    """Give the first touch and cluster that are not allowed, or None."""
    grants = _grants(constitution, did)
    bounded = any(
        b.not_before is not None or b.not_after is not None for grant in grants for b, _ in grant.links
    )
    key = (did, verb, scope)
    if not bounded and key in constitution.memo:
        return constitution.memo[key]  # type: ignore[return-value]  # what this function put there
    live = [grant for grant in grants if _is_live(grant, height)]
    found = _first_missing(live, live, verb, scope)
    if not bounded:
        constitution.remember(key, found)
    return found


def _grants(constitution: Constitution, did: str) -> list[Grant]:
    chains = (chain_of(constitution, binding) for binding in constitution.bindings_of(did))
    return [chain for chain in chains if chain is not None]


def _first_missing(
    allowing: Sequence[Grant], denying: Sequence[Grant], verb: str, scope: Scope
) -> tuple[Touch, str] | None:
    work = sum(len(role.rules) for grant in (*allowing, *denying) for _, role in grant.links)
    for cluster, rules in _by_cluster(allowing, denying, verb, scope.clusters, work * len(scope.touches)):
        for touch in scope.touches:
            if any(_all_match(chain, touch) for chain in rules.denies):
                return touch, cluster
            if not any(_all_match(chain, touch) for chain in rules.allows):
                return touch, cluster
    return None


@dataclass(frozen=True, slots=True)
class _Rules:
    """What counts on some clusters: per grant, per link of its chain, the rules that could match there."""

    allows: tuple[tuple[tuple[tuple[RoleBinding, RoleRule], ...], ...], ...]
    denies: tuple[tuple[tuple[tuple[RoleBinding, RoleRule], ...], ...], ...]


def _by_cluster(
    allowing: Sequence[Grant], denying: Sequence[Grant], verb: str, clusters: Iterable[str], work: int
) -> Iterator[tuple[str, _Rules]]:
    """Give each cluster on which other rules count than on those before it.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    seen: set[tuple[int, ...]] = set()
    for cluster in clusters:
        allows = tuple(_links(grant, verb, cluster, Effect.ALLOW) for grant in allowing)
        denies = tuple(
            (link,) for grant in denying for link in _links(grant, verb, cluster, Effect.DENY) if link
        )
        print_ = tuple(id(rule) for chain in (*allows, *denies) for link in chain for _, rule in link)
        shape = (*(len(link) for chain in (*allows, *denies) for link in chain), -1, *print_)
        if shape in seen:
            continue
        seen.add(shape)
        if work * len(seen) > TOUCH_CHECKS_MAX:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=f"{work * len(seen)} checks of permissions",
                expected=f"at most {TOUCH_CHECKS_MAX}",
                todo="split the change, or bind fewer roles",
            )
        yield cluster, _Rules(tuple(chain for chain in allows if all(chain)), denies)


def _links(
    grant: Grant, verb: str, cluster: str, effect: Effect
) -> tuple[tuple[tuple[RoleBinding, RoleRule], ...], ...]:
    return tuple(
        tuple(
            (binding, rule)
            for rule in role.rules
            if rule.effect is effect
            and verb in rule.verbs
            and any_matches(rule.clusters, cluster)
            and any_matches(binding.clusters, cluster)
        )
        for binding, role in grant.links
    )


def _all_match(chain: tuple[tuple[tuple[RoleBinding, RoleRule], ...], ...], touch: Touch) -> bool:
    return all(any(_matches(binding, rule, touch) for binding, rule in link) for link in chain)


def _matches(binding: RoleBinding, rule: RoleRule, touch: Touch) -> bool:
    if rule.effect is Effect.DENY:
        # What is denied is denied by a pattern too: only what is allowed has to be named.
        kind = any_matches(rule.kinds, touch.kind)
    else:
        kind = kind_matches(rule.kinds, touch.kind, touch.namespace)
    return (
        kind
        and any_matches(rule.namespaces, touch.namespace)
        and any_matches(binding.namespaces, touch.namespace)
        and any_matches(rule.names, touch.name)
    )


def _covers(binding: RoleBinding, scope: Scope) -> bool:
    return all(any_matches(binding.clusters, cluster) for cluster in scope.clusters) and all(
        any_matches(binding.namespaces, namespace)
        for namespace in sorted({touch.namespace for touch in scope.touches})
    )


def _is_live(grant: Grant, height: int) -> bool:
    return all(
        (b.not_before is None or b.not_before <= height) and (b.not_after is None or height <= b.not_after)
        for b, _ in grant.links
    )


def _is_lasting(grant: Grant, height: int) -> bool:
    return _is_live(grant, height) and all(b.not_after is None for b, _ in grant.links)


def _is_over(grant: Grant, height: int) -> bool:
    return any(b.not_after is not None and b.not_after < height for b, _ in grant.links)


def _denied(subject: Subject, verb: str, touch: Touch, cluster: str) -> Refused:
    return Refused(
        Code.PERMISSION_DENIED,
        got=f"{subject.kind.value} {subject.name}",
        expected=f"one who may {verb} {touch.kind} {touch.namespace}/{touch.name} on {cluster}",
        todo="have a role bound that allows it",
        verb=verb,
        kind=touch.kind,
        namespace=touch.namespace,
        name=touch.name,
        cluster=cluster,
    )
