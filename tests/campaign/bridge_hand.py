"""The hand of a cluster's administrator in a bridge campaign: edits of what is ours, objects beside it.

Owns what it did: every object of its own as its last write left it, whose objects it hid from the record of
ownership, and which containers it used. Promises never to delete a container that holds an object of its own,
so that what is gone was taken by somebody else.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

from k8s_bridge.client import APPLY, JSON_PATCH, KubernetesClient
from k8s_bridge.compare import FIELD_MANAGER, owned_by
from k8s_bridge.connection import Connection
from k8s_bridge.objects import ObjectKey, key_of, uid_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.campaign.bridge_releases import EXTRA, GROUP, POOL
from tests.support.manifests import IMAGE, config_map, widget

MERGE = "application/merge-patch+json"
MANAGERS = ("kubectl-edit", "kubectl-client-side-apply", "helm", FIELD_MANAGER)
"""Whoever edits may call themselves anything."""
REACHED_S_MAX = 240.0
CONTAINERS = frozenset({"Namespace", "CustomResourceDefinition"})

TARGETS: tuple[ObjectKey, ...] = tuple(
    sorted({key_of(drawn(random.Random(0))) for pool in POOL.values() for drawn in pool.values()})  # noqa: S311
)
"""Every object that a release may have."""

_CHANGES: dict[str, Callable[[str], JsonObject]] = {
    "ConfigMap": lambda text: {"data": {"key": text, "theirs": text}},
    "Deployment": lambda text: {"spec": {"replicas": 3, "paused": True}},
    "Service": lambda text: {"spec": {"externalIPs": ["203.0.113.1"], "ports": [{"port": 99}]}},
    "Role": lambda text: {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
    "ClusterRole": lambda text: {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
    "Widget": lambda text: {"spec": {"size": 1000, "theirs": text}},
    "ServiceAccount": lambda text: {"automountServiceAccountToken": False},
}


class Hand:
    """An administrator with ``kubectl``; for one thread at a time.

    Attributes:
        foreign: its own objects as its last write left each.
        stripped: UIDs of objects whose record of ownership it emptied.
        used: containers that it has put an object into.
        placed: names under which it made something in the place of what is ours.
    """

    def __init__(self, connection: Connection, client: KubernetesClient) -> None:
        self._connection, self._client = connection, client
        self.foreign: dict[ObjectKey, JsonObject] = {}
        self.stripped: set[str] = set()
        self.used: set[ObjectKey] = set()
        self.placed: set[ObjectKey] = set()
        self._count = 0

    # -- what is ours ---------------------------------------------------------------------------

    def edit(self, chance: random.Random) -> str:
        """Do something to an object that a release may have; gives what was done."""
        key = chance.choice(TARGETS)
        how = chance.choice(_EDITS)
        manager = chance.choice(MANAGERS)
        try:
            live = self._client.get(key)
            if live is None:
                return f"{key} is not there"
            done = how(self, key, live, manager, f"{chance.randrange(1 << 20):x}")
            if done and how in _TAKES:
                # What is no longer ours holds its container.
                self.used |= {container for container in TARGETS if _holds(container, key)}
        except EnvironmentFault as fault:
            return f"{how.__name__} {key}: {fault.facts.get('status') or fault.code.name}"
        return f"{how.__name__} {key} as {manager}" if done else f"{how.__name__} {key} is not done"

    def change(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Change fields."""
        change = _CHANGES.get(key.kind)
        if change is not None:
            self._patch(key, change(text), MERGE, manager)
        return change is not None

    def mark(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Add a label and an annotation, and overwrite a label that may be ours."""
        marks = {"labels": {"theirs": text, "text": text}, "annotations": {"theirs": text}}
        self._patch(key, {"metadata": marks}, MERGE, manager)
        return True

    def unmark(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Remove a label that may be ours."""
        self._patch(key, {"metadata": {"labels": {"text": None}}}, MERGE, manager)
        return True

    def sidecar(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Add a container and a variable."""
        if key.kind != "Deployment":
            return self.change(key, live, manager, text)
        pod = "/spec/template/spec/containers"
        added: list[JsonObject] = [
            {"op": "add", "path": f"{pod}/-", "value": {"name": f"s{text}", "image": IMAGE}},
            {"op": "add", "path": f"{pod}/0/env/-", "value": {"name": "THEIRS", "value": text}},
        ]
        self._patch(key, added, JSON_PATCH, manager)
        return True

    def delete(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Delete it; a container only where nothing of the hand's is inside."""
        if key.kind == "Namespace" and key.name != EXTRA:
            return False
        if key.kind in CONTAINERS and any(_holds(key, other) for other in self.foreign):
            return False
        self._client.delete(key, uid_of(live))
        return True

    def replace(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Delete it and make something else of its name."""
        if key.kind in CONTAINERS or not self.delete(key, live, manager, text):
            return False
        body: JsonObject = {name: live[name] for name in ("spec", "data", "rules") if name in live}
        change = _CHANGES[key.kind](text)
        metadata = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
        about = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
        self.placed.add(key)
        self._create(body | ({} if "spec" in change else change) | about, manager)
        return True

    def clear(self) -> list[str]:
        """Take back what it put in the place of an object that nobody wants any more."""
        cleared = []
        for key in sorted(self.placed):
            with contextlib.suppress(EnvironmentFault):
                live = self._client.get(key)
                if live is not None and not owned_by(live):
                    self._client.delete(key, uid_of(live))
                    cleared.append(str(key))
        self.placed.clear()
        return cleared

    def strip(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Add a field and empty the record of ownership."""
        self.mark(key, live, manager, text)
        self.stripped.add(uid_of(live))
        emptied = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
        self._patch(key, emptied, JSON_PATCH, manager)
        return True

    def seize(self, key: ObjectKey, live: JsonObject, manager: str, text: str) -> bool:
        """Apply over it by force, as somebody, or as us."""
        metadata = {"name": key.name, "labels": {"text": text, "seized": text}}
        if key.namespace:
            metadata["namespace"] = key.namespace
        body: JsonObject = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
        if key.kind == "ConfigMap":
            body["data"] = {"key": text, "seized": text}
        if key.kind in {"CustomResourceDefinition", "Deployment", "Service"} and manager == FIELD_MANAGER:
            # An apply as us that leaves out what must be there is refused.
            return False
        self._patch(key, body, APPLY, manager, force_conflicts=True)
        return True

    # -- what is beside it ----------------------------------------------------------------------

    def beside(self, chance: random.Random, *, anywhere: bool) -> str:
        """Make, change or delete an object of the hand's own; gives what was done.

        Args:
            chance: the seed.
            anywhere: also in containers that a release may take away at the same moment.
        """
        if self.foreign and chance.random() < 0.5:
            key = chance.choice(sorted(self.foreign))
            if chance.random() < 0.4:
                return self._own(key, lambda: self._client.delete(key, uid_of(self.foreign[key])), "delete")
            label: JsonObject = {"metadata": {"labels": {"text": f"{chance.randrange(1 << 20):x}"}}}
            return self._own(key, lambda: self._patch(key, label, MERGE, "kubectl-edit"), "edit")
        self._count += 1
        made = _foreign(chance, f"theirs-{self._count}", anywhere=anywhere)
        key = key_of(made)
        self.used |= {container for container in TARGETS if _holds(container, key)}
        return self._own(key, lambda: self._create(made, "kubectl-create"), "make")

    def _own(self, key: ObjectKey, write: Callable[[], None], what: str) -> str:
        """Write an object of the hand's own, and see what came of it, whatever the answer was."""
        with contextlib.suppress(EnvironmentFault):
            write()
        end = time.monotonic() + REACHED_S_MAX
        live, known = None, False
        while not known:
            assert time.monotonic() < end, f"{key}: no answer"
            try:
                live, known = self._client.get(key), True
            except EnvironmentFault as fault:
                known = fault.code is Code.OBJECT_KIND_UNKNOWN
                time.sleep(0 if known else 0.1)
        self.foreign.pop(key, None)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            self.foreign[key] = live
        return f"{what} {key}"

    def _create(self, manifest: JsonObject, manager: str) -> None:
        key = key_of(manifest)
        path = self._client.kind_of(key.api_version, key.kind).path(key.namespace)
        self._connection.ask("post", path, body=manifest, field_manager=manager)

    def _patch(self, key: ObjectKey, body: Any, form: str, manager: str, **options: Any) -> None:
        path = self._client.kind_of(key.api_version, key.kind).path(key.namespace, key.name)
        self._connection.ask("patch", path, body=body, content_type=form, field_manager=manager, **options)


_EDITS: tuple[Callable[[Hand, ObjectKey, JsonObject, str, str], bool], ...] = (
    Hand.change,
    Hand.change,
    Hand.mark,
    Hand.unmark,
    Hand.sidecar,
    Hand.delete,
    Hand.delete,
    Hand.replace,
    Hand.strip,
    Hand.seize,
)


_TAKES = (Hand.replace, Hand.strip, Hand.seize)


def _holds(container: ObjectKey, inside: ObjectKey) -> bool:
    """Whether deleting a container would take an object along."""
    if container.kind == "Namespace":
        return inside.namespace == container.name
    return container.kind == "CustomResourceDefinition" and inside.group == GROUP


def _foreign(chance: random.Random, name: str, *, anywhere: bool) -> JsonObject:
    namespace = chance.choice(["default", "shop", *(["tools", "edge", EXTRA] if anywhere else [])])
    kind = chance.choice(["ConfigMap", "Secret", "Role", "ClusterRole", *(["Widget"] if anywhere else [])])
    if kind == "ConfigMap":
        return config_map(name, namespace)
    if kind == "Widget":
        return widget(name, "default")
    metadata = {"name": name} if kind == "ClusterRole" else {"name": name, "namespace": namespace}
    if kind == "Secret":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "stringData": {"key": name}}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": rules,
    }
