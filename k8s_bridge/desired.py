"""What a cluster must hold for one release, taken from the verified ledger.

Owns the step from ``Verified[ReleaseRevision]`` to objects by key. Promises that nothing but a ``Verified``
value becomes a plan and that manifests pass through unchanged: what was signed is what is applied. The one
thing set is ``spec.replicas`` of an object with a signed autoscale rule, within its bounds. Never adds a
label, a default or a namespace.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from consensus.verified import Verified
from k8s_bridge.objects import Identity, ObjectKey, key_of, parse_object_id
from ledger.authority.scope import touches_of_release
from ledger.errors import Code, Refused
from ledger.limits import OBJECTS_PER_RELEASE_MAX
from ledger.records import DesiredState
from ledger.release import ReleaseRevision
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired objects of one release.

    Attributes:
        chain_id: the ledger they come from.
        release: the release's name.
        revision: its revision.
        height: the height whose state was proven.
        objects: the signed manifests by key, in the order they were signed; none of a deleted release.
        removal: the release was deleted.
        prune: its objects are to go, too.
        recreate: what may be deleted and made anew where a change of it is not allowed.
        part: the objects are some of the release's; what is not among them is neither pruned nor forgotten.
    """

    chain_id: str
    release: str
    revision: int
    height: int
    objects: dict[ObjectKey, JsonObject]
    removal: bool = False
    prune: bool = True
    recreate: frozenset[ObjectKey] = frozenset()
    part: bool = False

    @property
    def identities(self) -> frozenset[Identity]:
        """The objects' names, versions aside."""
        return frozenset(key.identity for key in self.objects)

    def narrowed(self, keys: Collection[ObjectKey]) -> Desired:
        """Give some of the objects alone; of the others nothing is said."""
        objects = {key: manifest for key, manifest in self.objects.items() if key in keys}
        return replace(self, objects=objects, part=True)


def desired_of(verified: Verified[ReleaseRevision]) -> Desired:
    """Give the desired objects of a verified revision.

    Raises:
        TypeError: handed anything but a ``Verified`` release revision (our own bug, never input).
        Refused: EMPTY_RELEASE, OBJECT_INVALID, OBJECT_DUPLICATE, LIMIT_EXCEEDED, or LEDGER_RECORD_INVALID for
            replicas that no signed rule allows.
    """
    if not isinstance(verified, Verified) or not isinstance(verified.value, ReleaseRevision):
        raise TypeError("only a verified release revision can be desired")
    return draft_of(verified.value, verified.chain_id, verified.height)


def draft_of(revision: ReleaseRevision, chain_id: str, height: int) -> Desired:
    """Give what a revision would have a cluster hold, verified or only thought of; for people to look at.

    Raises:
        Refused: as ``desired_of``.
    """
    about = (chain_id, revision.name, revision.revision, height)
    if revision.state is DesiredState.DELETED:
        return Desired(*about, {}, removal=True, prune=revision.prune)
    if not revision.manifests:
        raise Refused(
            Code.EMPTY_RELEASE,
            got="no manifests",
            expected="at least one object",
            todo="an empty release would prune everything; removing a release is its own decision",
            release=revision.name,
            revision=revision.revision,
        )
    if len(revision.manifests) > OBJECTS_PER_RELEASE_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=len(revision.manifests),
            expected=f"at most {OBJECTS_PER_RELEASE_MAX} objects",
            release=revision.name,
        )
    recreate = frozenset(parse_object_id(text) for text in revision.recreate)
    return Desired(*about, _scaled(revision, _by_key(revision)), recreate=recreate)


def namespaces_of(revision: ReleaseRevision) -> frozenset[str]:
    """Give the namespaces a revision touches, as a freeze names them (docs/spec/authority.md §2)."""
    touches = touches_of_release(revision.name, revision.namespace, revision.manifests)
    return frozenset(touch.namespace for touch in touches)


def _scaled(revision: ReleaseRevision, objects: dict[ObjectKey, JsonObject]) -> dict[ObjectKey, JsonObject]:
    bounds = {rule.object: (rule.min_replicas, rule.max_replicas) for rule in revision.autoscale}
    replicas = dict(revision.replicas)
    for name, count in replicas.items():
        low, high = bounds.get(name, (0, -1))
        if not low <= count <= high:
            raise Refused(
                Code.LEDGER_RECORD_INVALID,
                got=f"{count} replicas of {name}",
                expected=f"{low} … {high}, as signed" if name in bounds else "no replicas without a rule",
                release=revision.name,
                object=name,
            )
    return {key: _with_replicas(m, replicas.get(str(key))) for key, m in objects.items()}


def _with_replicas(manifest: JsonObject, count: int | None) -> JsonObject:
    spec = manifest.get("spec")
    if count is None or not isinstance(spec, dict):
        return manifest
    return {**manifest, "spec": {**spec, "replicas": count}}


def _by_key(revision: ReleaseRevision) -> dict[ObjectKey, JsonObject]:
    objects: dict[ObjectKey, JsonObject] = {}
    seen: set[Identity] = set()
    for manifest in revision.manifests:
        key = key_of(manifest)
        if key.identity in seen:
            raise Refused(
                Code.OBJECT_DUPLICATE, got=str(key), expected="one manifest an object", release=revision.name
            )
        seen.add(key.identity)
        objects[key] = manifest
    return objects
