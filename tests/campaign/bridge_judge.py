"""Whether a cluster is what its ledger wants, and nothing of anybody else's was touched.

Owns the comparison at the end of a round, without the bridge's own way of comparing: what an object should be
is what the API server makes of its manifest under another name, asked as an administrator.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from k8s_bridge.client import APPLY, KubernetesClient
from k8s_bridge.cluster import Kind
from k8s_bridge.compare import FIELD_MANAGER
from k8s_bridge.connection import Connection
from k8s_bridge.inventory import MARK_LABEL, Inventory, decode
from k8s_bridge.objects import Identity, ObjectKey, field, key_of, uid_of
from k8s_bridge.store import DEFAULT_NAMESPACE
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

TRIAL = "trial"
_SERVER_KEEPS = ("name", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
_ASSIGNED = {"Service": ("clusterIP", "clusterIPs")}
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the ledger wants of one release: its newest revision and its manifests, none of a deleted one.

    No revision: it was deleted, and the cluster has reported so.
    """

    revision: int | None
    manifests: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the specification leaves although nobody wants it.

    Attributes:
        containers: that held objects of others (bridge.md §5), by identity.
        unapplied: UIDs of objects whose record of ownership somebody emptied (bridge.md §5).
    """

    containers: Collection[Identity] = ()
    unapplied: Collection[str] = ()


class Judge:
    """Looks at one cluster as an administrator."""

    def __init__(self, connection: Connection, client: KubernetesClient) -> None:
        self._connection, self._client = connection, client
        self._fresh: dict[str, JsonObject] = {}

    def differences(self, wishes: Mapping[str, Wish], allowed: Allowed) -> list[str]:
        """Name everything in which cluster and records differ from what is wanted."""
        self._client.forget_kinds()
        wanted = {key_of(m): m for wish in wishes.values() for m in wish.manifests}
        found = [said for key, manifest in wanted.items() for said in self._object(key, manifest)]
        identities = {key.identity for key in wanted}
        for key, live in self._applied():
            if key.identity not in identities and key.identity not in allowed.containers:
                found.append(f"{key} ({uid_of(live)}) is ours and nobody wants it")
        return found + list(self._records(wishes, allowed))

    def touched(self, foreign: Mapping[ObjectKey, JsonObject]) -> list[str]:
        """Name the objects of others that are not as their owner left them."""
        found = []
        for key, left in foreign.items():
            live = self._get(key)
            if live != left:
                found.append(f"{key} of others: {_first_difference(left, live)}")
        return found

    # -- one object -----------------------------------------------------------------------------

    def _object(self, key: ObjectKey, manifest: JsonObject) -> Iterator[str]:
        live = self._get(key)
        if live is None:
            yield f"{key} is wanted and not there"
            return
        if "deletionTimestamp" in live["metadata"]:
            yield f"{key} is being deleted"
            return
        fresh = self._made_anew(key, manifest)
        difference = _first_difference(_content(fresh, key), _content(live, key))
        if difference:
            yield f"{key}: {difference}"
        if _ours(live) != _ours(fresh):
            yield f"{key}: owned as {json.dumps(_ours(live))}, not as {json.dumps(_ours(fresh))}"

    def _made_anew(self, key: ObjectKey, manifest: JsonObject) -> JsonObject:
        text = json.dumps(manifest, sort_keys=True)
        if text not in self._fresh:
            trial = _renamed(key, manifest)
            name = key_of(trial)
            path = self._client.kind_of(key.api_version, key.kind).path(key.namespace, name.name)
            options: Any = {"field_manager": FIELD_MANAGER, "dry_run": "All", "content_type": APPLY}
            self._fresh[text] = self._connection.ask("patch", path, body=trial, **options)[1]
        return self._fresh[text]

    def _get(self, key: ObjectKey) -> JsonObject | None:
        try:
            return self._client.get(key)
        except EnvironmentFault as fault:
            if fault.code is not Code.OBJECT_KIND_UNKNOWN:
                raise
            return None

    # -- all objects ----------------------------------------------------------------------------

    def _applied(self) -> Iterator[tuple[ObjectKey, JsonObject]]:
        """Give every object of the cluster that we applied, our own records aside."""
        for kind in self._kinds():
            for item in self._client.list(kind, metadata_only=True)[0]:
                key = key_of({**item, "apiVersion": kind.api_version, "kind": kind.kind})
                if _ours(item) is not None and not _is_record(key, item):
                    yield key, item

    def kinds(self) -> dict[tuple[str, str], str]:
        """Give the kind behind each group and resource."""
        return {(_group(kind.api_version), kind.plural): kind.kind for kind in self._kinds()}

    def _kinds(self) -> Iterator[Kind]:
        groups = self._connection.ask("get", "/apis")[1]["groups"]
        # A kind may be missing from its group's preferred version; one that is in several is one.
        seen: set[tuple[str, str]] = set()
        for version in ["v1", *(v["groupVersion"] for group in groups for v in group["versions"])]:
            root = "apis" if "/" in version else "api"
            try:
                _, answer = self._connection.ask("get", f"/{root}/{version}")
            except EnvironmentFault as fault:
                # A group that goes away with its definition.
                if fault.facts.get("status") not in {404, 503}:
                    raise
                continue
            for resource in answer["resources"]:
                about = (_group(version), resource["kind"])
                if "/" not in resource["name"] and "list" in resource["verbs"] and about not in seen:
                    seen.add(about)
                    named = (resource["kind"], resource["name"], resource["namespaced"])
                    yield Kind(version, *named, listable=True)

    # -- the records ----------------------------------------------------------------------------

    def _records(self, wishes: Mapping[str, Wish], allowed: Allowed) -> Iterator[str]:
        kind = self._client.kind_of("v1", "ConfigMap")
        items, _ = self._client.list(kind, DEFAULT_NAMESPACE, label=f"{MARK_LABEL}=true")
        records = {record.release: record for record in map(decode, items)}
        for name in sorted(wishes.keys() | records.keys()):
            if name not in wishes or name not in records:
                yield f"{name}: {'a record without a release' if name in records else 'no record'}"
            else:
                yield from self._record(records[name], wishes[name], allowed)

    def _record(self, record: Inventory, wish: Wish, allowed: Allowed) -> Iterator[str]:
        if wish.revision is not None and record.revision != wish.revision:
            yield f"{record.release}: the record says revision {record.revision}, not {wish.revision}"
        wanted = {key_of(manifest).identity: key_of(manifest) for manifest in wish.manifests}
        for identity, entry in record.entries.items():
            kept = identity in allowed.containers or entry.uid in allowed.unapplied
            if identity not in wanted and not kept:
                yield f"{record.release}: {entry.key} is recorded and not wanted"
        for identity, key in wanted.items():
            known = record.entries.get(identity)
            if known is None or known.uid != uid_of(self._get(key)):
                yield f"{record.release}: {key} is recorded as {known}"


def _renamed(key: ObjectKey, manifest: JsonObject) -> JsonObject:
    """Give a manifest under a name that nothing has."""
    made = copy.deepcopy(manifest)
    if key.kind == "CustomResourceDefinition":
        made["spec"]["group"] = f"{TRIAL}.{manifest['spec']['group']}"
        made["metadata"]["name"] = f"{manifest['spec']['names']['plural']}.{made['spec']['group']}"
    else:
        made["metadata"]["name"] = f"{TRIAL}-{key.name}"
    return made


def _content(live: JsonObject, key: ObjectKey) -> JsonObject:
    """Give what is in an object, without what the API server assigns to it and its name."""
    made = copy.deepcopy({name: value for name, value in live.items() if name != "status"})
    metadata = made["metadata"]
    for name in _SERVER_KEEPS:
        metadata.pop(name, None)
    for name in _ASSIGNED.get(key.kind, ()):
        made["spec"].pop(name, None)
    for holder, name in (("labels", "kubernetes.io/metadata.name"), ("annotations", _REVISION)):
        if key.kind in {"Namespace", "Deployment"}:
            metadata.get(holder, {}).pop(name, None)
        if metadata.get(holder) == {}:
            del metadata[holder]
    if key.kind == "CustomResourceDefinition":
        del made["spec"]["group"]
    return made


def _ours(live: JsonObject) -> Any:
    """Give the fields that our apply owns; None where it owns none."""
    for entry in field(live, "metadata", "managedFields") or ():
        if (entry["manager"], entry["operation"], entry.get("subresource")) == (FIELD_MANAGER, "Apply", None):
            return entry["fieldsV1"]
    return None


def _is_record(key: ObjectKey, live: JsonObject) -> bool:
    if key.kind == "ConfigMap" and key.namespace == DEFAULT_NAMESPACE:
        return MARK_LABEL in (field(live, "metadata", "labels") or {})
    return (key.kind, key.name) == ("Namespace", DEFAULT_NAMESPACE)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _first_difference(wanted: Any, live: Any, path: str = "") -> str:
    """Say where two values differ first; nothing where they do not."""
    if wanted == live:
        return ""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for name in sorted(wanted.keys() | live.keys()):
            said = _first_difference(wanted.get(name), live.get(name), f"{path}.{name}")
            if said:
                return said
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            said = _first_difference(one, other, f"{path}[{index}]")
            if said:
                return said
    return f"{path or 'all of it'} is {json.dumps(live)}, not {json.dumps(wanted)}"
