"""``conclave status``: every release on every cluster it targets.

Promises that each row is verified: the final revision with its operators' signatures, the report with its
bridge's. Draws what ``conclave.standing`` reads.
"""

from __future__ import annotations

import functools

import click

from conclave import standing
from conclave.client import Client, connect, freshness, record_json
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.output import Output, duration
from conclave.watching import Frame, lines_of, show_once_or_watch, watch_option
from consensus import ledger_reader, release_reader
from consensus.reader import View
from ledger.types import JsonObject

_COLUMNS = ["release", "cluster", "sync", "health", "revision", "applied", "final height", "rollout", "age"]
_OBJECT_COLUMNS = ["cluster", "object", "sync", "health", "reason"]


@verb(
    "status",
    "conclave status",
    "conclave status guestbook",
    "conclave status --watch",
    "conclave status guestbook -o json",
)
@click.argument("release", required=False, shell_complete=release_names)
@watch_option
def command(session: Session, release: str | None, *, watch: bool) -> None:
    """Show each release on each cluster: what is final, what is applied, how it is, and all freezes.

    SYNC tells whether the cluster is what the ledger now wants of it: Synced, OutOfSync, or Unknown before
    its bridge has reported. HEALTH tells how what runs there is doing: Current, InProgress, Failed,
    Terminating, Unknown. A release can be Synced and Failed, or OutOfSync and Current.

    With RELEASE, each object too, and why it is not as it should be: the code comes from the ledger, words
    after it from the bridge of this home, unproven. Below are also objects that others write again and again.

    ROLLOUT is where the release's newest rollout stands, its wave of how many, and this cluster in it.

    AGE is the time since the block that carries the cluster's newest report, or else the final revision.

    With --watch a terminal is redrawn at every block; behind a pipe a line comes for each row that changed,
    with -o json a whole document a line.
    """
    with connect(session) as client:
        frame_of = functools.partial(_frame, client, session.output, release)
        show_once_or_watch(client, session.output, frame_of, watch=watch)


def word(value: object) -> str:
    """Give a word of the ledger as people read it: ``in_progress`` is ``InProgress``."""
    return "".join(part.capitalize() for part in str(value or standing.UNKNOWN).split("_"))


def _frame(client: Client, output: Output, release: str | None, view: View) -> Frame:
    names = [release] if release else list(release_reader.all_releases(view).value)
    rows = standing.rows(client, view, names, with_objects=release is not None)
    freezes = [record_json(freeze) for freeze in ledger_reader.freezes(view).value]
    document = {"items": rows, "freezes": freezes, "readAt": freshness(view)}
    key = [[{k: v for k, v in row.items() if k != "ageSeconds"} for row in rows], freezes]
    below = [*_notes(rows), *(_freeze_line(client, freeze) for freeze in freezes)]
    table = [_cells(row) for row in rows]
    objects = [_object_cells(row, state) for row in rows for state in row.get("objectStates", ())]
    lines = lines_of([*(cells[:-1] for cells in table), *objects])

    def show() -> None:
        if table:
            output.table(_COLUMNS, table)
        else:
            output.line("no releases yet; next: conclave propose SOURCE")
        if objects:
            output.line()
            output.table(_OBJECT_COLUMNS, objects)
        for line in below:
            output.line(line, "bad")
        _show_age(output, view)

    return Frame(document, key, (*lines, *below), show)


def _notes(rows: list[JsonObject]) -> list[str]:
    return [
        f"contested on {row['cluster']}: {found['object']} of {row['release']}"
        + (f": {found['said']}" if found["said"] else "")
        for row in rows
        for found in row["contested"]
    ]


def _freeze_line(client: Client, freeze: JsonObject) -> str:
    parts = ("clusters", "namespaces", "releases")
    scope = ", ".join(f"{part} {' '.join(freeze[part])}" for part in parts)
    by, why = client.home.name_of(freeze["by"]), f": {freeze['reason']}" if freeze["reason"] else ""
    return f"frozen by {by} since height {freeze['height']}: {freeze['name']}, {scope}{why}"


def _show_age(output: Output, view: View) -> None:
    stale = ": STALE, the chain makes no blocks or this machine's clock is wrong" if view.is_stale else ""
    text = f"height {view.height} of {view.chain_id}, {duration(view.age_ns / 1e9)} old{stale}"
    output.line(text, "bad" if view.is_stale else "dim")


def _cells(row: JsonObject) -> list[object]:
    age = row["ageSeconds"]
    return [
        row["release"],
        row["cluster"],
        word(row["sync"]),
        word(row["health"]),
        row["revision"],
        row["appliedRevision"],
        row["finalHeight"],
        _told(row),
        None if age is None else duration(age),
    ]


def _object_cells(row: JsonObject, state: JsonObject) -> list[object]:
    return [
        row["cluster"],
        state["object"],
        word(state["sync"]),
        word(state["health"]),
        state["reason"],
    ]


def _told(row: JsonObject) -> str | None:
    rollout = row["rollout"]
    if row["state"] == "deleted" or rollout is None:
        return str(row["state"])
    wave = f" {rollout['wave']}/{rollout['waves']}" if rollout["waves"] > 1 else ""
    place = f", {row['inRollout']}" if row["inRollout"] not in (None, "healthy") else ""
    return f"{rollout['state']}{wave}{place}"
