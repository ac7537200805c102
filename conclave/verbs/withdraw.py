"""``conclave withdraw``: propose that a release goes nowhere new."""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, release_names, verb
from conclave.verbs.proposing import Wording, proposal_options, submit_change, tell


@verb(
    "withdraw",
    "conclave withdraw guestbook --as alice",
    "conclave withdraw guestbook --reason 'superseded by shop' --as alice",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@proposal_options
def command(session: Session, release: str, reason: str, break_glass: str | None) -> None:
    """Propose to withdraw a release: what it has reached stays, nothing new starts."""
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        change = {"withdraw": {"release": release}}
        proven = submit_change(client, speaker, change, Wording(reason, break_glass))
    tell(session, proven, f"withdraw {release}, by {speaker.name}", {"release": release})
