"""``conclave revoke``: end keys of a subject, at once."""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, subject_names, verb
from conclave.people import person
from ledger.bodies import revocation_body


@verb(
    "revoke",
    "conclave revoke scout --as bob",
    "conclave revoke dave --key z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK --reason lost --as dave",
)
@click.argument("subject", metavar="NAME|DID", shell_complete=subject_names)
@click.option("--key", "keys", multiple=True, metavar="KEY-ID", help="Only these keys [all active ones].")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def command(session: Session, subject: str, keys: tuple[str, ...], reason: str) -> None:
    """Revoke keys of a subject: what they signed counts no more in anything not yet executed.

    At once, no approval needed. It cannot be undone; who committed to next keys can recover.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        found = person(client.view(), subject)
        proven = client.say(speaker, revocation_body(found.did, keys, reason=reason))
    ended = sorted(set(keys)) or [key.key_id for key in found.active_keys]
    document = {
        "subject": found.did,
        "name": found.name,
        "keys": list(ended),
        "height": proven.height,
        "signer": speaker.did,
    }
    if session.output.document(document):
        return
    session.output.line(f"{found.name}: {len(ended)} keys revoked at height {proven.height}", "bold")
    for key in ended:
        session.output.line(key)
