"""``conclave pause``: stop a release's rollout where it is, at once."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.verbs.hold import hold
from ledger.types import ActionKind


@verb(
    "pause",
    "conclave pause guestbook --as alice",
    "conclave pause guestbook --reason 'see ticket 7' --as bob",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def command(session: Session, release: str, reason: str) -> None:
    """Pause a release's rollout: nothing new starts and no deadline passes. At once, no approval needed."""
    hold(session, release, ActionKind.PAUSE, reason)
