"""``conclave delete``: propose the end of a release, with or without its objects."""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, release_names, verb
from conclave.verbs.proposing import Wording, proposal_options, submit_change, tell
from ledger.errors import Code, Refused


@verb(
    "delete",
    "conclave delete guestbook --prune --as alice",
    "conclave delete guestbook --keep-objects --as alice",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@click.option(
    "--prune/--keep-objects",
    default=None,
    help="Whether its objects leave the clusters, or stay as nobody's.",
)
@proposal_options
def command(
    session: Session, release: str, reason: str, break_glass: str | None, *, prune: bool | None
) -> None:
    """Propose to delete a release. Say what becomes of its objects."""
    if prune is None:
        raise Refused(
            Code.USAGE,
            got="nothing said of the release's objects",
            expected="--prune or --keep-objects",
            todo="say whether they leave the clusters",
        )
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        change = {"delete": {"release": release, "prune": prune}}
        proven = submit_change(client, speaker, change, Wording(reason, break_glass))
    fate = "its objects leave the clusters" if prune else "its objects stay"
    tell(
        session, proven, f"delete {release}, {fate}; by {speaker.name}", {"release": release, "prune": prune}
    )
