"""``conclave history``: the revisions of a release, the newest first.

Promises that each revision is proven against a verified header.
"""

from __future__ import annotations

import click

from conclave.client import connect, freshness, record_json
from conclave.command import Session, verb
from conclave.completion import release_names
from consensus import release_reader
from ledger.types import JsonObject


@verb("history", "conclave history guestbook", "conclave history guestbook -o json")
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
def command(session: Session, release: str) -> None:
    """List the revisions of a release, the newest first."""
    with connect(session) as client:
        view = client.view()
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
    if session.output.document({"items": items, "readAt": freshness(view)}):
        return
    rows = [
        [
            item["revision"],
            item["height"],
            _what(item),
            item["proposal"],
            item["proposer"],
            item["approvers"],
            item["clusters"],
            item["digest"][:16],
        ]
        for item in items
    ]
    columns = ["revision", "height", "what", "proposal", "by", "approved by", "clusters", "digest"]
    session.output.table(columns, rows)


def _what(item: JsonObject) -> str:
    if not item["rollbackOf"]:
        return "release"
    by = f", by the machine (incident {item['cause']})" if item["cause"] else ""
    return f"rollback of {item['rollbackOf']}{by}"
