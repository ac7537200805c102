"""The objects of the constitution: roles, bindings, approval rules, break-glass.

Owns their strict reading and the stored form of every ledger object. Source: docs/spec/authority.md §1.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Annotated

from ledger import canonical, codec, shape
from ledger.authority.patterns import read_patterns
from ledger.authority.scope import Operation, Risk
from ledger.codec import Digest, Limits, Name, Positive
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    DELAY_SECONDS_MAX,
    PATTERNS_MAX,
    PROPOSAL_TTL_BLOCKS_MAX,
    PROPOSAL_TTL_BLOCKS_MIN,
    QUORUM_ROLES_MAX,
    ROLE_RULES_MAX,
)
from ledger.types import Did, Json, JsonObject

Patterns = Annotated[tuple[str, ...], read_patterns]
Count = Annotated[int, Limits(1, APPROVALS_PER_PROPOSAL_MAX)]


class Verb(enum.StrEnum):
    """What a role lets a subject do. There is no wildcard."""

    PROPOSE = "propose"
    APPROVE = "approve"
    GRANT = "grant"
    FREEZE = "freeze"
    REVOKE = "revoke"
    PAUSE = "pause"


class Effect(enum.StrEnum):
    """Whether a rule of a role allows or denies; deny wins."""

    ALLOW = "allow"
    DENY = "deny"


def _choices(names: tuple[str, ...]) -> codec.Reader:
    def read(value: Json, where: str) -> tuple[str, ...]:
        items = shape.array(value, where, items_max=PATTERNS_MAX)
        found = [shape.choice(item, f"{where}[{i}]", names) for i, item in enumerate(items)]
        if not found or found != sorted(set(found)):
            raise shape.invalid(where, found, "sorted, each once, at least one")
        return tuple(found)

    return read


Verbs = Annotated[tuple[str, ...], _choices(tuple(Verb))]
Operations = Annotated[tuple[str, ...], _choices(tuple(Operation))]
Risks = Annotated[tuple[str, ...], _choices(tuple(Risk))]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A ledger object as the state keeps it. ``authority`` is the proposal that put it; None at genesis."""

    kind: str
    name: Name
    labels: JsonObject
    version: Positive
    height: int
    authority: Digest | None
    spec: JsonObject


@dataclass(frozen=True, slots=True)
class RoleRule:
    """One rule of a role."""

    effect: Effect
    verbs: Verbs
    kinds: Patterns
    namespaces: Patterns
    clusters: Patterns
    names: Patterns


@dataclass(frozen=True, slots=True)
class _RoleSpec:
    rules: Annotated[tuple[RoleRule, ...], Limits(items_max=ROLE_RULES_MAX)]


@dataclass(frozen=True, slots=True)
class Role:
    """What those bound to it may do."""

    name: str
    rules: tuple[RoleRule, ...]


@dataclass(frozen=True, slots=True)
class _BindingSpec:
    subject: Did
    role: Name
    namespaces: Patterns
    clusters: Patterns
    parent: Name | None
    not_before: int | None
    not_after: int | None


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role for a subject within a scope; with a parent, within what the parent allows too."""

    name: str
    subject: Did
    role: str
    namespaces: tuple[str, ...]
    clusters: tuple[str, ...]
    parent: str | None
    not_before: int | None
    not_after: int | None


@dataclass(frozen=True, slots=True)
class Match:
    """Which changes a rule judges."""

    operations: Operations
    kinds: Patterns
    namespaces: Patterns
    clusters: Patterns
    risks: Risks


@dataclass(frozen=True, slots=True)
class RoleCount:
    """So many humans of one role."""

    role: Name
    count: Count


@dataclass(frozen=True, slots=True)
class Require:
    """What a rule asks for."""

    humans: Count
    organisations: Count
    quorum: Annotated[tuple[RoleCount, ...], Limits(items_max=QUORUM_ROLES_MAX)]
    delay_seconds: Annotated[int, Limits(0, DELAY_SECONDS_MAX)]
    ttl_blocks: Annotated[int, Limits(PROPOSAL_TTL_BLOCKS_MIN, PROPOSAL_TTL_BLOCKS_MAX)]
    deny_threshold: Count


@dataclass(frozen=True, slots=True)
class _RuleSpec:
    match: Match
    require: Require


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """What changes of a class need to pass."""

    name: str
    version: int
    match: Match
    require: Require


@dataclass(frozen=True, slots=True)
class _BreakGlassSpec:
    members: Annotated[tuple[Did, ...], Limits(items_max=APPROVALS_PER_PROPOSAL_MAX)]
    count: Count
    operations: Operations
    kinds: Patterns
    namespaces: Patterns
    clusters: Patterns
    not_after_time: int
    uses_max: Positive


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """A way, registered beforehand, for few to act fast within a narrow scope."""

    name: str
    version: int
    spec: _BreakGlassSpec


@functools.lru_cache(maxsize=2048)
def read_stored(content: bytes) -> StoredObject:
    """Read a stored ledger object.

    Raises:
        Refused: any code of ``shape``.
    """
    return codec.read(StoredObject, canonical.load_plain(content), "object")


def write_stored(stored: StoredObject) -> bytes:
    """Give the bytes of a stored ledger object."""
    return canonical.dump(codec.to_json(stored))


def read_role(stored: StoredObject) -> Role:
    """Read a role.

    Raises:
        Refused: any code of ``shape``.
    """
    rules = codec.read(_RoleSpec, stored.spec, "spec").rules
    if not rules:
        raise shape.invalid("spec.rules", [], "at least one rule")
    return Role(stored.name, rules)


def read_role_binding(stored: StoredObject) -> RoleBinding:
    """Read a binding.

    Raises:
        Refused: any code of ``shape``.
    """
    spec = codec.read(_BindingSpec, stored.spec, "spec")
    return RoleBinding(
        stored.name,
        spec.subject,
        spec.role,
        spec.namespaces,
        spec.clusters,
        spec.parent,
        spec.not_before,
        spec.not_after,
    )


def read_approval_rule(stored: StoredObject) -> ApprovalRule:
    """Read an approval rule; its quorum names each role once, by name.

    Raises:
        Refused: any code of ``shape``.
    """
    spec = codec.read(_RuleSpec, stored.spec, "spec")
    roles = [item.role for item in spec.require.quorum]
    if roles != sorted(set(roles)):
        raise shape.invalid("spec.require.quorum", roles, "roles by name, each once")
    return ApprovalRule(stored.name, stored.version, spec.match, spec.require)


def read_break_glass(stored: StoredObject) -> BreakGlass:
    """Read a break-glass object: enough members, none of the ledger's own objects in it.

    Raises:
        Refused: any code of ``shape``.
    """
    spec = codec.read(_BreakGlassSpec, stored.spec, "spec")
    if list(spec.members) != sorted(set(spec.members)) or len(spec.members) < spec.count:
        raise shape.invalid(
            "spec.members", list(spec.members), f"at least {spec.count} DIDs, sorted, each once"
        )
    if Operation.CONFIGURE in spec.operations:
        raise shape.invalid("spec.operations", list(spec.operations), "anything but configure")
    return BreakGlass(stored.name, stored.version, spec)
