"""What observing and applying need of an API server.

Owns the seam between decisions and the wire: ``Cluster`` is ``client.KubernetesClient`` in production and an
in-memory API server in tests. Promises nothing by itself; never imports the Kubernetes client library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from k8s_bridge.objects import ObjectKey
from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Kind:
    """A served kind: its path parts and scope."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    listable: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Give the path of a collection, or of one object."""
        root = "apis" if "/" in self.api_version else "api"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"/{root}/{self.api_version}{scope}/{self.plural}{tail}"


NO_VERSION = "1"
"""A resource version that no object has: an apply that names it creates, or is refused with 409."""


def only_new(manifest: JsonObject) -> JsonObject:
    """Give the apply of a manifest that makes a new object, and changes none that is there."""
    return _with(manifest, resourceVersion=NO_VERSION)


def only_version(manifest: JsonObject, version: str) -> JsonObject:
    """Give the apply of a manifest to exactly this version of an object, or a new one where it is empty."""
    return _with(manifest, resourceVersion=version or NO_VERSION)


def only_same(manifest: JsonObject, uid: str) -> JsonObject:
    """Give the apply of a manifest to exactly this object, in whatever version."""
    return _with(manifest, uid=uid)


def _with(manifest: JsonObject, **conditions: str) -> JsonObject:
    return {**manifest, "metadata": {**manifest["metadata"], **conditions}}


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of an apply: the object as the server now holds it, and whether it is new."""

    live: JsonObject
    created: bool


class Cluster(Protocol):
    """One cluster's API server. Every method may raise ``EnvironmentFault``."""

    def kind_of(self, api_version: str, kind: str) -> Kind:
        """Find how a kind is served, or OBJECT_KIND_UNKNOWN."""
        ...

    def forget_kinds(self) -> None:
        """Forget what was discovered; after definitions changed."""
        ...

    def namespaced_kinds(self) -> Iterator[Kind]:
        """Give every namespaced kind that can be listed."""
        ...

    def get(self, key: ObjectKey) -> JsonObject | None:
        """Give the live object, or None."""
        ...

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        """Apply a manifest server-side as our field manager."""
        ...

    def take_over(self, key: ObjectKey, live: JsonObject, managed_fields: Sequence[JsonObject]) -> None:
        """Rewrite who owns which field of exactly this version of an object."""
        ...

    def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete exactly the object with this UID."""
        ...

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None, metadata_only: bool = False
    ) -> tuple[list[JsonObject], str]:
        """List a collection completely, with the resource version to watch from."""
        ...

    def watch(self, kind: Kind, namespace: str, resource_version: str) -> Iterator[JsonObject]:
        """Stream metadata-only watch events until the stream ends."""
        ...

    def wait_established(self, key: ObjectKey, timeout_s: float) -> None:
        """Wait until a definition serves its kinds, or TIMEOUT."""
        ...
