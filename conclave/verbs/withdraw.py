"""``conclave withdraw``: propose that a release goes nowhere new."""

from __future__ import annotations

from typing import Any

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.verbs.proposing import Wording, proposal_options, submit_change, tell


@verb(
    "withdraw",
    "conclave withdraw guestbook --as alice",
    "conclave withdraw guestbook --reason 'superseded by shop' --as alice",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@proposal_options
def command(session: Session, release: str, **wording: Any) -> None:
    """Propose to withdraw a release: what it has reached stays, nothing new starts."""
    with connect(session) as client:
        change = {"withdraw": {"release": release}}
        made = submit_change(session, client, change, Wording(**wording))
    if made is not None:
        tell(session, made, f"withdraw {release}, by {made.speaker}", {"release": release})
