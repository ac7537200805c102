"""A model's typed changes to a release, applied to the manifests that operators signed.

Owns the joining of the newest signed release with images, replicas, whole objects and removals. Promises
that what is not named stays byte for byte as it was signed, that every name has to exist, and that the result
passes the ledger's own reading of a release. Pure; never reads YAML. Source: docs/spec/ledger.md §2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger import canonical, manifest, release_spec
from ledger.changes import Release, read_release
from ledger.errors import Code, Refused
from ledger.types import API_VERSION, Json, JsonObject, sha256

EDITS_MAX = 64
"""Of each kind in one proposal."""
IDS_TOLD_MAX = 20
SCALABLE = (("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "ReplicaSet"))
_CONTAINERS = ("initContainers", "containers")


@dataclass(frozen=True, slots=True)
class Image:
    """The image a container of an object shall have."""

    object: str
    container: str
    image: str


@dataclass(frozen=True, slots=True)
class Edits:
    """What shall be different.

    Attributes:
        images: by object and container.
        replicas: (object, number).
        objects: whole objects, new or in place of the one of the same identity.
        remove: ids of objects that shall go.
        clusters: where a new release goes; of one that exists, where it goes from now on.
        namespace: of a new release.
    """

    images: tuple[Image, ...] = ()
    replicas: tuple[tuple[str, int], ...] = ()
    objects: tuple[JsonObject, ...] = ()
    remove: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    namespace: str | None = None


@dataclass
class _Content:
    """Manifests by identity, in the order they were signed."""

    manifests: dict[tuple[str, str, str, str], JsonObject] = field(default_factory=dict)

    def of(self, identifier: str, where: str) -> JsonObject:
        """Give the object of an id."""
        for found in self.manifests.values():
            if manifest.object_id(found) == identifier:
                return found
        known = [manifest.object_id(found) for found in self.manifests.values()]
        told = ", ".join(known[:IDS_TOLD_MAX])
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got="an id that is not of this release",
            expected=f"{told}{', …' if len(known) > IDS_TOLD_MAX else ''}",
            todo="see get_object with kind Release",
            field=where,
        )


def release_object(name: str, old: Release | None, edits: Edits, *, renderer: str) -> JsonObject:
    """Give the ``Release`` object that a proposal carries.

    Args:
        name: of the release.
        old: the newest content as signed; None where the ledger has no such release.
        edits: what shall be different.
        renderer: what made it, for its provenance.

    Raises:
        Refused: OBJECT_UNKNOWN, FIELD_MISSING, FIELD_INVALID; any code of ``ledger.changes.read_release``.
    """
    content = _Content()
    for signed in old.manifests if old is not None else ():
        content.manifests[manifest.identity(signed)] = copy.deepcopy(signed)
    _remove(content, edits.remove)
    _put(content, edits.objects)
    for number, wanted in enumerate(edits.images):
        _set_image(content.of(wanted.object, f"arguments.images[{number}].object"), wanted, number)
    for identifier, replicas in edits.replicas:
        _set_replicas(content.of(identifier, "arguments.object"), replicas, old)
    manifests = list(content.manifests.values())
    spec = _delivery(old, edits)
    if old is not None and manifests == list(old.manifests) and spec == _as_signed(old):
        raise Refused(
            Code.FIELD_INVALID,
            got="the release as it is",
            expected="at least one difference",
            field="arguments",
        )
    spec |= {
        "manifests": manifests,
        "provenance": {
            "source": "yaml",
            "digest": sha256(canonical.dump(manifests)).hex(),
            "renderer": renderer,
        },
    }
    found = {"apiVersion": API_VERSION, "kind": "Release", "metadata": {"name": name}, "spec": spec}
    # Whether digests are required is the ledger's parameter: the dry run before the signature tells.
    read_release(found, image_digest_required=False, where="arguments")
    return found


def _delivery(old: Release | None, edits: Edits) -> JsonObject:
    if old is None:
        for value, where in ((edits.clusters, "clusters"), (edits.namespace, "namespace")):
            if not value:
                raise Refused(
                    Code.FIELD_MISSING,
                    got="a release that is new",
                    expected=f"its {where}",
                    field=f"arguments.{where}",
                )
        return {"clusters": sorted(edits.clusters), "namespace": edits.namespace}
    if edits.namespace not in (None, old.namespace):
        raise Refused(
            Code.FIELD_INVALID,
            got="another namespace",
            expected=f"{old.namespace}, or nothing: a release keeps its namespace",
            field="arguments.namespace",
        )
    found = _as_signed(old)
    if edits.clusters:
        found.pop("selector", None)
        found["clusters"] = sorted(edits.clusters)
    return found


def _as_signed(old: Release) -> JsonObject:
    found = {**copy.deepcopy(old.spec), "namespace": old.namespace}
    return found if "selector" in found else {**found, "clusters": list(old.clusters)}


def _remove(content: _Content, identifiers: Sequence[str]) -> None:
    for number, identifier in enumerate(identifiers):
        gone = content.of(identifier, f"arguments.remove[{number}]")
        del content.manifests[manifest.identity(gone)]


def _put(content: _Content, objects: Sequence[JsonObject]) -> None:
    manifest.check_all(list(objects), image_digest_required=False)
    for wanted in objects:
        content.manifests[manifest.identity(wanted)] = wanted


def _set_image(target: JsonObject, wanted: Image, number: int) -> None:
    for container in _containers(target):
        if container.get("name") == wanted.container:
            container["image"] = wanted.image
            return
    names = [str(each.get("name")) for each in _containers(target)]
    raise Refused(
        Code.FIELD_INVALID,
        got="a container that the object has not",
        expected=", ".join(names[:IDS_TOLD_MAX]) or "an object with containers",
        field=f"arguments.images[{number}].container",
    )


def _containers(target: JsonObject) -> list[JsonObject]:
    node: Json = target
    for step in manifest.pod_spec_path(target) or ("",):
        node = node.get(step) if type(node) is dict else None
    found: list[JsonObject] = []
    for group in _CONTAINERS if type(node) is dict else ():
        listed = node.get(group)
        found += [each for each in (listed if type(listed) is list else []) if type(each) is dict]
    return found


def _set_replicas(target: JsonObject, replicas: int, old: Release | None) -> None:
    spec = target.get("spec")
    if (manifest.group_of(target), target["kind"]) not in SCALABLE or type(spec) is not dict:
        raise _unscalable("an object without replicas", ", ".join(kind for _, kind in SCALABLE))
    rules = [] if old is None else release_spec.read_autoscale(old.spec, "spec")
    if manifest.object_id(target) in [rule.object for rule in rules]:
        raise _unscalable("an object whose replicas follow an autoscale rule", "another object")
    spec["replicas"] = replicas


def _unscalable(got: str, expected: str) -> Refused:
    return Refused(Code.FIELD_INVALID, got=got, expected=expected, field="arguments.object")
