"""What a Kubernetes object must satisfy to be part of a release.

Owns object ids, the list of an object's images and the admission rules on single manifests, shared by the
command line (before signing), the replicated machine and the bridge. Never talks to Kubernetes.

Source: docs/spec/ledger.md §2.
"""

from __future__ import annotations

import re

from ledger import shape
from ledger.errors import Code, Refused
from ledger.limits import OBJECTS_PER_RELEASE_MAX
from ledger.types import Json, JsonObject

CLUSTER_SCOPE = "-"
"""Stands for the namespace in the id of a cluster-scoped object."""

_SERVER_FIELDS = (
    "uid", "resourceVersion", "managedFields", "generateName", "creationTimestamp", "generation", "selfLink",
)  # fmt: skip
_POD_SPECS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "PodTemplate"): ("template", "spec"),
    ("", "ReplicationController"): ("spec", "template", "spec"),
    ("apps", "Deployment"): ("spec", "template", "spec"),
    ("apps", "DaemonSet"): ("spec", "template", "spec"),
    ("apps", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps", "StatefulSet"): ("spec", "template", "spec"),
    ("batch", "Job"): ("spec", "template", "spec"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
}
_PINNED = re.compile(r"[!-?A-~]+@sha256:[0-9a-f]{64}")
_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_API_VERSION_MAX = 317
"""A DNS subdomain of 253 characters, a slash and a label of 63."""
_OBJECT_NAME = re.compile(r"[!-$&-.0-~]{1,253}")
"""Printable ASCII without / and %: what a reviewer sees is what is there."""


def group_of(manifest: JsonObject) -> str:
    """Give the API group of a manifest, empty for the core group."""
    head, slash, _ = str(manifest["apiVersion"]).rpartition("/")
    return head if slash else ""


def object_id(manifest: JsonObject) -> str:
    """Give ``apiVersion/Kind/namespace/name``, with ``-`` for no namespace."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace") or CLUSTER_SCOPE
    return f"{manifest['apiVersion']}/{manifest['kind']}/{namespace}/{metadata['name']}"


def identity(manifest: JsonObject) -> tuple[str, str, str, str]:
    """Give what makes an object the same one across API versions: group, kind, namespace, name."""
    metadata = manifest["metadata"]
    return group_of(manifest), manifest["kind"], metadata.get("namespace") or "", metadata["name"]


def pod_spec_path(manifest: JsonObject) -> tuple[str, ...] | None:
    """Give where an object of a workload's kind holds its pod's spec; None for other kinds."""
    return _POD_SPECS.get((group_of(manifest), str(manifest.get("kind"))))


def images(manifest: JsonObject) -> list[tuple[str, str]]:
    """List the container images of a workload as (path, image); a kind without pods has none."""
    path = pod_spec_path(manifest)
    if path is None:
        return []
    node: Json = manifest
    for step in path:
        node = node.get(step) if type(node) is dict else None
    found: list[tuple[str, str]] = []
    for group in ("initContainers", "containers", "ephemeralContainers"):
        containers = node.get(group) if type(node) is dict else None
        for index, container in enumerate(containers if type(containers) is list else []):
            image = container.get("image") if type(container) is dict else None
            if type(image) is str:
                found.append((f"{'.'.join(path)}.{group}[{index}].image", image))
    volumes = node.get("volumes") if type(node) is dict else None
    for index, volume in enumerate(volumes if type(volumes) is list else []):
        source = volume.get("image") if type(volume) is dict else None
        reference = source.get("reference") if type(source) is dict else None
        if type(reference) is str:
            found.append((f"{'.'.join(path)}.volumes[{index}].image.reference", reference))
    return found


def is_pinned(image: str) -> bool:
    """Tell whether an image reference names its content by SHA-256 digest."""
    return _PINNED.fullmatch(image) is not None


def check(manifest: Json, where: str) -> None:
    """Check the form of one manifest.

    Raises:
        Refused: OBJECT_INVALID with the object's path, or SECRET_WITH_DATA.
    """
    if type(manifest) is not dict:
        raise _invalid(where, manifest, "a Kubernetes object")
    api_version, kind, metadata = (manifest.get(key) for key in ("apiVersion", "kind", "metadata"))
    if (
        type(api_version) is not str
        or len(api_version) > _API_VERSION_MAX
        or not _API_VERSION.fullmatch(api_version)
    ):
        raise _invalid(f"{where}.apiVersion", api_version, "group/version or version")
    if type(kind) is not str or not _KIND.fullmatch(kind) or (kind.endswith("List") and "items" in manifest):
        raise _invalid(f"{where}.kind", kind, "the kind of a single object")
    _check_metadata(metadata, f"{where}.metadata")
    if "status" in manifest:
        raise _invalid(f"{where}.status", "a status", "only what the author wants")
    if group_of(manifest) == "" and kind == "Secret" and (manifest.get("data") or manifest.get("stringData")):
        raise Refused(
            Code.SECRET_WITH_DATA,
            got=object_id(manifest),
            expected="a Secret without data or stringData",
            todo="create the Secret's data on the cluster itself; the ledger is readable by every node",
            object=object_id(manifest),
        )


def _check_metadata(metadata: Json, where: str) -> None:
    if type(metadata) is not dict:
        raise _invalid(where, metadata, "an object with a name")
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if type(name) is not str or not _OBJECT_NAME.fullmatch(name) or name in (".", ".."):
        raise _invalid(f"{where}.name", name, "printable ASCII without / and %, at most 253 characters")
    if namespace is not None:
        try:
            shape.name(namespace, f"{where}.namespace")
        except Refused:
            raise _invalid(f"{where}.namespace", namespace, "a DNS label") from None
    for field in _SERVER_FIELDS:
        if field in metadata:
            raise _invalid(f"{where}.{field}", metadata[field], "only fields that the author sets")


def check_all(manifests: list[Json], *, image_digest_required: bool) -> None:
    """Check all manifests of a release.

    Raises:
        Refused: OBJECT_INVALID, SECRET_WITH_DATA, OBJECT_DUPLICATE, LIMIT_EXCEEDED, or IMAGE_NOT_PINNED whose
            ``images`` fact lists every unpinned image with its object and path.
    """
    shape.array(manifests, "manifests", items_max=OBJECTS_PER_RELEASE_MAX)
    seen: set[tuple[str, str, str, str]] = set()
    unpinned: list[dict[str, str]] = []
    for index, manifest in enumerate(manifests):
        check(manifest, f"manifests[{index}]")
        if identity(manifest) in seen:
            raise Refused(
                Code.OBJECT_DUPLICATE,
                got=object_id(manifest),
                expected="each object once",
                object=object_id(manifest),
            )
        seen.add(identity(manifest))
        unpinned += [
            {"object": object_id(manifest), "path": path, "image": image}
            for path, image in images(manifest)
            if not is_pinned(image)
        ]
    if unpinned and image_digest_required:
        raise Refused(
            Code.IMAGE_NOT_PINNED,
            got=f"{len(unpinned)} unpinned images, first {unpinned[0]['image']} in {unpinned[0]['object']}",
            expected="every image as name@sha256:…",
            todo="map tags to digests with --pin FILE",
            images=unpinned,
        )


def _invalid(where: str, value: Json, expected: str) -> Refused:
    got = "null" if value is None else repr(value)
    return Refused(Code.OBJECT_INVALID, got=got, expected=expected, field=where)
