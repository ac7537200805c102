"""``conclave rollback``: propose the content of an earlier revision as a new one.

Promises to go through the same approvals as any change: this verb only proposes.
"""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.verbs.judge import show_rollback
from consensus import release_reader
from ledger.bodies import rollback_body


@verb(
    "rollback",
    "conclave rollback guestbook --to 1 --as alice",
    "conclave rollback guestbook --to 3 --reason 'frontend fails under load'",
)
@click.argument("release", metavar="RELEASE")
@click.option(
    "--to", "to_revision", type=click.IntRange(min=1), required=True, metavar="N", help="See history."
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for those who approve.")
def command(session: Session, release: str, to_revision: int, reason: str) -> None:
    """Propose an earlier revision again, as a new forward revision."""
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        view = client.view()
        found = show_rollback(session, view, release, to_revision)
        newest = release_reader.release_record(view, release).value.revision
        proven = client.say(speaker, rollback_body(release, to_revision, reason=reason, against=newest))
    receipt = proven.receipt
    document = {
        "proposal": receipt.proposal,
        "number": receipt.number,
        "state": receipt.state,
        "height": proven.height,
        "release": release,
        "toRevision": to_revision,
        "changes": [{"object": change.object, "change": change.kind} for change in found],
    }
    if session.output.document(document):
        return
    session.output.line(
        f"proposal {receipt.number} ({receipt.proposal}) at height {proven.height}: "
        f"{release} back to the content of revision {to_revision}",
        "bold",
    )
    session.output.line(f"next: conclave approve {receipt.number} --as NAME")
