"""``conclave status``: every release on every cluster it targets.

Promises that each row is verified: the final revision with its operators' signatures, the report with its
bridge's.
"""

from __future__ import annotations

import time

import click

from conclave.client import Client, connect, freshness
from conclave.command import Session, verb
from conclave.output import duration
from consensus import release_reader
from consensus.operators import Evidence
from consensus.reader import View
from ledger.errors import ConclaveError
from ledger.types import JsonObject

_COLUMNS = ["release", "cluster", "revision", "final height", "applied", "outcome", "health", "age"]


@verb("status", "conclave status", "conclave status guestbook", "conclave status -o json")
@click.argument("release", required=False)
def command(session: Session, release: str | None) -> None:
    """Show each release on each cluster: what is final, what is applied, how it is.

    AGE is the time since the block that carries the cluster's newest report, or else the final revision.
    """
    with connect(session) as client:
        view = client.view()
        names = [release] if release else list(release_reader.all_releases(view).value)
        evidence = Evidence(view.chain_id)
        rows = [row for name in names for row in _rows(client, view, evidence, name)]
    if session.output.document({"items": rows, "readAt": freshness(view)}):
        return
    if rows:
        session.output.table(_COLUMNS, [_cells(row) for row in rows])
    else:
        session.output.line("no releases yet; next: conclave propose SOURCE")
    session.output.line(
        f"height {view.height} of {view.chain_id}, {duration(view.age_ns / 1e9)} old"
        + (": STALE, the chain makes no blocks or this machine's clock is wrong" if view.is_stale else ""),
        "bad" if view.is_stale else "dim",
    )


def _rows(client: Client, view: View, evidence: Evidence, name: str) -> list[JsonObject]:
    record = release_reader.release_record(view, name).value
    rows: list[JsonObject] = []
    for cluster in record.clusters:
        revision = release_reader.release(view, cluster, name, evidence=evidence).value
        report = release_reader.report(view, cluster, name).value
        height = report.height if report else revision.height
        rows.append(
            {
                "release": name,
                "cluster": cluster,
                "revision": revision.revision,
                "finalHeight": revision.height,
                "appliedRevision": report.revision if report else None,
                "outcome": report.outcome if report else "pending",
                "health": report.health if report else None,
                "reportHeight": report.height if report else None,
                "ageSeconds": _age_seconds(client, height),
                "approvers": list(revision.approvers),
                "objects": len(revision.manifests),
            }
        )
    return rows


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
    return [*(row[name] for name in names), None if age is None else duration(age)]
