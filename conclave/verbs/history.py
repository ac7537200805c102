"""``conclave history``: the revisions of a release, the newest first.

Promises that each revision is proven against a verified header.
"""

from __future__ import annotations

import click

from conclave.client import Client, connect, freshness, record_json
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.watching import Frame, lines_of, show_once_or_watch, watch_option
from consensus import release_reader
from consensus.reader import View
from ledger.types import JsonObject

_COLUMNS = ["revision", "height", "what", "proposal", "by", "approved by", "clusters", "digest"]


@verb(
    "history",
    "conclave history guestbook",
    "conclave history guestbook -o json",
    "conclave history guestbook --watch",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@watch_option
def command(session: Session, release: str, *, watch: bool) -> None:
    """List the revisions of a release, the newest first; with --watch again at every new one."""
    output = session.output
    with connect(session) as client:

        def frame_of(view: View) -> Frame:
            items = _items(client, view, release)
            rows = [_row(item) for item in items]
            document = {"items": items, "readAt": freshness(view)}
            return Frame(document, items, lines_of(rows), lambda: output.table(_COLUMNS, rows))

        show_once_or_watch(client, output, frame_of, watch=watch)


def _items(client: Client, view: View, release: str) -> list[JsonObject]:
    items = []
    for record in release_reader.history(view, release).value:
        proposal = release_reader.proposal(view, record.authority).value
        names = [client.home.name_of(entry.signer) for entry in proposal.approvals]
        items.append(
            record_json(record)
            | {
                "proposal": proposal.number,
                "proposer": client.home.name_of(proposal.proposer),
                "approvers": names,
            }
        )
    return items


def _row(item: JsonObject) -> list[object]:
    return [
        item["revision"],
        item["height"],
        _what(item),
        item["proposal"],
        item["proposer"],
        item["approvers"],
        item["clusters"],
        item["digest"][:16],
    ]


def _what(item: JsonObject) -> str:
    if not item["rollbackOf"]:
        return "release"
    by = f", by the machine (incident {item['cause']})" if item["cause"] else ""
    return f"rollback of {item['rollbackOf']}{by}"
