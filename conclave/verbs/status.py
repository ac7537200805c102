"""``conclave status``: every release on every cluster it targets.

Promises that each row is verified: the final revision with its operators' signatures, the report with its
bridge's.
"""

from __future__ import annotations

import time

import click

from conclave.bridge_account import said_of_objects
from conclave.client import Client, connect, freshness, record_json
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.home import Home
from conclave.output import duration
from consensus import ledger_reader, release_reader
from consensus.operators import Evidence
from consensus.reader import View
from ledger.errors import Code, ConclaveError
from ledger.records import ReportRecord
from ledger.rollout import RolloutRecord
from ledger.types import JsonObject

_COLUMNS = [
    "release",
    "cluster",
    "revision",
    "final height",
    "applied",
    "outcome",
    "health",
    "rollout",
    "age",
]


@verb("status", "conclave status", "conclave status guestbook", "conclave status -o json")
@click.argument("release", required=False, shell_complete=release_names)
def command(session: Session, release: str | None) -> None:
    """Show each release on each cluster: what is final, what is applied, how it is, and all freezes.

    Named below: objects that others write again and again. Who they are, the home's own bridge knows.

    ROLLOUT is where the release's newest rollout stands, its wave of how many, and this cluster in it.

    AGE is the time since the block that carries the cluster's newest report, or else the final revision.
    """
    with connect(session) as client:
        view = client.view()
        names = [release] if release else list(release_reader.all_releases(view).value)
        evidence = Evidence(view.chain_id)
        rows = [row for name in names for row in _rows(client, view, evidence, name)]
        freezes = [record_json(freeze) for freeze in ledger_reader.freezes(view).value]
    if session.output.document({"items": rows, "freezes": freezes, "readAt": freshness(view)}):
        return
    if rows:
        session.output.table(_COLUMNS, [_cells(row) for row in rows])
    else:
        session.output.line("no releases yet; next: conclave propose SOURCE")
    for row in rows:
        for found in row["contested"]:
            why = f": {found['said']}" if found["said"] else ""
            session.output.line(
                f"contested on {row['cluster']}: {found['object']} of {row['release']}{why}", "bad"
            )
    for freeze in freezes:
        scope = ", ".join(
            f"{part} {' '.join(freeze[part])}" for part in ("clusters", "namespaces", "releases")
        )
        by = client.home.name_of(freeze["by"])
        why = f": {freeze['reason']}" if freeze["reason"] else ""
        session.output.line(
            f"frozen by {by} since height {freeze['height']}: {freeze['name']}, {scope}{why}", "bad"
        )
    session.output.line(
        f"height {view.height} of {view.chain_id}, {duration(view.age_ns / 1e9)} old"
        + (": STALE, the chain makes no blocks or this machine's clock is wrong" if view.is_stale else ""),
        "bad" if view.is_stale else "dim",
    )


def _rows(client: Client, view: View, evidence: Evidence, name: str) -> list[JsonObject]:
    record = release_reader.release_record(view, name).value
    rollout = release_reader.rollout(view, name).value
    places = {} if rollout is None else {place.name: place for place in rollout.clusters}
    rows: list[JsonObject] = []
    for cluster in record.clusters:
        desired = release_reader.desired(view, cluster, name).value
        # Where nothing was started yet, what is final is shown, and that it waits.
        number = record.revision if desired is None else desired.revision
        revision = release_reader.release(view, cluster, name, evidence=evidence, revision=number).value
        report = release_reader.report(view, cluster, name).value
        height = report.height if report else revision.height
        place = places.get(cluster)
        rows.append(
            {
                "release": name,
                "cluster": cluster,
                "revision": revision.revision,
                "finalHeight": revision.height,
                "newestRevision": record.revision,
                "state": record.state.value,
                "desired": None if desired is None else desired.state.value,
                "appliedRevision": report.revision if report else None,
                "outcome": report.outcome if report else "pending",
                "contested": _contested(client.home, cluster, name, report),
                "health": report.health if report else None,
                "reportHeight": report.height if report else None,
                "rollout": None if rollout is None else _rollout(rollout),
                "inRollout": None if place is None else place.state.value,
                "ageSeconds": _age_seconds(client, height),
                "approvers": list(revision.approvers),
                "objects": len(revision.manifests),
            }
        )
    return rows


def _contested(home: Home, cluster: str, name: str, report: ReportRecord | None) -> list[JsonObject]:
    """Give the objects that others write again and again, and what the bridge of this home says of them."""
    code = int(Code.OBJECT_CONTESTED)
    found = [str(o["object"]) for o in (report.objects if report else ()) if o["code"] == code]
    said = said_of_objects(home, cluster, name) if found else {}
    return [{"object": item, "said": said.get(item)} for item in found]


def _rollout(rollout: RolloutRecord) -> JsonObject:
    return {
        "revision": rollout.revision,
        "state": rollout.state.value,
        "wave": min(rollout.wave + 1, len(rollout.waves)),
        "waves": len(rollout.waves),
        "pausedBy": rollout.paused_by,
    }


def _age_seconds(client: Client, height: int) -> int | None:
    """Give how long ago a block was made; unknown where the node no longer serves its header."""
    try:
        made_ns = client.reader.header(height).header.time_ns
    except ConclaveError:
        return None
    return max(0, (time.time_ns() - made_ns) // 10**9)


def _cells(row: JsonObject) -> list[object]:
    age = row["ageSeconds"]
    names = ("release", "cluster", "revision", "finalHeight", "appliedRevision", "outcome", "health")
    return [*(row[name] for name in names), _told(row), None if age is None else duration(age)]


def _told(row: JsonObject) -> str | None:
    rollout = row["rollout"]
    if row["state"] == "deleted" or rollout is None:
        return str(row["state"])
    wave = f" {rollout['wave']}/{rollout['waves']}" if rollout["waves"] > 1 else ""
    place = f", {row['inRollout']}" if row["inRollout"] not in (None, "healthy") else ""
    return f"{rollout['state']}{wave}{place}"
