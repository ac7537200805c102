"""What an API server's audit log says that was sent, and what a bridge's log says that was planned.

Owns the reading of both (docs/spec/bridge.md §10). Promises one record a request, whatever stages of it were
logged, and that dry runs are no writes. Pure: no clock, no file, no server.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from k8s_bridge.objects import ObjectKey, parse_object_id
from k8s_bridge.objects import field as field_at
from k8s_bridge.trail import DONE, PLANNED
from ledger.types import JsonObject

CHANGING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
STARTED = "bridge started"
_NEVER_US = 1 << 62


class Request(enum.Enum):
    """What a step may send."""

    APPLY = "apply"
    TAKE_OVER = "take over"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One request that changes something.

    Attributes:
        at_us: when the server received it, microseconds since the epoch.
        user: who authenticated.
        actor: as whom it was judged; the same without impersonation.
        verb, group, resource, namespace, name: of what; the name is empty where only the body has it.
        applies: it is a forced server-side apply.
        status: of the answer; None where the server died before it said so.
        body: what was sent; None where the log does not have it.
    """

    at_us: int
    user: str
    actor: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    applies: bool
    status: int | None
    body: Any = None

    def __str__(self) -> str:
        path = "/".join(part for part in (self.group, self.resource, self.namespace, self.name) if part)
        return f"{self.verb} {path} by {self.actor} at {self.at_us}: {self.status}"


@dataclass(frozen=True, slots=True)
class Planned:
    """One step that a bridge said it would write, and from when until when; ``outcome`` if it said so.

    ``where`` names the bridge's log, the life of its process and the plan.
    """

    where: tuple[str, int, int]
    release: str
    revision: int
    action: str
    key: ObjectKey
    uid: str
    version: str
    takeover: bool
    from_us: int
    until_us: int = _NEVER_US
    outcome: str | None = None

    @property
    def allowed(self) -> frozenset[Request]:
        """What may be sent for it; nothing for a delete that was held back."""
        if self.action == "delete":
            return frozenset() if self.outcome == "skipped" else frozenset({Request.DELETE})
        if self.action == "recreate":
            return frozenset({Request.DELETE, Request.APPLY})
        return frozenset({Request.APPLY, Request.TAKE_OVER} if self.takeover else {Request.APPLY})

    @property
    def required(self) -> frozenset[Request]:
        """What must have been sent for it to be as it is said to be."""
        if self.outcome in {"created", "configured", "deleted"}:
            return self.allowed
        if (self.action, self.outcome) == ("recreate", "skipped"):
            return frozenset({Request.DELETE})
        return frozenset()

    def __str__(self) -> str:
        return f"{self.action} {self.key} of {self.release} {self.revision} in {self.where}: {self.outcome}"


def writes_of(events: Iterable[JsonObject], ours: frozenset[str]) -> list[Write]:
    """Give the writes of some users, dry runs left out, in the order the server received them.

    Args:
        events: of the audit log, in any stages.
        ours: the users' names.
    """
    latest: dict[str, JsonObject] = {}
    for event in events:
        users = {field_at(event, "user", "username"), field_at(event, "impersonatedUser", "username")}
        if event.get("verb") in CHANGING and users & ours:
            known = latest.get(event["auditID"])
            if known is None or known["stage"] == "RequestReceived":
                latest[event["auditID"]] = event
    found = [_write(event) for event in latest.values() if "dryRun" not in _query(event)]
    return sorted(found, key=lambda write: write.at_us)


def planned_of(name: str, lines: Iterable[JsonObject]) -> list[Planned]:
    """Read the plans out of the log of one bridge, whose process may have been started again and again."""
    found: list[Planned] = []
    open_: dict[ObjectKey, int] = {}
    life = 0
    for line in lines:
        event, at_us = line.get("event"), _micros(str(line.get("ts")))
        if event == STARTED:
            life += 1
            for index in open_.values():
                found[index] = replace(found[index], until_us=at_us)
            open_ = {}
        elif event == PLANNED:
            key = parse_object_id(line["object"])
            plan = (name, life, line["plan"])
            for other, index in list(open_.items()):
                if found[index].where != plan:
                    found[index] = replace(found[index], until_us=at_us)
                    del open_[other]
            open_[key] = len(found)
            about = (line["release"], line["revision"], line["action"], key)
            bound = (line["uid"], line["version"], line["takeover"])
            found.append(Planned(plan, *about, *bound, from_us=at_us))
        elif event == DONE:
            index = open_.pop(parse_object_id(line["object"]))
            found[index] = replace(found[index], until_us=at_us, outcome=line["outcome"])
    return found


def _write(event: JsonObject) -> Write:
    user = str(field_at(event, "user", "username"))
    of = event.get("objectRef") or {}
    resource = "/".join(part for part in (of.get("resource", ""), of.get("subresource", "")) if part)
    return Write(
        _micros(event["requestReceivedTimestamp"]),
        user,
        str(field_at(event, "impersonatedUser", "username") or user),
        event["verb"],
        of.get("apiGroup", ""),
        resource,
        of.get("namespace", "") if of.get("resource") != "namespaces" else "",
        of.get("name", ""),
        "force" in _query(event),
        field_at(event, "responseStatus", "code") if event["stage"] != "RequestReceived" else None,
        event.get("requestObject"),
    )


def _query(event: JsonObject) -> Mapping[str, list[str]]:
    return parse_qs(urlsplit(event["requestURI"]).query)


def _micros(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def lines_of(texts: Iterable[str]) -> Iterator[JsonObject]:
    """Read a log of JSON lines; what is no JSON line (a library's own word) is left out."""
    for text in texts:
        if text.startswith("{"):
            yield json.loads(text)
