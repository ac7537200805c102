"""Every object of every kind that an API server keeps, by name and UID: to tell what was left behind."""

from __future__ import annotations

from collections.abc import Iterator

from k8s_bridge.client import KubernetesClient
from k8s_bridge.cluster import Kind
from k8s_bridge.connection import Connection
from ledger.errors import EnvironmentFault
from ledger.types import JsonObject

Name = tuple[str, str, str, str]
_PASSING = frozenset({("", "Event"), ("events.k8s.io", "Event")})
"""What Kubernetes says of what happened; it goes by itself after an hour."""


def everything(connection: Connection) -> dict[Name, str]:
    """Give the UID of every object, by group, kind, namespace and name."""
    client = KubernetesClient(connection)
    found: dict[Name, str] = {}
    for kind in _kinds(connection):
        group = kind.api_version.rpartition("/")[0]
        try:
            items, _ = client.list(kind, metadata_only=True)
        except EnvironmentFault as fault:
            # A definition that was just deleted is still listed for a moment.
            if fault.facts.get("status") in {404, 405}:
                continue
            raise
        for item in items:
            metadata = item["metadata"]
            name = (group, kind.kind, metadata.get("namespace", ""), metadata["name"])
            found[name] = metadata.get("uid", "")
    return found


def _kinds(connection: Connection) -> Iterator[Kind]:
    """Give every kind that can be listed, each once, in whichever version it is served."""
    seen: set[tuple[str, str]] = set(_PASSING)
    for api_version in _versions(connection):
        root = "apis" if "/" in api_version else "api"
        try:
            listed = connection.ask("get", f"/{root}/{api_version}")[1]
        except EnvironmentFault as fault:
            if fault.facts.get("status") == 404:
                continue
            raise
        for entry in listed["resources"]:
            name = (api_version.rpartition("/")[0], entry["kind"])
            if "/" not in entry["name"] and "list" in entry["verbs"] and name not in seen:
                seen.add(name)
                yield Kind(api_version, entry["kind"], entry["name"], entry["namespaced"], listable=True)


def _versions(connection: Connection) -> Iterator[str]:
    yield from connection.ask("get", "/api")[1]["versions"]
    groups: list[JsonObject] = connection.ask("get", "/apis")[1]["groups"]
    for group in groups:
        for version in group["versions"]:
            yield version["groupVersion"]
