"""``conclave resume``: let a paused rollout go on."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.verbs.hold import hold
from ledger.types import ActionKind


@verb(
    "resume",
    "conclave resume guestbook --as alice",
    "conclave resume guestbook --reason 'see ticket 7' --as bob",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def command(session: Session, release: str, reason: str) -> None:
    """Let a release's rollout go on that a person paused. A freeze ends by: conclave remove Freeze/NAME."""
    hold(session, release, ActionKind.RESUME, reason)
