"""How a release stands on each of its clusters: sync and health, two axes that say nothing of each other.

Owns the rows of ``status`` and ``wait``. ``sync`` tells whether a cluster is what the ledger now wants of it,
``health`` how what runs there is doing. Promises that both come from verified records alone; why a single
object is not as it should be is told in the words of this home's own bridge, where it has one. Never prints.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from dataclasses import dataclass

from conclave.bridge_account import Said, said_by
from conclave.client import Client
from consensus import release_reader
from consensus.operators import Evidence
from consensus.reader import View
from ledger.errors import Code, ConclaveError
from ledger.manifest import object_id
from ledger.receipt import code_of
from ledger.records import DesiredRecord, DesiredState, ReleaseRecord, ReleaseState, ReportRecord
from ledger.release import ReleaseRevision
from ledger.rollout import RolloutRecord
from ledger.types import JsonObject

IN_PLACE = frozenset({"created", "configured", "unchanged"})
UNKNOWN = "unknown"


class Sync(enum.StrEnum):
    """Whether a cluster, or an object of it, is what the ledger wants."""

    SYNCED = "synced"
    OUT_OF_SYNC = "out_of_sync"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A place on the axis of sync, and why, for people."""

    sync: Sync
    reason: str


def sync_of(record: ReleaseRecord, desired: DesiredRecord | None, report: ReportRecord | None) -> Verdict:
    """Judge whether a cluster is what the ledger wants of a release. Pure."""
    deleted = record.state is ReleaseState.DELETED
    if desired is None:
        why = "the release was deleted" if deleted else "its rollout has not come here yet"
        return Verdict(Sync.SYNCED if deleted else Sync.OUT_OF_SYNC, why)
    if report is None:
        return Verdict(Sync.UNKNOWN, "no report yet")
    wanted = f"revision {desired.revision}"
    if desired.state is DesiredState.DELETED:
        # Its revision is the one that ran before, and a report of what ran may come late: once the removal is
        # reported as done, the ledger wants nothing any more.
        if report.time < desired.time or report.outcome == "applied":
            return Verdict(Sync.OUT_OF_SYNC, "no report since it was deleted")
        wanted = "the deletion"
    elif report.revision != desired.revision:
        return Verdict(Sync.OUT_OF_SYNC, f"reported revision {report.revision}, wanted {wanted}")
    if report.outcome == "applied":
        return Verdict(Sync.SYNCED, f"{wanted} is in place")
    missing = [o for o in report.objects if o["outcome"] not in IN_PLACE or o["code"]]
    return Verdict(Sync.OUT_OF_SYNC, f"{wanted} {report.outcome}: {_listed(missing)}")


def rows(client: Client, view: View, names: Iterable[str], *, with_objects: bool = False) -> list[JsonObject]:
    """Give a row for each release on each of its clusters, with each object's state where that is asked.

    Raises:
        Refused: RELEASE_UNKNOWN. VerificationFailed, EnvironmentFault: as reading.
    """
    evidence = Evidence(view.chain_id)
    found: list[JsonObject] = []
    for name in names:
        record = release_reader.release_record(view, name).value
        rollout = release_reader.rollout(view, name).value
        for cluster in record.clusters:
            place = _Place(client, view, record, rollout, cluster)
            found.append(place.row(evidence, with_objects=with_objects))
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """One release on one cluster."""

    client: Client
    view: View
    record: ReleaseRecord
    rollout: RolloutRecord | None
    cluster: str

    def row(self, evidence: Evidence, *, with_objects: bool) -> JsonObject:
        """Read all of it."""
        name, cluster = self.record.name, self.cluster
        desired = release_reader.desired(self.view, cluster, name).value
        # Where nothing was started yet, what is final is shown, and that it waits.
        number = self.record.revision if desired is None else desired.revision
        reading = release_reader.release(self.view, cluster, name, evidence=evidence, revision=number)
        revision = reading.value
        report = release_reader.report(self.view, cluster, name).value
        verdict = sync_of(self.record, desired, report)
        troubled = report is not None and any(o["code"] for o in report.objects)
        said = said_by(self.client.home, cluster, name) if with_objects or troubled else Said()
        row: JsonObject = {
            "release": name,
            "cluster": cluster,
            "sync": verdict.sync.value,
            "syncReason": verdict.reason,
            "health": report.health if report else None,
            "revision": revision.revision,
            "finalHeight": revision.height,
            "newestRevision": self.record.revision,
            "state": self.record.state.value,
            "desired": None if desired is None else desired.state.value,
            "appliedRevision": report.revision if report else None,
            "outcome": report.outcome if report else "pending",
            "contested": _contested(report, said),
            "reportHeight": report.height if report else None,
            **self._rollout(),
            "ageSeconds": _age_seconds(self.client, revision.height, report),
            "approvers": list(revision.approvers),
            "objects": len(revision.manifests),
        }
        if with_objects:
            row["objectStates"] = object_states(revision, desired, report, said)
        return row

    def _rollout(self) -> JsonObject:
        rollout = self.rollout
        if rollout is None:
            return {"rollout": None, "inRollout": None}
        told = {
            "revision": rollout.revision,
            "state": rollout.state.value,
            "wave": min(rollout.wave + 1, len(rollout.waves)),
            "waves": len(rollout.waves),
            "pausedBy": rollout.paused_by,
        }
        here = next((place for place in rollout.clusters if place.name == self.cluster), None)
        return {"rollout": told, "inRollout": None if here is None else here.state.value}


def object_states(
    revision: ReleaseRevision, desired: DesiredRecord | None, report: ReportRecord | None, said: Said
) -> list[JsonObject]:
    """Give sync, health and why of every object that is wanted or was reported on. Pure."""
    told = {str(o["object"]): o for o in (report.objects if report else ())}
    is_removal = desired is not None and desired.state is DesiredState.DELETED
    is_new = report is None or (desired is not None and report.revision != desired.revision)
    wanted = [] if is_removal or desired is None else [object_id(manifest) for manifest in revision.manifests]
    states = [_object_state(item, said, is_new=is_new) for item in told.values()]
    if report is not None and report.outcome == "applied" and (is_removal or desired is None):
        states = [_left(state) if state["outcome"] == "skipped" else state for state in states]
    unheard = {"sync": Sync.UNKNOWN.value, "health": UNKNOWN, "outcome": None, "code": None}
    new = [{"object": name, **unheard, "reason": "not reported yet"} for name in wanted if name not in told]
    return states + new


def _object_state(item: JsonObject, said: Said, *, is_new: bool) -> JsonObject:
    name, outcome, code = str(item["object"]), str(item["outcome"]), code_of(item["code"])
    in_place = outcome in IN_PLACE and not item["code"]
    sync = Sync.SYNCED if in_place or outcome == "deleted" else Sync.OUT_OF_SYNC
    # A report on an earlier revision tells what was, not whether it is what is wanted now.
    sync = Sync.UNKNOWN if is_new and sync is Sync.SYNCED else sync
    reasons = ["gone"] if outcome == "deleted" else []
    if item["code"]:
        reasons.append(code.name if code is not None else f"code {item['code']}")
    words = said.objects.get(name) or said.health.get(name) if item["code"] else said.health.get(name)
    if words:
        reasons.append(words)
    return {
        "object": name,
        "sync": sync.value,
        "health": str(item["health"]),
        "outcome": outcome,
        "code": None if not item["code"] or code is None else code.name,
        "reason": ": ".join(reasons) or None,
    }


def _left(state: JsonObject) -> JsonObject:
    """Give the state of what a removal that succeeded did not take along: it was not its to remove."""
    return state | {
        "sync": Sync.SYNCED.value,
        "reason": state["reason"] or "left: not this release's to remove",
    }


def _contested(report: ReportRecord | None, said: Said) -> list[JsonObject]:
    """Give the objects that others write again and again, and what the bridge of this home says of them."""
    code = int(Code.OBJECT_CONTESTED)
    found = [str(o["object"]) for o in (report.objects if report else ()) if o["code"] == code]
    return [{"object": item, "said": said.objects.get(item)} for item in found]


def _listed(objects: list[JsonObject]) -> str:
    if not objects:
        return "no object is in place"
    names = {code_of(o["code"]) for o in objects if o["code"]}
    codes = sorted(code.name for code in names if code is not None)
    count = "1 object" if len(objects) == 1 else f"{len(objects)} objects"
    return f"{count} not in place" + (f" ({', '.join(codes)})" if codes else "")


def _age_seconds(client: Client, height: int, report: ReportRecord | None) -> int | None:
    """Give how long ago it was reported, else made; unknown where the node no longer serves the header."""
    if report is not None:
        return max(0, time.time_ns() // 10**9 - report.time)
    try:
        made_ns = client.reader.header(height).header.time_ns
    except ConclaveError:
        return None
    return max(0, (time.time_ns() - made_ns) // 10**9)
