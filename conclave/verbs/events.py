"""``conclave events``: what the ledger recorded, the oldest first.

Promises that every event was made of proven records (``conclave.ledger_events``), and with ``--watch`` that
each is told once.
"""

from __future__ import annotations

import sys
import time

import click

from conclave import watching
from conclave.client import Client, connect, freshness
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.errors import write_error
from conclave.ledger_events import Event, events, timed
from conclave.output import Output, printable
from conclave.watching import tell_trouble, watch_option
from consensus.ledger_reader import PAGE_MAX
from consensus.reader import View
from consensus.subscription import Height, subscribe
from ledger.errors import EnvironmentFault

_COLUMNS = ["height", "time", "kind", "release", "by", "what"]


@verb(
    "events",
    "conclave events",
    "conclave events guestbook --newest 20",
    "conclave events --watch",
    "conclave events --watch -o json",
)
@click.argument("release", required=False, shell_complete=release_names)
@click.option(
    "--newest",
    type=click.IntRange(1, PAGE_MAX),
    default=50,
    show_default=True,
    help="How many proposals and incidents back.",
)
@watch_option
def command(session: Session, release: str | None, newest: int, *, watch: bool) -> None:
    """Show what the ledger recorded, the oldest first.

    Who proposed, approved and rejected what, what was carried out, what the clusters' bridges reported,
    incidents, freezes in force.

    All of it is read from proven records. The ledger keeps one report for each release and cluster: of
    earlier ones this shows nothing, but with --watch each is shown as it comes. What Kubernetes says of its
    Pods is Kubernetes' own: kubectl events.

    With --watch it goes on, a line for each new event, with -o json a JSON object a line.
    """
    with connect(session) as client:
        view = client.view()
        found = timed(client, view, events(client, view, release, newest))
        if watch:
            _show(session.output, found)
            _follow(session, client, view, release, newest, found)
            return
    document = {"items": [event.to_json() for event in found], "readAt": freshness(view)}
    if session.output.document(document):
        return
    if found:
        session.output.table(_COLUMNS, [_cells(event) for event in found])
    else:
        session.output.line("nothing yet; next: conclave propose SOURCE")


def _follow(
    session: Session, client: Client, view: View, release: str | None, newest: int, told: list[Event]
) -> None:
    """Tell what is new at each height."""
    seen = {event.identity for event in told}
    for signal in subscribe(client.reader, view.height, watching.PACE):
        if not isinstance(signal, Height):
            tell_trouble(signal)
            continue
        try:
            found = events(client, signal.view, release, newest)
        except EnvironmentFault as fault:
            # What happened at this height is still in the records of the next.
            write_error(printable(f"height {signal.view.height} not read: {fault}") + "\n")
            continue
        _show(session.output, timed(client, signal.view, [e for e in found if e.identity not in seen]))
        seen = {event.identity for event in found}


def _show(output: Output, found: list[Event]) -> None:
    for event in found:
        if output.is_table:
            cells = _cells(event)
            output.line("  ".join("-" if cell is None else str(cell) for cell in cells))
        else:
            output.record(event.to_json())
    sys.stdout.flush()


def _cells(event: Event) -> list[object]:
    shown = None if event.time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time))
    return [event.height, shown, event.kind, event.release, event.by, event.text]
