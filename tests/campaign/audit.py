"""Whether an API server's audit log holds what a bridge planned, and nothing else.

Owns the judgement: every write of ours is a step that a plan contained, sent in its time, as signed and bound
to what was seen, or one of the bridge's own objects (docs/spec/bridge.md §10); and every step that is said to
be done was sent. Pure: no clock, no file, no server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from k8s_bridge.inventory import NAME_PREFIX
from k8s_bridge.lease import LEASE_NAME
from k8s_bridge.objects import field as field_at
from k8s_bridge.store import DEFAULT_NAMESPACE
from ledger.types import JsonObject
from tests.campaign.audit_log import Planned, Request, Write

_ASKED_AGAIN = frozenset({401, 429, 503, 504})
"""After these the same request is sent again (``connection.ask``)."""
_LOG_TIME_US = 1000
"""A bridge's log has milliseconds, the audit log microseconds."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A revision as the ledger has it: by object id, and the user who writes it."""

    manifests: Mapping[str, JsonObject]
    actor: str


@dataclass(slots=True)
class Verdict:
    """What was compared, and what must not be: writes without a plan, and steps done that were never sent."""

    writes: int = 0
    planned: int = 0
    done: int = 0
    own: Counter[str] = field(default_factory=Counter)
    unplanned: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        own = ", ".join(f"{name} {count}" for name, count in sorted(self.own.items()))
        return (
            f"{self.writes} writes in the audit log ({own}), {self.planned} steps planned, {self.done} done; "
            f"not planned {len(self.unplanned)}, not sent {len(self.unsent)}"
        )

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, and there was something to be wrong."""
        return bool(self.writes and self.planned) and not self.unplanned and not self.unsent


def judge(
    writes: Sequence[Write],
    planned: Sequence[Planned],
    kinds: Mapping[tuple[str, str], str],
    signed: Mapping[tuple[str, int], Signed],
    bridge: str,
) -> Verdict:
    """Compare what was sent with what was planned.

    Args:
        writes: all of ours.
        planned: of all bridges of the cluster.
        kinds: the kind behind (group, resource).
        signed: every revision that was ever final, by release and number.
        bridge: the user that writes the bridge's own objects.
    """
    verdict = Verdict(len(writes), len(planned), sum(step.outcome is not None for step in planned))
    by_object: dict[tuple[str, str, str, str], list[int]] = {}
    for index, step in enumerate(planned):
        by_object.setdefault(step.key.identity, []).append(index)
    used: dict[tuple[int, Request], Write] = {}
    for write in writes:
        own = _own(write, bridge)
        if own:
            verdict.own[own] += 1
            continue
        kind = kinds.get((write.group, write.resource), write.resource)
        candidates = by_object.get((write.group, kind, write.namespace, write.name), [])
        reason = _assign(write, candidates, planned, used, signed)
        if reason:
            verdict.unplanned.append(f"{write}: {reason}")
    for index, step in enumerate(planned):
        for request in sorted(step.required, key=lambda r: r.value):
            sent = used.get((index, request))
            if sent is None or not _took_effect(sent, request):
                verdict.unsent.append(f"{step}: no {request.value}")
    return verdict


def _assign(
    write: Write,
    candidates: Sequence[int],
    planned: Sequence[Planned],
    used: dict[tuple[int, Request], Write],
    signed: Mapping[tuple[str, int], Signed],
) -> str:
    """Find the step that a write belongs to, and take its place; gives why there is none, or nothing."""
    request = _request(write)
    reasons = {NONE}
    # What is said to be done needs its write; what was cut short may have one.
    for index in sorted(candidates, key=lambda index: planned[index].outcome is None):
        step = planned[index]
        if request is None:
            continue
        wrong = list(_wrongs(write, request, step, signed.get((step.release, step.revision))))
        before = used.get((index, request))
        if not wrong and (before is None or before.status in _ASKED_AGAIN):
            used[index, request] = write
            return ""
        reasons.add(max(wrong, key=_CLOSEST.index) if wrong else TWICE)
    return min(reasons, key=_CLOSEST.index)


TIME, STEP, FINAL = "not in the time of its plan", "its plan sends no such request", "of no final revision"
ACTOR, SIGNED, BOUND = "by another user than its scope's", "not as signed", "not bound to what was seen"
RECORD, TWICE, NONE = "more than the record of ownership", "sent twice", "no plan contains it"
_CLOSEST = (TWICE, SIGNED, BOUND, ACTOR, RECORD, FINAL, STEP, TIME, NONE)
"""Of several steps that do not fit, the reason of the one that comes closest."""


def _wrongs(write: Write, request: Request, step: Planned, revision: Signed | None) -> Iterator[str]:
    """Give what keeps a write from being the request of a step."""
    if not step.from_us <= write.at_us <= step.until_us + _LOG_TIME_US:
        yield TIME
    if request not in step.allowed:
        yield STEP
    if revision is None:
        yield FINAL
        return
    # What the server died with, or refused at the door, has no body and no judged user.
    if write.status is not None and write.actor != revision.actor:
        yield ACTOR
    if write.body is not None:
        yield from _wrong_body(write.body, request, step, revision)
    elif write.status is not None and write.status < 400:
        yield SIGNED


def _wrong_body(body: Any, request: Request, step: Planned, revision: Signed) -> Iterator[str]:
    if request is Request.APPLY:
        yield from _wrong_apply(body, step, revision)
    elif request is Request.TAKE_OVER:
        if [item.get("path") for item in body] != ["/metadata/managedFields", "/metadata/resourceVersion"]:
            yield RECORD
    elif not step.uid or field_at(body, "preconditions", "uid") != step.uid:
        yield BOUND


def _wrong_apply(body: JsonObject, step: Planned, revision: Signed) -> Iterator[str]:
    metadata = dict(body["metadata"])
    uid, version = metadata.pop("uid", None), metadata.pop("resourceVersion", None)
    if {**body, "metadata": metadata} != revision.manifests.get(str(step.key)):
        yield SIGNED
    if (uid, version) != ((step.uid, step.version or None) if step.action == "configure" else (None, "1")):
        yield BOUND


def _own(write: Write, bridge: str) -> str:
    """Name the bridge's own object that a write is of; nothing where it is none."""
    if write.actor != bridge:
        return ""
    name = write.name or str(field_at(write.body, "metadata", "name") or "")
    lease = ("coordination.k8s.io", "leases", DEFAULT_NAMESPACE)
    if (write.group, write.resource, write.namespace) == lease and write.verb in {"create", "update"}:
        # A create that the server died with has no body, and so no name.
        return "lease" if name == LEASE_NAME or (not name and write.status is None) else ""
    if (write.group, write.resource, name) == ("", "namespaces", DEFAULT_NAMESPACE):
        return "namespace" if write.verb == "create" or write.applies else ""
    if (write.group, write.resource, write.namespace) == ("", "configmaps", DEFAULT_NAMESPACE):
        return "inventory" if write.applies and name.startswith(NAME_PREFIX) else ""
    return ""


def _request(write: Write) -> Request | None:
    if write.verb == "delete":
        return Request.DELETE
    if write.verb == "patch":
        return Request.APPLY if write.applies else Request.TAKE_OVER
    return None


def _took_effect(write: Write, request: Request) -> bool:
    gone = request is Request.DELETE and write.status == 404
    return write.status is None or 200 <= write.status < 300 or gone
