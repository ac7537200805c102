"""What a Kubernetes object is called, and reading its fields safely.

Owns ``ObjectKey`` and the object id text form of docs/spec/ledger.md §2. Promises that a key survives the
round trip through its text, and that two versions of one API group name the same object. Never guesses a
missing name, never changes a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ledger.errors import Code, Refused
from ledger.limits import OBJECT_ID_BYTES_MAX
from ledger.manifest import CLUSTER_SCOPE
from ledger.types import JsonObject

STEM_CHARACTERS = 30
"""What a name tried in a dry run keeps of the real one: short enough for every kind."""
Identity = tuple[str, str, str, str]
"""(group, kind, namespace or "", name): what the API server holds one of, whatever the version."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """The full name of an object.

    Attributes:
        api_version: ``v1`` or ``group/version``.
        kind: the kind.
        namespace: empty for a cluster-scoped object.
        name: the name.
    """

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def identity(self) -> Identity:
        """The name without the version: ``apps/v1beta1`` and ``apps/v1`` hold the same Deployment."""
        return (self.group, self.kind, self.namespace, self.name)

    @property
    def is_namespace(self) -> bool:
        """Whether it is a namespace; other groups have kinds of that name."""
        return (self.group, self.kind) == ("", "Namespace")

    @property
    def is_definition(self) -> bool:
        """Whether it is a CustomResourceDefinition of Kubernetes' own."""
        return (self.group, self.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition")

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}/{self.namespace or CLUSTER_SCOPE}/{self.name}"


def parse_object_id(text: str) -> ObjectKey:
    """Read an object id (docs/spec/ledger.md §2).

    Raises:
        Refused: OBJECT_INVALID.
    """
    parts = text.split("/") if len(text.encode()) <= OBJECT_ID_BYTES_MAX else []
    if len(parts) not in {4, 5} or not all(parts):
        raise Refused(
            Code.OBJECT_INVALID, got=text, expected="apiVersion/Kind/namespace/name", field="object"
        )
    *api_version, kind, namespace, name = parts
    return ObjectKey("/".join(api_version), kind, "" if namespace == CLUSTER_SCOPE else namespace, name)


def key_of(manifest: object) -> ObjectKey:
    """Give the key of a Kubernetes object.

    Raises:
        Refused: OBJECT_INVALID, naming the field that is missing or of another type.
    """
    if not isinstance(manifest, Mapping):
        raise Refused(Code.OBJECT_INVALID, got=type(manifest).__name__, expected="a JSON object", field="")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping):
        raise Refused(Code.OBJECT_INVALID, got=metadata, expected="a JSON object", field="metadata")
    namespace = metadata.get("namespace", "")
    if not isinstance(namespace, str):
        raise Refused(Code.OBJECT_INVALID, got=namespace, expected="text", field="metadata.namespace")
    key = ObjectKey(
        _text(manifest.get("apiVersion"), "apiVersion"),
        _text(manifest.get("kind"), "kind"),
        namespace,
        _text(metadata.get("name"), "metadata.name"),
    )
    # A name with a slash would make another object's id.
    if parse_object_id(str(key)) != key:
        raise Refused(Code.OBJECT_INVALID, got=str(key), expected="names without '/'", field="metadata.name")
    return key


def trial_name(name: str) -> str:
    """Give the name under which a dry run asks whether an object could be made anew."""
    return f"{name[:STEM_CHARACTERS].rstrip('-.')}-{sha256(name.encode()).hexdigest()[:8]}"


def field(value: object, *path: str) -> Any:
    """Give the value at ``path``, or None where any step of it is absent or of another shape."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def defined_kind(definition: JsonObject | None) -> tuple[str, str]:
    """Give the group and the kind that a definition defines."""
    return (str(field(definition, "spec", "group")), str(field(definition, "spec", "names", "kind")))


def content_of(live: JsonObject) -> JsonObject:
    """Give a live object as a manifest of all that is in it: without status and what the API server keeps."""
    metadata = {name: value for name, value in live["metadata"].items() if name not in _KEPT_BY_SERVER}
    return {**{name: value for name, value in live.items() if name != "status"}, "metadata": metadata}


_KEPT_BY_SERVER = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def metadata_text(live: JsonObject | None, name: str) -> str:
    """Give a text field of an object's metadata, empty where absent."""
    found = field(live, "metadata", name)
    return found if isinstance(found, str) else ""


def uid_of(live: JsonObject | None) -> str:
    """Give the UID of a live object, empty where absent."""
    return metadata_text(live, "uid")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise Refused(Code.OBJECT_INVALID, got=value, expected="text", field=name)
    return value
