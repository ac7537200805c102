"""What a cluster must hold for one release, taken from the verified ledger.

Owns the step from ``Verified[ReleaseRevision]`` to objects by key. Promises that nothing but a ``Verified``
value becomes desired and that manifests pass through unchanged: what was signed is what is applied. Never
adds a label, a default or a namespace.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.verified import Verified
from k8s_bridge.objects import Identity, ObjectKey, key_of
from ledger.errors import Code, Refused
from ledger.limits import OBJECTS_PER_RELEASE_MAX
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
        objects: the signed manifests by key, in the order they were signed.
    """

    chain_id: str
    release: str
    revision: int
    height: int
    objects: dict[ObjectKey, JsonObject]

    @property
    def identities(self) -> frozenset[Identity]:
        """The objects' names, versions aside."""
        return frozenset(key.identity for key in self.objects)


def desired_of(verified: Verified[ReleaseRevision]) -> Desired:
    """Give the desired objects of a verified revision.

    Raises:
        TypeError: handed anything but a ``Verified`` release revision (our own bug, never input).
        Refused: EMPTY_RELEASE, OBJECT_INVALID, OBJECT_DUPLICATE or LIMIT_EXCEEDED.
    """
    if not isinstance(verified, Verified) or not isinstance(verified.value, ReleaseRevision):
        raise TypeError("only a verified release revision can be desired")
    revision = verified.value
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
    return Desired(verified.chain_id, revision.name, revision.revision, verified.height, _by_key(revision))


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
