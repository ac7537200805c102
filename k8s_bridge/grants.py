"""Which permissions the releases of a cluster need, one by one.

Owns the step from signed manifests and touches to grants. Promises: no wildcard; a namespaced kind is granted
in the namespaces where a release has it; a cluster-scoped object by its name; ``escalate`` and ``bind`` only
for the roles that are in a release or that its bindings name; what only older revisions had may be deleted
and nothing else. Pure: the same releases give the same grants.

Source: Kubernetes RBAC (privilege escalation prevention, server-side apply needs patch and create),
KEP-5284 (constrained impersonation).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from k8s_bridge.accounts import BRIDGE_ACCOUNT, scope_account
from k8s_bridge.kinds import BUILT_IN, Resource, Resources, defined_by, resource_of
from k8s_bridge.objects import ObjectKey, field, parse_object_id, trial_name
from ledger.authority.patterns import NONE
from ledger.authority.scope import Touch, kind_of_manifest
from ledger.types import JsonObject

RBAC_GROUP = "rbac.authorization.k8s.io"
RELEASE_KIND = "Release.conclave.internal"
KUBE_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Governed object by object: the cluster itself lives there."""
_ROLES = frozenset({f"Role.{RBAC_GROUP}", f"ClusterRole.{RBAC_GROUP}"})
_BINDINGS = frozenset({f"RoleBinding.{RBAC_GROUP}", f"ClusterRoleBinding.{RBAC_GROUP}"})
_WRITES = ("create", "delete", "patch")
_READS = ("get", "list", "watch")
_PASSING = frozenset({"Event", "Event.events.k8s.io", "Lease.coordination.k8s.io"})
"""Not counted as what a namespace still holds (``observe``)."""


class Impersonation(enum.StrEnum):
    """How the bridge may act as a scope: by verb (Kubernetes 1.36 and later), or by account alone."""

    CONSTRAINED = "constrained"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Holding:
    """One release of the cluster, as permissions need it.

    Attributes:
        release: its name.
        namespace: its scope.
        manifests: of every revision that may be applied.
        touches: of older revisions, whose objects may have to be deleted.
        scaled: ids of objects with a signed autoscale rule, which are measured.
    """

    release: str
    namespace: str
    manifests: tuple[JsonObject, ...]
    touches: tuple[Touch, ...] = ()
    scaled: tuple[str, ...] = ()


class Grant(NamedTuple):
    """One permission: ``namespace`` is empty cluster-wide, ``name`` where every name is meant."""

    account: str
    namespace: str
    group: str
    plural: str
    name: str
    verb: str


class Governed(NamedTuple):
    """One object on the ledger, as permissions name it; ``namespace`` is empty for a cluster-scoped one."""

    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything a cluster's installation is made of.

    Attributes:
        scopes: the namespaces of releases, sorted.
        namespaces: the namespaces that releases have objects in, sorted.
        grants: the permissions.
        objects: cluster-scoped objects and those in Kubernetes's own namespaces.
        controllers: users that signed bindings give permissions: the releases' own controllers.
    """

    scopes: tuple[str, ...]
    namespaces: tuple[str, ...]
    grants: frozenset[Grant]
    objects: frozenset[Governed]
    controllers: tuple[str, ...]


def needs_of(
    holdings: Iterable[Holding],
    told: Mapping[str, Resource],
    impersonation: Impersonation = Impersonation.CONSTRAINED,
) -> Needs:
    """Work out what a cluster's bridge and scopes need.

    Args:
        holdings: the cluster's releases.
        told: kinds that are neither built in nor defined by a release, as a person named them.
        impersonation: how the bridge acts as a scope.

    Raises:
        Refused: OBJECT_KIND_UNKNOWN.
    """
    held = tuple(holdings)
    manifests = [manifest for holding in held for manifest in holding.manifests]
    known = {**told, **defined_by(manifests)}
    grants: set[Grant] = set()
    objects: set[Governed] = set()
    for holding in held:
        account = scope_account(holding.namespace)
        applied = {_governed(touch, known) for touch in map(_touch, holding.manifests)}
        leaving = {_governed(t, known) for t in holding.touches if t.kind != RELEASE_KIND} - applied
        objects |= applied | leaving
        grants |= {grant for found in applied for grant in _granted(account, found, _WRITES, impersonation)}
        grants |= {
            grant for found in leaving for grant in _granted(account, found, ("delete",), impersonation)
        }
        grants |= {grant for m in holding.manifests for grant in _escalations(account, m)}
        grants |= {grant for scaled in holding.scaled for grant in _measured(parse_object_id(scaled))}
    grants |= {grant for found in objects for grant in _tenants(found, manifests, known)}
    namespaces = {found.namespace for found in objects} | {
        found.name for found in objects if found.resource == BUILT_IN["Namespace"]
    }
    return Needs(
        scopes=tuple(sorted({holding.namespace for holding in held})),
        namespaces=tuple(sorted(namespaces - {""} - KUBE_NAMESPACES)),
        grants=frozenset(grants),
        objects=frozenset(o for o in objects if not o.namespace or o.namespace in KUBE_NAMESPACES),
        controllers=tuple(sorted({user for manifest in manifests for user in _bound(manifest)})),
    )


def _touch(manifest: JsonObject) -> Touch:
    metadata = manifest["metadata"]
    kind = kind_of_manifest(manifest["apiVersion"], manifest["kind"])
    return Touch(kind, metadata.get("namespace") or NONE, metadata["name"])


def _governed(touch: Touch, known: Resources) -> Governed:
    resource = resource_of(touch.kind, known)
    return Governed(resource, "" if touch.namespace == NONE else touch.namespace, touch.name)


def _granted(
    account: str, found: Governed, verbs: Iterable[str], impersonation: Impersonation
) -> Iterator[Grant]:
    resource, namespace = found.resource, found.namespace
    where = (namespace, resource.group, resource.plural)
    for verb in verbs:
        names = [""] if namespace else [found.name] if verb == "delete" else _names(found.name)
        yield from _acted(account, where, names, verb, impersonation)
    for verb in _READS:
        # Lists and watches have no name that a rule could be limited to.
        yield Grant(BRIDGE_ACCOUNT, *where, "" if namespace or verb != "get" else found.name, verb)


def _acted(
    account: str, where: tuple[str, str, str], names: Iterable[str], verb: str, impersonation: Impersonation
) -> Iterator[Grant]:
    """What a scope may do, and the bridge as the scope."""
    for name in names:
        yield Grant(account, *where, name, verb)
        # An apply that creates is a patch to the filter that judges impersonation.
        if impersonation is Impersonation.CONSTRAINED and verb != "create":
            yield Grant(BRIDGE_ACCOUNT, *where, name, f"impersonate-on:serviceaccount:{verb}")


def _names(name: str) -> tuple[str, str]:
    """A name, and the one under which it is tried whether the object could be made anew."""
    return (name, trial_name(name))


def _measured(key: ObjectKey) -> Iterator[Grant]:
    for group in ("", "metrics.k8s.io"):
        yield Grant(BRIDGE_ACCOUNT, key.namespace, group, "pods", "", "list")


def _escalations(account: str, manifest: JsonObject) -> Iterator[Grant]:
    """``escalate`` for a role that is in the release, ``bind`` for the role that a binding names."""
    kind = kind_of_manifest(manifest["apiVersion"], manifest["kind"])
    namespace = field(manifest, "metadata", "namespace") or ""
    if kind in _ROLES:
        plural = BUILT_IN[kind].plural
        for name in _names(manifest["metadata"]["name"]):
            yield Grant(account, namespace, RBAC_GROUP, plural, name, "escalate")
    elif kind in _BINDINGS:
        role, name = field(manifest, "roleRef", "kind"), field(manifest, "roleRef", "name")
        if role in {"Role", "ClusterRole"} and isinstance(name, str) and name:
            plural = BUILT_IN[f"{role}.{RBAC_GROUP}"].plural
            yield Grant(account, namespace, RBAC_GROUP, plural, name, "bind")


def _tenants(found: Governed, manifests: list[JsonObject], known: Resources) -> Iterator[Grant]:
    """What the bridge lists before a namespace or a definition may be pruned."""
    if found.resource == BUILT_IN["Namespace"] and found.name not in KUBE_NAMESPACES:
        for kind, resource in chain(BUILT_IN.items(), known.items()):
            if resource.namespaced and kind not in _PASSING:
                yield Grant(BRIDGE_ACCOUNT, found.name, resource.group, resource.plural, "", "list")
    if found.resource == BUILT_IN["CustomResourceDefinition.apiextensions.k8s.io"]:
        for resource in defined_by(m for m in manifests if m["metadata"]["name"] == found.name).values():
            yield Grant(BRIDGE_ACCOUNT, "", resource.group, resource.plural, "", "list")


def _bound(manifest: JsonObject) -> Iterator[str]:
    """The service accounts that a signed binding gives permissions."""
    kind = kind_of_manifest(manifest["apiVersion"], manifest["kind"])
    if kind not in _BINDINGS:
        return
    for subject in manifest.get("subjects") or ():
        if field(subject, "kind") != "ServiceAccount":
            continue
        namespace = field(subject, "namespace") or field(manifest, "metadata", "namespace")
        name = field(subject, "name")
        if isinstance(namespace, str) and isinstance(name, str) and namespace and name:
            yield f"system:serviceaccount:{namespace}:{name}"
