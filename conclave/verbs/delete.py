"""``conclave delete``: propose the end of a release, with or without its objects."""

from __future__ import annotations

from typing import Any

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.completion import release_names
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
def command(session: Session, release: str, *, prune: bool | None, **wording: Any) -> None:
    """Propose to delete a release. Say what becomes of its objects."""
    if prune is None:
        raise Refused(
            Code.USAGE,
            got="nothing said of the release's objects",
            expected="--prune or --keep-objects",
            todo="say whether they leave the clusters",
        )
    with connect(session) as client:
        change = {"delete": {"release": release, "prune": prune}}
        made = submit_change(session, client, change, Wording(**wording))
    if made is None:
        return
    fate = "its objects leave the clusters" if prune else "its objects stay"
    tell(session, made, f"delete {release}, {fate}; by {made.speaker}", {"release": release, "prune": prune})
