"""What the bridge asks of a Kubernetes API server, in its own words.

Owns the verbs (get, dry-run, apply, delete, list, watch) and discovery. Promises plain JSON objects in and
out, one field manager, deletes that carry the UID they mean, and that an object's scope is checked against
what the server serves. Only this module and ``connection`` speak to the API server. Never decides anything.

Source: Kubernetes API concepts (server-side apply, dry run, watch bookmarks); kubernetes notes §3.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from k8s_bridge.accounts import scope_account, user_of
from k8s_bridge.bounds import PATIENT, Bounds
from k8s_bridge.cluster import Applied, Kind
from k8s_bridge.compare import FIELD_MANAGER
from k8s_bridge.connection import Connection
from k8s_bridge.objects import ObjectKey, field, key_of, metadata_text
from k8s_bridge.status import condition_of
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=1,application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=1,application/json"
PAGE_SIZE = 500
_NOT_YET = frozenset({404, 429, 500, 503})
"""What a definition that is established, but not served yet, answers (kubernetes notes, trap 3)."""
PAGES_MAX = 200
ESTABLISH_POLL_S = 0.1
VANISHING_POLLS_MAX = 20
WATCH_TIMEOUT_S = 60
"""The server ends a watch after this long; the socket may be silent a little longer: it is then dead."""
WATCH_SILENCE_S = 75.0


class KubernetesClient:
    """The API server of one cluster; safe to use from several threads."""

    def __init__(
        self,
        connection: Connection,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._kinds: dict[str, dict[str, Kind]] = {}
        self._lock = threading.Lock()
        self._sleep = sleep
        self._monotonic = monotonic
        self._acting_as = ""
        self._writes: Bounds = PATIENT

    def in_scope(self, namespace: str) -> KubernetesClient:
        """Give the same API server, written to as the account of a release scope; read from as before."""
        found = copy.copy(self)
        found._acting_as = user_of(scope_account(namespace))  # noqa: SLF001  its own kind
        return found

    def fence(self, writes: Bounds) -> None:
        """Hold every write from here on to ``writes``; of copies made for scopes, those made later."""
        self._writes = writes

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def kind_of(self, api_version: str, kind: str) -> Kind:
        """Find how a kind is served; asks the server again when it is not known yet.

        Raises:
            EnvironmentFault: OBJECT_KIND_UNKNOWN, KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED.
        """
        found = self._served(api_version).get(kind)
        if found is None:
            with self._lock:
                self._kinds.pop(api_version, None)
            found = self._served(api_version).get(kind)
        if found is None:
            raise EnvironmentFault(
                Code.OBJECT_KIND_UNKNOWN,
                got=f"{api_version} {kind}",
                expected="a kind that the API server serves",
                todo="apply its CustomResourceDefinition, in this release or before it",
            )
        return found

    def forget_kinds(self) -> None:
        """Forget what was discovered; after definitions changed."""
        with self._lock:
            self._kinds.clear()

    def get(self, key: ObjectKey) -> JsonObject | None:
        """Give the live object, or None.

        Raises:
            EnvironmentFault: as ``kind_of``, or OBJECT_SCOPE_MISMATCH.
        """
        return self._or_none("get", self._path(key), str(key))

    def apply(self, manifest: JsonObject, *, dry_run: bool = False) -> Applied:
        """Apply a manifest, server-side, as field manager ``conclave``, forcing conflicts.

        Raises:
            EnvironmentFault: as ``get``.
        """
        key = key_of(manifest)
        options = {"dry_run": "All"} if dry_run else {}
        status, live = self._connection.ask(
            "patch",
            self._path(key),
            about=str(key),
            body=manifest,
            content_type=APPLY,
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            header_params=self._as_scope(),
            bounds=PATIENT if dry_run else self._writes,
            **options,
        )
        return Applied(live, created=status == 201)

    def take_over(self, key: ObjectKey, live: JsonObject, managed_fields: Sequence[JsonObject]) -> None:
        """Rewrite who owns which field of exactly this version of an object; its content stays.

        Raises:
            EnvironmentFault: as ``get``; KUBERNETES_REFUSED with status 409 when it has changed meanwhile.
        """
        fields = {
            "managedFields": list(managed_fields),
            "resourceVersion": metadata_text(live, "resourceVersion"),
        }
        self._connection.ask(
            "patch",
            self._path(key),
            about=str(key),
            body=[{"op": "replace", "path": f"/metadata/{name}", "value": v} for name, v in fields.items()],
            content_type=JSON_PATCH,
            field_manager=FIELD_MANAGER,
            header_params=self._as_scope(),
            bounds=self._writes,
        )

    def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete exactly the object with this UID, its dependants in the background; gone already is fine.

        Raises:
            EnvironmentFault: as ``get``; KUBERNETES_REFUSED with status 409 when another UID has the name.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        options = {"header_params": self._as_scope(), "bounds": self._writes}
        self._or_none("delete", self._path(key), str(key), body, **options)

    def list(
        self, kind: Kind, namespace: str = "", *, label: str | None = None, metadata_only: bool = False
    ) -> tuple[list[JsonObject], str]:
        """List a collection completely; gives the items and the resource version to watch from.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED; LIMIT_EXCEEDED past ``PAGES_MAX``.
        """
        items: list[JsonObject] = []
        following = None
        for _ in range(PAGES_MAX):
            _, page = self._connection.ask(
                "get",
                kind.path(namespace),
                limit=PAGE_SIZE,
                label_selector=label,
                _continue=following,
                header_params={"Accept": METADATA_LIST} if metadata_only else {},
            )
            items.extend(page.get("items") or ())
            following = field(page, "metadata", "continue")
            if not following:
                return items, str(field(page, "metadata", "resourceVersion") or "")
        raise EnvironmentFault(
            Code.LIMIT_EXCEEDED, got=kind.path(namespace), expected=f"at most {PAGES_MAX * PAGE_SIZE} objects"
        )

    def watch(self, kind: Kind, namespace: str, resource_version: str) -> Iterator[JsonObject]:
        """Stream metadata-only watch events, bookmarks and errors among them, until the stream ends.

        Raises:
            EnvironmentFault: KUBERNETES_UNREACHABLE, KUBERNETES_REFUSED (status 410: list again).
        """
        return self._connection.events(
            kind.path(namespace),
            silence_s=WATCH_SILENCE_S,
            resource_version=resource_version,
            timeout_seconds=WATCH_TIMEOUT_S,
            allow_watch_bookmarks=True,
            header_params={"Accept": METADATA},
        )

    def wait_established(self, key: ObjectKey, timeout_s: float) -> None:
        """Wait until a definition is established and its kinds are discoverable.

        Raises:
            EnvironmentFault: TIMEOUT; otherwise as ``get``.
        """
        deadline = self._monotonic() + timeout_s
        while True:
            live = self.get(key)
            established = condition_of(live, "Established") if live else None
            served = established is not None and established.get("status") == "True"
            if served and self._discoverable(live) and self._answers(live):
                return
            if self._monotonic() >= deadline:
                raise EnvironmentFault(
                    Code.TIMEOUT,
                    got=f"{key} not established",
                    expected=f"within {timeout_s:.0f} s",
                    object=str(key),
                )
            self._sleep(ESTABLISH_POLL_S)

    def namespaced_kinds(self) -> Iterator[Kind]:
        """Give every namespaced kind that can be listed, once a kind, as the server says now.

        Of all served versions, the preferred one first: a kind may be missing from that.

        Raises:
            EnvironmentFault: also where a version that is named does not answer: what it serves is unknown.
        """
        for versions in (("v1",), *self._versions()):
            seen: set[str] = set()
            for api_version in versions:
                for kind in _kinds(api_version, self._resources(api_version)):
                    if kind.namespaced and kind.listable and kind.kind not in seen:
                        seen.add(kind.kind)
                        yield kind

    def _versions(self) -> Sequence[tuple[str, ...]]:
        """Give the served versions of every group, the preferred one first."""
        _, answer = self._connection.ask("get", "/apis")
        return [_versions_of(group) for group in answer.get("groups") or ()]

    def _resources(self, api_version: str) -> JsonObject:
        """Give what a version serves; one that is named no longer serves nothing."""
        for _ in range(VANISHING_POLLS_MAX):
            answer = self._or_none("get", _root(api_version), api_version)
            if answer is not None:
                return answer
            # A group that comes or goes is named for a moment without being there.
            self._sleep(ESTABLISH_POLL_S)
            if not any(api_version in versions for versions in self._versions()):
                return {}
        raise EnvironmentFault(Code.KUBERNETES_REFUSED, got=f"{api_version} is named and not there")

    def _answers(self, definition: JsonObject | None) -> bool:
        """Whether every version can be listed: for a moment after discovery names a kind, it cannot."""
        for kind in self._defined(definition):
            try:
                self._connection.ask("get", kind.path(), limit=1, header_params={"Accept": METADATA_LIST})
            except EnvironmentFault as fault:
                if fault.facts.get("status") in _NOT_YET:
                    return False
                if fault.code is Code.KUBERNETES_UNREACHABLE:
                    raise
        return True

    def _defined(self, definition: JsonObject | None) -> Iterator[Kind]:
        group, kind = field(definition, "spec", "group"), field(definition, "spec", "names", "kind")
        for version in field(definition, "spec", "versions") or ():
            if version.get("served"):
                yield self.kind_of(f"{group}/{version['name']}", str(kind))

    def _discoverable(self, definition: JsonObject | None) -> bool:
        group, kind = field(definition, "spec", "group"), field(definition, "spec", "names", "kind")
        self.forget_kinds()
        versions = [v["name"] for v in field(definition, "spec", "versions") or () if v.get("served")]
        return all(kind in self._served(f"{group}/{version}") for version in versions)

    def _served(self, api_version: str) -> dict[str, Kind]:
        with self._lock:
            known = self._kinds.get(api_version)
        if known is not None:
            return known
        answer = self._or_none("get", _root(api_version), api_version) or {}
        kinds = {kind.kind: kind for kind in _kinds(api_version, answer)}
        if kinds:
            with self._lock:
                self._kinds[api_version] = kinds
        return kinds

    def _path(self, key: ObjectKey) -> str:
        kind = self.kind_of(key.api_version, key.kind)
        if kind.namespaced != bool(key.namespace):
            raise EnvironmentFault(
                Code.OBJECT_SCOPE_MISMATCH,
                got=f"namespace {key.namespace!r}",
                expected="a namespace" if kind.namespaced else "no namespace: the kind is cluster-scoped",
                todo="name the namespace in the manifest" if kind.namespaced else "remove metadata.namespace",
                object=str(key),
            )
        return kind.path(key.namespace, key.name)

    def _as_scope(self) -> dict[str, str]:
        return {"Impersonate-User": self._acting_as} if self._acting_as else {}

    def _or_none(
        self,
        method: str,
        path: str,
        about: str,
        body: JsonObject | None = None,
        **options: Any,
    ) -> JsonObject | None:
        try:
            return self._connection.ask(method, path, about=about, body=body, **options)[1]
        except EnvironmentFault as fault:
            if fault.facts.get("status") == 404:
                return None
            raise


def _root(api_version: str) -> str:
    root = "apis" if "/" in api_version else "api"
    return f"/{root}/{'/'.join(quote(part, safe='') for part in api_version.split('/'))}"


def _versions_of(group: JsonObject) -> tuple[str, ...]:
    named = [field(group, "preferredVersion", "groupVersion")]
    named += [field(version, "groupVersion") for version in field(group, "versions") or ()]
    return tuple(dict.fromkeys(version for version in named if isinstance(version, str)))


def _kinds(api_version: str, answer: JsonObject) -> Iterator[Kind]:
    for entry in answer.get("resources") or ():
        kind, plural, verbs = field(entry, "kind"), field(entry, "name"), field(entry, "verbs")
        # Subresources are listed beside the kinds they belong to.
        if isinstance(kind, str) and isinstance(plural, str) and "/" not in plural:
            yield Kind(api_version, kind, plural, bool(field(entry, "namespaced")), "list" in (verbs or ()))
