"""The constitution, and what a subject may do under it.

Owns the judgement of permissions. Promises that deny wins, that a delegation only ever narrows and hands on
nothing that its delegator is denied, and that whatever a subject is bound to, its kind bounds what it may do.
Never asks whether a subject can still speak. Source: docs/spec/authority.md §3.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ledger.authority.coverage import Chain, delegators_of, first_missing
from ledger.authority.objects import ApprovalRule, BreakGlass, Effect, Role, RoleBinding, Verb
from ledger.authority.patterns import ANY, NONE, compiled
from ledger.authority.scope import Scope, Touch
from ledger.errors import Code, Refused
from ledger.limits import DELEGATION_DEPTH_MAX
from ledger.types import Did, SubjectKind

_MEMO_MAX = 4096
_UNKNOWN = object()


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


def chain_of(constitution: Constitution, binding: RoleBinding) -> Chain | None:
    """Give a binding with its parents; None where a role or parent is missing, or it is too deep."""
    links: list[tuple[RoleBinding, Role]] = []
    current: RoleBinding | None = binding
    while current is not None:
        role = constitution.roles.get(current.role)
        if role is None or len(links) > DELEGATION_DEPTH_MAX:
            return None
        links.append((current, role))
        if current.parent is None:
            return tuple(links)
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
    if _kind_may(subject, verb):
        missing = _missing(constitution, subject.did, verb, scope, height)
    else:
        missing = first_missing((), (), verb, scope, delegators={})
    if missing is not None:
        raise _denied(subject, verb, *missing)


def may(constitution: Constitution, subject: Subject, verb: str, scope: Scope, height: int) -> bool:
    """Tell whether ``check_may`` passes: whether the subject may do this to everything, everywhere.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    return _kind_may(subject, verb) and _missing(constitution, subject.did, verb, scope, height) is None


def may_lastingly(constitution: Constitution, subject: Subject, verb: str, scope: Scope, height: int) -> bool:
    """Tell whether the subject may, and will as long as the constitution stays.

    No bound by height helps, a denial that is still to come counts, and one of some names counts for all: so
    what is said of one name holds for every other.

    Raises:
        Refused: LIMIT_EXCEEDED.
    """
    if not _kind_may(subject, verb):
        return False
    chains = _chains(constitution, subject.did)
    lasting = [chain for chain in chains if _is_lasting(chain, height)]
    denying = [chain for chain in chains if not _is_over(chain, height)]
    delegators = {
        did: [chain for chain in theirs if not _is_over(chain, height)]
        for did, theirs in _delegators(constitution, chains).items()
    }
    return first_missing(lasting, denying, verb, scope, delegators=delegators, deny_any_name=True) is None


def denial_edges(constitution: Constitution, did: str, verb: str) -> tuple[frozenset[str], frozenset[str]]:
    """Give namespaces and clusters, one for each pattern by which a subject may be denied something.

    Whoever asks for all that a pattern matches has to be asked about these as well: a denial of a part of it
    has one of them in that part.
    """
    chains = _chains(constitution, did)
    namespaces, clusters = set[str](), set[str]()
    for chain in (*chains, *itertools.chain(*_delegators(constitution, chains).values())):
        denials = [r for _, role in chain for r in role.rules if r.effect is Effect.DENY and verb in r.verbs]
        if denials:
            namespaces.update(*(r.namespaces for r in denials), *(b.namespaces for b, _ in chain))
            clusters.update(*(r.clusters for r in denials), *(b.clusters for b, _ in chain))
    return _edges(namespaces), _edges(clusters)


def _edges(patterns: set[str]) -> frozenset[str]:
    return frozenset(edge for pattern in patterns if (edge := pattern.removesuffix(ANY)) not in ("", NONE))


def holds_role(
    constitution: Constitution, did: str, role: str, scope: Scope, height: int, *, lasting: bool = False
) -> bool:
    """Tell whether a subject is bound to a role for all that a change touches.

    Through a delegation only if every parent is a binding to that role too: nobody hands on a role they lack.
    """
    counts = _is_lasting if lasting else _is_live
    namespaces = _namespaces(constitution, scope)
    return any(
        all(held.name == role for _, held in chain)
        and counts(chain, height)
        and all(_covers(binding, scope, namespaces) for binding, _ in chain)
        for chain in _chains(constitution, did)
    )


def _kind_may(subject: Subject, verb: str) -> bool:
    if subject.kind is SubjectKind.AGENT:
        return verb == Verb.PROPOSE
    return subject.kind is SubjectKind.HUMAN


def _missing(
    constitution: Constitution, did: str, verb: str, scope: Scope, height: int
) -> tuple[Touch, str] | None:
    """Give the first touch and cluster that are not allowed, or None."""
    chains = _chains(constitution, did)
    delegators = _delegators(constitution, chains)
    asked = itertools.chain(chains, *delegators.values())
    bounded = any(b.not_before is not None or b.not_after is not None for chain in asked for b, _ in chain)
    key = (did, verb, scope)
    # One look: another thread may empty the memory between two.
    known = _UNKNOWN if bounded else constitution.memo.get(key, _UNKNOWN)
    if known is not _UNKNOWN:
        return known  # type: ignore[return-value]  # what this function put there
    live = [chain for chain in chains if _is_live(chain, height)]
    above = {did: [c for c in theirs if _is_live(c, height)] for did, theirs in delegators.items()}
    found = first_missing(live, live, verb, scope, delegators=above)
    if not bounded:
        constitution.remember(key, found)
    return found


def _chains(constitution: Constitution, did: str) -> tuple[Chain, ...]:
    key = ("chains", did)
    known = constitution.memo.get(key, _UNKNOWN)
    if known is not _UNKNOWN:
        return known  # type: ignore[return-value]  # what this function put there
    chains = (chain_of(constitution, binding) for binding in constitution.bindings_of(did))
    found = tuple(chain for chain in chains if chain is not None)
    constitution.remember(key, found)
    return found


def _delegators(constitution: Constitution, chains: Iterable[Chain]) -> dict[str, tuple[Chain, ...]]:
    """Give the chains of everybody who handed one of these on, by DID."""
    dids = dict.fromkeys(did for chain in chains for did in delegators_of(chain))
    return {did: _chains(constitution, did) for did in dids}


def _covers(binding: RoleBinding, scope: Scope, namespaces: tuple[str, ...]) -> bool:
    on, within = compiled(binding.clusters), compiled(binding.namespaces)
    return (on.is_any or all(on.match(cluster) for cluster in scope.clusters)) and (
        within.is_any or all(within.match(namespace) for namespace in namespaces)
    )


def _namespaces(constitution: Constitution, scope: Scope) -> tuple[str, ...]:
    key = ("namespaces", scope)
    known = constitution.memo.get(key, _UNKNOWN)
    if known is not _UNKNOWN:
        return known  # type: ignore[return-value]  # what this function put there
    found = tuple(sorted({touch.namespace for touch in scope.touches}))
    constitution.remember(key, found)
    return found


def _is_live(chain: Chain, height: int) -> bool:
    return all(
        (b.not_before is None or b.not_before <= height) and (b.not_after is None or height <= b.not_after)
        for b, _ in chain
    )


def _is_lasting(chain: Chain, height: int) -> bool:
    return _is_live(chain, height) and all(b.not_after is None for b, _ in chain)


def _is_over(chain: Chain, height: int) -> bool:
    return any(b.not_after is not None and b.not_after < height for b, _ in chain)


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
