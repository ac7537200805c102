"""What no API server would take as it stands, found before anybody signs it.

Owns the rules on an author's objects beyond the ledger's own (``ledger.manifest``), and the naming of file,
line and field for both. Promises that a refusal says where the object came from and which field it is about.
Whether a cluster serves a custom kind, and what its schema says, nobody knows here: the bridge reports that.
Pure.

Source: Kubernetes' rules on object names and sizes; docs/spec/bridge.md (what reaches the ledger all the
same).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from conclave.render.objects import Placed
from conclave.render.removed_apis import GROUPS_GONE, REMOVED
from conclave.render.scopes import CLUSTER_SCOPED, NAMESPACED
from ledger import canonical, manifest
from ledger.errors import Code, ConclaveError, Refused
from ledger.limits import MIB
from ledger.manifest import group_of, identity, object_id
from ledger.types import Json, JsonObject

OBJECT_BYTES_MAX = MIB
"""Of canonical JSON. etcd takes 1.5 MiB with all that the API server adds; a ConfigMap's data may have 1
MiB."""
_BUILT_IN = CLUSTER_SCOPED | NAMESPACED
_BUILT_IN_GROUPS = frozenset(group for group, _ in _BUILT_IN)
_RBAC = "rbac.authorization.k8s.io"
_ORIGIN = re.compile(r"(?P<file>.*):(?P<line>[0-9]+)(?: items\[.*)?", re.DOTALL)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def check_kinds(placed: Iterable[Placed]) -> None:
    """Refuse kinds that no Kubernetes serves.

    Raises:
        Refused: OBJECT_INVALID for an API version that was removed, OBJECT_KIND_UNKNOWN for a kind that a
        group of
            Kubernetes' own does not have; with file, line and field.
    """
    for item in placed:
        api_version, kind = str(item.manifest["apiVersion"]), str(item.manifest["kind"])
        group = group_of(item.manifest)
        gone = REMOVED.get((api_version, kind))
        if gone is not None:
            raise _refusal(
                item, "apiVersion", f"{api_version} {kind}, which Kubernetes {gone[0]} removed", gone[1]
            )
        if group in GROUPS_GONE or (group in _BUILT_IN_GROUPS and (group, kind) not in _BUILT_IN):
            near = difflib.get_close_matches(kind, [name for where, name in _BUILT_IN if where == group], n=3)
            expected = " or ".join(near) or "a kind of Kubernetes, or of a definition with a group of its own"
            raise _refusal(item, "kind", f"{kind} of {api_version}", expected, Code.OBJECT_KIND_UNKNOWN)


def check_objects(placed: list[Placed]) -> None:
    """Refuse what the ledger or any API server would refuse of single objects, and of two together.

    Raises:
        Refused: OBJECT_INVALID, SECRET_WITH_DATA, LIMIT_EXCEEDED, OBJECT_DUPLICATE; with file, line and
        field.
    """
    for item in placed:
        _check_ledger_rules(item)
        _check_name(item)
        _check_nulls(item)
        size = len(canonical.dump(item.manifest))
        if size > OBJECT_BYTES_MAX:
            raise _refusal(
                item,
                _largest_field(item.manifest),
                f"{size} bytes of JSON",
                f"at most {OBJECT_BYTES_MAX}: no API server keeps larger ones",
                Code.LIMIT_EXCEEDED,
            )
    _check_twins(placed)


def _check_ledger_rules(item: Placed) -> None:
    try:
        manifest.check(item.manifest, "")
    except ConclaveError as error:
        field = str(error.facts.get("field", "")).lstrip(".")
        raise _refusal(item, field, error.got, error.expected, error.code) from error


def _check_name(item: Placed) -> None:
    """RBAC's names may hold anything that a path may; all other kinds of Kubernetes have DNS names."""
    group_kind = (group_of(item.manifest), item.manifest["kind"])
    name = item.manifest["metadata"]["name"]
    if group_kind in _BUILT_IN and group_kind[0] != _RBAC and not _SUBDOMAIN.fullmatch(name):
        raise _refusal(item, "metadata.name", name, "a DNS name: lower-case letters, digits, - and .")


def _check_nulls(item: Placed) -> None:
    """Refuse null: it means absent in one field and empty text in another. Custom kinds may mean it."""
    group_kind = (group_of(item.manifest), item.manifest["kind"])
    if group_kind not in _BUILT_IN or group_kind[1] == "CustomResourceDefinition":
        return
    pending: list[tuple[str, Json]] = [("", item.manifest)]
    while pending:
        path, value = pending.pop()
        if value is None:
            raise _refusal(item, path.lstrip("."), "null", "a value, or no such field")
        if isinstance(value, dict):
            pending += [(f"{path}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            pending += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]


def _check_twins(placed: list[Placed]) -> None:
    seen: dict[tuple[str, ...], Placed] = {}
    for item in placed:
        exact = identity(item.manifest)
        folded = tuple(part.lower() for part in exact)
        first = seen.setdefault(folded, item)
        if first is item:
            continue
        same = identity(first.manifest) == exact
        expected = "each object once" if same else "names that differ by more than case"
        raise _refusal(
            item,
            "metadata.name",
            f"{object_id(item.manifest)}, and {object_id(first.manifest)} at {first.origin}",
            expected,
            Code.OBJECT_DUPLICATE,
        )


def _largest_field(content: JsonObject) -> str:
    sizes = {name: len(canonical.dump(value)) for name, value in content.items()}
    return max(sizes, key=lambda name: sizes[name])


def _refusal(item: Placed, field: str, got: str, expected: str, code: Code = Code.OBJECT_INVALID) -> Refused:
    found = _ORIGIN.fullmatch(item.origin)
    where: JsonObject = {} if found is None else {"file": found["file"], "line": int(found["line"])}
    return Refused(
        code,
        got=f"{item.origin}: {field}: {got}" if field else f"{item.origin}: {got}",
        expected=expected,
        todo=_TODO.get(code, "correct the object at that place, or take it out of the release"),
        field=field,
        object=object_id(item.manifest),
        **where,
    )


_TODO = {
    Code.LIMIT_EXCEEDED: "split the object",
    Code.OBJECT_DUPLICATE: "keep one, or rename one",
    Code.SECRET_WITH_DATA: "make the Secret's data on the cluster itself",
}
