"""What a change touches, where, and how risky that is.

Owns the reading of touches and risk from manifests that were checked. Promises an answer to any JSON, and
that what a release would lose is touched as well. Never says who may. Source: docs/spec/authority.md §2.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ledger.authority.patterns import LEDGER_GROUP, NONE, is_guarded
from ledger.types import Json, JsonObject

_HOST_FLAGS = ("hostNetwork", "hostPID", "hostIPC", "hostProcess", "privileged")


class Touch(NamedTuple):
    """One object a change touches: ``Kind.group``, namespace or ``-``, name."""

    kind: str
    namespace: str
    name: str


class Operation(enum.StrEnum):
    """What a change does."""

    APPLY = "apply"
    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"
    DELETE = "delete"
    CONFIGURE = "configure"


class Risk(enum.StrEnum):
    """How much harm a change could do, as far as its form tells."""

    LOW = "low"
    HIGH = "high"
    CONSTITUTION = "constitution"


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Everything a change touches, on which clusters.

    Told apart by identity, for it may hold thousands of touches.

    Attributes:
        touches: all of them, those that leave too.
        risk: of what is not leaving.
        leaving: what the release has now and will not have any more, sorted; its deletion.
    """

    operation: Operation
    touches: tuple[Touch, ...]
    clusters: tuple[str, ...]
    risk: Risk
    leaving: tuple[Touch, ...] = ()

    def judged_apart(self) -> tuple[Scope, ...]:
        """Give the changes that this is to approval rules: itself, and the deletion of what leaves."""
        if not self.leaving:
            return (self,)
        gone = frozenset(self.leaving)
        stays = tuple(touch for touch in self.touches if touch not in gone)
        return (
            dataclasses.replace(self, touches=stays, leaving=()),
            Scope(Operation.DELETE, self.leaving, self.clusters, Risk.HIGH),
        )


def ledger_kind(kind: str) -> str:
    """Give the full kind of one of the ledger's own objects."""
    return kind + LEDGER_GROUP


def kind_of_manifest(api_version: str, kind: str) -> str:
    """Give the full kind of a Kubernetes object: ``Deployment.apps``; of the core group, ``ConfigMap``."""
    group, slash, _ = api_version.rpartition("/")
    return f"{kind}.{group}" if slash else kind


LEDGER_CLUSTERS = (NONE,)
"""Where a change of the ledger's own objects happens: on no cluster."""


def ledger_scope(named: Iterable[tuple[str, str]]) -> Scope:
    """Give the scope of a change of the ledger's own objects, by kind and name."""
    touches = tuple(sorted({Touch(ledger_kind(kind), NONE, name) for kind, name in named}))
    return Scope(Operation.CONFIGURE, touches, LEDGER_CLUSTERS, Risk.CONSTITUTION)


def touches_of_release(name: str, namespace: str, manifests: Iterable[JsonObject]) -> tuple[Touch, ...]:
    """Give what a release touches: itself and every manifest, sorted, each once."""
    found = {Touch(ledger_kind("Release"), namespace, name)}
    for manifest in manifests:
        metadata = manifest["metadata"]
        kind = kind_of_manifest(manifest["apiVersion"], manifest["kind"])
        found.add(Touch(kind, metadata.get("namespace") or NONE, metadata["name"]))
    return tuple(sorted(found))


def release_scope(
    operation: Operation,
    touches: tuple[Touch, ...],
    before: Iterable[Touch],
    clusters: tuple[str, ...],
    *,
    host_access: bool,
) -> Scope:
    """Give the scope of a change of a release.

    Args:
        operation: what it does.
        touches: of the content it is about, sorted.
        before: touches of the revision it comes after, deleted or not; those that ``touches`` lacks leave.
        clusters: where.
        host_access: whether the content asks for the host.
    """
    leaving = tuple(sorted(frozenset(before) - frozenset(touches)))
    risk = risk_of(operation, touches, host_access=host_access)
    found = tuple(sorted((*touches, *leaving))) if leaving else touches
    return Scope(operation, found, clusters, risk, leaving)


def risk_of(operation: Operation, touches: Iterable[Touch], *, host_access: bool) -> Risk:
    """Give the risk of a change."""
    if operation is Operation.CONFIGURE:
        return Risk.CONSTITUTION
    if operation is Operation.DELETE or host_access:
        return Risk.HIGH
    if any(touch.namespace == NONE or is_guarded(touch.kind) for touch in touches):
        return Risk.HIGH
    return Risk.LOW


def asks_for_host(manifest: Json) -> bool:
    """Tell whether a manifest asks for the node it runs on: its namespaces, files, ports, capabilities."""
    pending = [manifest]
    while pending:
        value = pending.pop()
        if type(value) is list:
            pending += value
        elif type(value) is dict:
            if any(value.get(flag) is True for flag in _HOST_FLAGS) or value.get("hostPath") is not None:
                return True
            port = value.get("hostPort")
            if port not in (None, 0) and type(port) is not dict:  # a definition's schema names the field, too
                return True
            capabilities = value.get("capabilities")
            if type(capabilities) is dict and capabilities.get("add"):
                return True
            pending += value.values()
    return False
