"""``conclave suspend``: cut an agent off, at once.

Promises that who is cut off is the agent that was named, as the ledger proves it.
"""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, subject_names, verb
from conclave.people import person
from ledger.bodies import suspension_body


@verb(
    "suspend",
    "conclave suspend scout --as bob",
    "conclave suspend scout --reason 'it proposes the same again and again' --as carol",
)
@click.argument("agent", metavar="NAME|DID", shell_complete=subject_names)
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def command(session: Session, agent: str, reason: str) -> None:
    """Cut an agent off: the ledger hears nothing of it, and what it proposed is neither approved nor done.

    At once, no approval needed. It ends by approval: conclave remove Suspension/NAME.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        found = person(client.view(), agent)
        proven = client.say(speaker, suspension_body(found.did, reason=reason))
    document = {"agent": found.did, "name": found.name, "height": proven.height, "signer": speaker.did}
    if session.output.document(document):
        return
    session.output.line(f"suspended since height {proven.height}: {found.name}", "bold")
    session.output.line(f"it ends by approval: conclave remove Suspension/{found.name} --as NAME")
